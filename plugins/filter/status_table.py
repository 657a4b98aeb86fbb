# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table that playbooks show at their end, a row for each node; see the filter's documentation."""

from __future__ import annotations

import itertools
import textwrap
import typing as t

DOCUMENTATION = r"""
name: status_table
short_description: Lay out the state of nodes as a table
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Returns the results of M(confidential_containers.runtime.runtime_info) as lines of text. Each node has a row, with remarks
    below it.
  - M(confidential_containers.runtime.status_table) shows these lines.
positional: _input
options:
  _input:
    description: The results of the module, by node. A node that could not be asked has a mapping without C(problems).
    type: dict
    required: true
  width:
    description: The largest number of characters in a line. By default, lines are as long as they need to be.
    type: int
"""

EXAMPLES = r"""
- name: Look at the node
  confidential_containers.runtime.runtime_info:
  register: node

- name: Write the table
  ansible.builtin.copy:
    content: "{{ {inventory_hostname: node} | confidential_containers.runtime.status_table | join('\n') }}\n"
    dest: /root/status.txt
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The lines of the table, beginning with its heading.
  type: list
  elements: str
"""

_HEADING = ("NODE", "STATE", "ENGINE", "OUR HANDLERS", "PODS", "PAYLOAD")
_BETWEEN = "  "
#: No column becomes narrower than this many characters.
_NARROWEST = 8
#: The most characters of a remark.
_LONGEST = 1000

#: A node's cells, and the remarks below them.
Row = tuple[tuple[str, ...], list[str]]


def _row(node: str, info: t.Mapping[str, t.Any]) -> Row:
    if "problems" not in info:
        why = str(info.get("msg", "")).removeprefix("Task failed: ").strip().splitlines() or ["no answer"]
        state = "away" if info.get("unreachable") else "refused"
        return (node, state, "-", "-", "-", "-"), [textwrap.shorten(why[0], _LONGEST, placeholder=" …")]
    engine, receipt = info["engine"], info["receipt"]
    ours = receipt.get("handlers", [])
    cells = (
        node,
        _state(info),
        f"{engine['name']} {engine['version']}" if engine else "-",
        " ".join(ours) or "-",
        str(sum(len(pods) for handler, pods in info["pods"].items() if handler in ours)),
        receipt.get("payload", {}).get("digest", "-")[:19] if info["installed"] else "-",
    )
    return cells, _remarks(info)


def _unserved(info: t.Mapping[str, t.Any]) -> list[str]:
    return [name for name in info["receipt"].get("handlers", []) if name not in info["served"]]


def _state(info: t.Mapping[str, t.Any]) -> str:
    if not info["installed"]:
        return "uninstalled" if info["remembers"] else "absent"
    damage = set(info["drift"].values()) - {"edited"}
    return "damaged" if damage or info["problems"] or info["interrupted"] or _unserved(info) else "installed"


def _remarks(info: t.Mapping[str, t.Any]) -> list[str]:
    drift = {
        state: [path for path, found in info["drift"].items() if found == state]
        for state in ("missing", "changed", "edited")
    }
    named = {
        "not served": _unserved(info),
        **drift,
        "left as you edited them": info["stays"],
        "left behind by the installer": list(info["left_behind"]),
    }
    return [
        *info["problems"],
        *(info["remarks"] if info["receipt"].get("handlers") else []),
        *(f"{words}: {_some(names)}" for words, names in named.items() if names),
        *(f"left out: {name} {reason}" for name, reason in info["excluded"].items()),
        *(
            f"{digest[:19]} waits in {where['path']}, {where['bytes'] >> 20} MiB: the next installation uses or removes it"
            for digest, where in info["waiting"].items()
        ),
        *(["an interrupted run waits for the next one"] if info["interrupted"] else []),
    ]


def _some(names: t.Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''}"


def _widths(rows: t.Sequence[tuple[str, ...]], width: int | None) -> list[int]:
    """Return the width of each column: what it needs, or less for the widest ones when the table does not fit."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    room = width - len(_BETWEEN) * (len(widths) - 1) if width else sum(widths)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _lines(cells: t.Sequence[str], widths: t.Sequence[int]) -> t.Iterator[str]:
    """Yield the lines of a row, with its cells folded to their widths."""
    folded = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(cells, widths, strict=True)]
    for parts in itertools.zip_longest(*folded, fillvalue=""):
        yield _BETWEEN.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()


def _below(remark: str, width: int | None) -> list[str]:
    remark = " ".join(remark.split())
    if width is None:
        return [f"    {remark}"]
    width = max(width, 2 * _NARROWEST)
    return textwrap.wrap(remark, width, initial_indent=" " * 4, subsequent_indent=" " * 6, break_on_hyphens=False)


def status_table(nodes: t.Mapping[str, t.Mapping[str, t.Any]], width: int | None = None) -> list[str]:
    """Return the lines of a table with a row for each node, of at most ``width`` characters."""
    rows: list[Row] = [(_HEADING, []), *(_row(node, nodes[node]) for node in sorted(nodes))]
    widths = _widths([cells for cells, _remarks in rows], width)
    return [
        line
        for cells, remarks in rows
        for line in (*_lines(cells, widths), *(below for remark in remarks for below in _below(remark, width)))
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"status_table": status_table}
