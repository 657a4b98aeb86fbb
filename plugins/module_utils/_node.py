# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a node is capable of, read from the kernel."""

from __future__ import annotations

import os
import platform
import stat

#: Machine names of the kernel in the spelling of image manifests.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """Return the node's architecture as image manifests spell it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def capabilities() -> dict[str, bool]:
    """Return which of the capabilities that shims need are visible on this node."""
    return {
        "kvm": _is_device("/dev/kvm"),
        "snp": _is_on("/sys/module/kvm_amd/parameters/sev_snp"),
        "tdx": _is_on("/sys/module/kvm_intel/parameters/tdx"),
        "se": _is_on("/sys/firmware/uv/prot_virt_host"),
        "sgx": _is_device("/dev/sgx_enclave"),
    }


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def _is_on(path: str) -> bool:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read(1) in ("Y", "y", "1")
    except OSError:
        return False
