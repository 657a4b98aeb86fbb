# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which directories on a node are left from transfers that were killed."""

from __future__ import annotations

import os
import platform
import subprocess

import pytest

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import leftovers


def of_process(process: int) -> str:
    return leftovers.name().replace(f"-{os.getpid()}-", f"-{process}-")


def test_only_what_a_dead_process_of_this_machine_has_left_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead = of_process(process.pid)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(platform, "node", lambda: "another-machine")
        foreign = of_process(process.pid)
    others = [
        leftovers.name(),
        of_process(os.getppid()),
        foreign,
        dead.replace(str(process.pid), "no-number"),
        "ansible-tmp-1795654567.7-3758-917",
    ]
    assert leftovers.abandoned([*others, dead]) == [dead]


def test_names_are_new_each_time() -> None:
    assert leftovers.name() != leftovers.name()
