# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the table is shown: on a terminal, elsewhere, and under other callback plugins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - confidential_containers.runtime.status_table:
        nodes: {node-1: {unreachable: true, msg: "%s"}}
      register: shown
    - ansible.builtin.assert:
        that: shown.lines | length == 3 and not shown.changed
""" % ("word " * 30)  # fmt: skip

CALLBACK = """
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "document"

    def v2_runner_on_ok(self, result):
        print("document", sorted(result._result))

DOCUMENTATION = '''
name: document
type: stdout
short_description: a document
description: a document
'''
"""


def play(directory: Path, **environment: str) -> str:
    (directory / "play.yml").write_text(PLAYBOOK)
    (directory / "document.py").write_text(CALLBACK)
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), directory / "play.yml", "-i", "localhost,"],
        env={**os.environ, "ANSIBLE_CALLBACK_PLUGINS": str(directory), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_it_is_printed_as_it_is(tmp_path: Path) -> None:
    lines = play(tmp_path).splitlines()
    heading = next(number for number, line in enumerate(lines) if line.startswith("NODE    STATE  ENGINE"))
    assert lines[heading + 1].split() == ["node-1", "away", "-", "-", "-", "-"]
    assert lines[heading + 2] == f"    {('word ' * 30).strip()}"


def test_nothing_is_printed_between_the_lines_of_a_document(tmp_path: Path) -> None:
    output = play(tmp_path, ANSIBLE_STDOUT_CALLBACK="document")
    assert "NODE" not in output
    assert all(line.startswith("document ") for line in output.splitlines())
