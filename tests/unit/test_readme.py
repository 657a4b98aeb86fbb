# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tests/compat runs the commands of the README. Here: no command is forgotten, except for those that are left out for a reason."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.confidential_containers.runtime.tests import readme

ROOT = Path(__file__).parents[2]


def test_every_command_is_run_or_left_out_for_a_reason() -> None:
    compat = (ROOT / "tests/compat").read_text(encoding="utf-8")
    text = readme.README.read_text(encoding="utf-8")
    run = [
        command
        for heading in ("Install it on your nodes", "Undo it")
        for command in readme.commands(readme.section(heading))
        if f'type_in "{heading}"' in compat
    ]
    assert [command for command in readme.commands(text) if command not in run and not readme.left_out(command)] == []
    assert len([command for command in run if not readme.left_out(command)]) == 8
    for beginning in readme.LEFT_OUT:
        assert any(command.startswith(beginning) for command in readme.commands(text)), beginning


def test_every_block_is_of_a_language_that_is_looked_at() -> None:
    text = readme.README.read_text(encoding="utf-8")
    known = sum(len(readme.blocks(text, language)) for language in ("console", "yaml"))
    assert text.count("\n```") == 2 * known
    for block in readme.blocks(text, "yaml"):
        assert yaml.safe_load(block)


def test_the_example_inventory_is_the_readme_s() -> None:
    example = yaml.safe_load((ROOT / "docs/example-inventory.yml").read_text(encoding="utf-8"))
    assert example == yaml.safe_load(readme.blocks(readme.section("Install it on your nodes"), "yaml")[0])
