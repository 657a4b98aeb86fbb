# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who has left what on a node."""

from __future__ import annotations

import os
import platform
import subprocess

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _sent


def test_only_what_a_dead_process_of_this_machine_has_left_is_abandoned() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    here = f"{_sent.START}{platform.node()}-"
    dead = f"{here}{process.pid}"
    others = [
        _sent.name(),
        f"{here}{os.getppid()}",
        f"{_sent.START}another-machine-{process.pid}",
        f"{here}no-number",
        "ansible-tmp-1795654567.7-3758-917",
    ]
    assert _sent.abandoned([*others, dead]) == [dead]
