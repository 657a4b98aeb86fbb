# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""See the filter's documentation."""

from __future__ import annotations

import textwrap
import typing as t

DOCUMENTATION = r"""
name: status_table
short_description: Lay out the state of nodes as a table
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Turns what M(confidential_containers.runtime.runtime_info) said of each node into lines of text, a row for each node.
positional: _input
options:
  _input:
    description: Node to the module's result. A node that could not be asked has a mapping without C(problems).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show all nodes
  ansible.builtin.debug:
    msg: "{{ {inventory_hostname: node} | confidential_containers.runtime.status_table }}"
"""

RETURN = r"""
_value:
  description: The lines of the table, its heading first.
  type: list
  elements: str
"""

_HEADING = ("NODE", "STATE", "ENGINE", "OUR HANDLERS", "PODS", "PAYLOAD", "REMARKS")


def _row(node: str, info: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    if "problems" not in info:
        why = str(info.get("msg", "no answer")).strip().splitlines() or ["no answer"]
        return (
            node,
            "away" if info.get("unreachable") else "refused",
            "-",
            "-",
            "-",
            "-",
            textwrap.shorten(why[0], 160, placeholder=" …"),
        )
    engine = info["engine"]
    receipt = info["receipt"]
    ours = receipt.get("handlers", [])
    unserved = [name for name in ours if name not in info["served"]]
    remarks = list(info["problems"])
    remarks += [f"not served: {', '.join(unserved)}"] if unserved else []
    for state in ("missing", "changed", "edited"):
        paths = [path for path, found in info["drift"].items() if found == state]
        remarks += [f"{state}: {', '.join(paths[:3])}{' …' if len(paths) > 3 else ''}"] if paths else []
    remarks += [f"left out: {name} {reason}" for name, reason in info["excluded"].items()]
    behind = list(info["left_behind"])
    remarks += (
        [f"left behind by the installer: {', '.join(behind[:3])}{' …' if len(behind) > 3 else ''}"] if behind else []
    )
    remarks += ["an interrupted run waits for the next one"] if info["interrupted"] else []
    damaged = unserved or set(info["drift"].values()) - {"edited"} or info["interrupted"]
    state = "absent" if not info["installed"] else "damaged" if damaged or info["problems"] else "installed"
    return (
        node,
        state,
        f"{engine['name']} {engine['version']}" if engine else "-",
        " ".join(ours) or "-",
        str(sum(len(pods) for handler, pods in info["pods"].items() if handler in ours)),
        receipt.get("payload", {}).get("digest", "-")[:19] if info["installed"] else "-",
        "; ".join(remarks) or "-",
    )


def status_table(nodes: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """Return the lines of a table with a row for each node."""
    rows = [_HEADING, *(_row(node, nodes[node]) for node in sorted(nodes))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status_table": status_table}
