# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kata's releases have."""

from __future__ import annotations

_X86, _BOTH, _EVERY = "x86_64", "x86_64 aarch64", "x86_64 aarch64 s390x ppc64le"
#: Kata 4.1's shim-components.json: all its shims, and the machines that it has each one for.
KATA_4_1 = {
    "qemu": _EVERY,
    "qemu-runtime-rs": _EVERY,
    "qemu-snp": _X86,
    "qemu-snp-runtime-rs": _X86,
    "qemu-tdx": _X86,
    "qemu-tdx-runtime-rs": _X86,
    "qemu-se": "s390x",
    "qemu-se-runtime-rs": "s390x",
    "qemu-nvidia-cpu": _BOTH,
    "qemu-nvidia-cpu-runtime-rs": _BOTH,
    "qemu-nvidia-gpu": _X86,
    "qemu-nvidia-gpu-runtime-rs": _X86,
    "qemu-nvidia-gpu-snp": _X86,
    "qemu-nvidia-gpu-snp-runtime-rs": _X86,
    "qemu-nvidia-gpu-tdx": _X86,
    "qemu-nvidia-gpu-tdx-runtime-rs": _X86,
    "qemu-coco-dev": "x86_64 s390x",
    "qemu-coco-dev-runtime-rs": "x86_64 aarch64 s390x",
    "clh": _BOTH,
    "clh-runtime-rs": _BOTH,
    "clh-azure": _X86,
    "clh-azure-runtime-rs": _X86,
    "openvmm-azure-runtime-rs": _X86,
    "dragonball": _BOTH,
    "fc": _BOTH,
    "remote": "x86_64 ppc64le s390x",
}
