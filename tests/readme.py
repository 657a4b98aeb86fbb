# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What README.md tells users to type and to write, word by word, for tests/compat, which does it.

readme.py commands HEADING          the commands of a section, one in a line
readme.py playbook                  the playbook of a user's own
readme.py inventory NODES PAYLOAD   the inventory, with the nodes of another one in the place of the example's, and a payload
"""

from __future__ import annotations

import re
import sys
import typing as t
from pathlib import Path

import yaml

README = Path(__file__).parents[1] / "README.md"

#: Commands that no test runs as they stand, by their beginning, and why.
LEFT_OUT = {
    "make demo": "the demonstration takes a node of its own, and shows what the other commands do",
    "make test": "what runs this is a part of it",
    "python3 -m venv ": "packages come from the internet, for a minute; tests/venv makes the same environment once",
    "skopeo copy ": "the payload comes from the internet",
}


def section(heading: str) -> str:
    """Return the text below a heading, up to the next one."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise SystemExit(f"README.md has no section {heading}")
    return found.group(1)


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return the lines that users type, those that are left out included."""
    return [line for block in blocks(text, "console") for line in block.splitlines() if line.strip()]


def left_out(command: str) -> str:
    """Return why a command is not run, or nothing."""
    return next((why for beginning, why in LEFT_OUT.items() if command.startswith(beginning)), "")


def playbook() -> str:
    return blocks(section("In playbooks of your own"), "yaml")[0]


def inventory(nodes: t.Mapping[str, t.Any], payload: str) -> dict[str, t.Any]:
    """Return the README's inventory with other nodes and another payload."""
    example: dict[str, t.Any] = yaml.safe_load(blocks(section("Install it on your nodes"), "yaml")[0])
    group, others = example["coco_nodes"], dict(nodes["coco_nodes"]["vars"])
    del others["ansible_python_interpreter"]  # the README's own has to do
    scheme = group["vars"]["coco_payload"].partition(":")[0]
    group["vars"] = {**group["vars"], **others, "coco_payload": f"{scheme}:{payload}"}
    group["hosts"] = nodes["coco_nodes"]["hosts"]
    return example


def main(words: list[str]) -> None:
    match words:
        case ["commands", heading]:
            print(*(command for command in commands(section(heading)) if not left_out(command)), sep="\n")
        case ["playbook"]:
            print(playbook(), end="")
        case ["inventory", nodes, payload]:
            print(yaml.safe_dump(inventory(yaml.safe_load(Path(nodes).read_text(encoding="utf-8")), payload)), end="")
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
