# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The node's architecture, and what its hardware offers to shims. The kernel tells both."""

from __future__ import annotations

import os
import platform
import stat

#: The kernel's name of a machine → the name in image manifests.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

#: Where the kernel shows the devices of the PCI bus, and how it describes NVIDIA's GPUs.
_PCI = "/sys/bus/pci/devices"
_NVIDIA, _DISPLAY = "0x10de", "0x03"


def architecture() -> str:
    """Return the node's architecture as image manifests spell it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def capabilities() -> dict[str, bool]:
    """Return for each capability that a shim may need whether this node has it."""
    return {
        "kvm": _is_device("/dev/kvm"),
        "mshv": _is_device("/dev/mshv"),
        "sev": _is_on("/sys/module/kvm_amd/parameters/sev"),
        "snp": _is_on("/sys/module/kvm_amd/parameters/sev_snp"),
        "tdx": _is_on("/sys/module/kvm_intel/parameters/tdx"),
        "se": _is_on("/sys/firmware/uv/prot_virt_host"),
        "sgx": _is_device("/dev/sgx_enclave"),
        "gpu": _has_free_gpu(),
    }


def _has_free_gpu() -> bool:
    """Tell whether an NVIDIA GPU is free for a virtual machine: bound to VFIO instead of the node's own driver."""
    try:
        devices = [os.path.join(_PCI, name) for name in os.listdir(_PCI)]
    except OSError:
        return False
    return any(
        _read(f"{device}/vendor") == _NVIDIA
        and _read(f"{device}/class").startswith(_DISPLAY)
        # The VFIO driver of Grace has a name of its own: nvgrace-gpu-vfio-pci.
        and os.path.basename(os.path.realpath(f"{device}/driver")).endswith("vfio-pci")
        for device in devices
    )


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)
    except OSError:
        return False


def _is_on(path: str) -> bool:
    return _read(path)[:1] in ("Y", "y", "1")


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read(64).strip()
    except OSError:
        return ""
