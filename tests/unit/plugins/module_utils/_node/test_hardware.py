# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a node is capable of."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import shims


def test_all_that_can_be_seen_is_looked_for() -> None:
    assert set(hardware.capabilities()) == {name for name, (_title, visible) in shims.CAPABILITIES.items() if visible}


@pytest.mark.parametrize(
    ("vendor", "kind", "driver", "found"),
    [
        pytest.param("0x10de", "0x030200", "vfio-pci", True, id="passed through"),
        pytest.param("0x10de", "0x030200", "nvgrace-gpu-vfio-pci", True, id="of Grace"),
        pytest.param("0x10de", "0x030200", "nvidia", False, id="in use by the node"),
        pytest.param("0x10de", "0x030000", "", False, id="without a driver"),
        pytest.param("0x10de", "0x040300", "vfio-pci", False, id="its sound"),
        pytest.param("0x8086", "0x030000", "vfio-pci", False, id="another vendor"),
    ],
)
def test_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, kind: str, driver: str, found: bool
) -> None:
    monkeypatch.setattr(hardware, "_PCI", str(tmp_path / "devices"))
    assert hardware.capabilities()["gpu"] is False
    (tmp_path / "devices/0000:00:00.0").mkdir(parents=True)  # nothing to read in it
    device = tmp_path / "devices/0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    if driver:
        (tmp_path / "drivers" / driver).mkdir(parents=True)
        (device / "driver").symlink_to(tmp_path / "drivers" / driver)
    assert hardware.capabilities()["gpu"] is found
