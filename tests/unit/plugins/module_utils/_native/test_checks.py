# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be so before a change is written."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import Change
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import checks

ENGINE = Engine(
    "containerd", (1, 7, 24), "containerd.service", "/usr/bin/containerd", "/etc/c.toml", "/run/c.sock", True
)
QEMU: t.Any = {"kata-qemu": {}}


@pytest.mark.parametrize(
    ("change", "serve", "left"),
    [
        pytest.param(Change(), ["runc"], "", id="all gone"),
        pytest.param(Change(), ["runc", "kata-clh", "kata-qemu"], "kata-clh, kata-qemu", id="all left"),
        pytest.param(Change(handlers=QEMU), ["runc", "kata-qemu"], "", id="one goes"),
        pytest.param(Change(handlers=QEMU), ["kata-clh", "kata-qemu"], "kata-clh", id="one is left"),
        pytest.param(Change(returned=["kata-clh"]), ["kata-clh", "runc"], "", id="the user's own comes back"),
        pytest.param(Change(), ["kata-other", "runc"], "", id="others are not ours"),
    ],
)
def test_what_goes_is_not_served_any_more(change: Change, serve: list[str], left: str) -> None:
    with pytest.raises(Refusal, match=f"still serve {left}\\.") if left else contextlib.nullcontext():
        checks.refuse_left(ENGINE, change, {"kata-qemu", "kata-clh"}, serve)
