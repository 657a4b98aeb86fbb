# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table that status.yml prints."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.filter.status_table import FilterModule, status_table

CLEAN: dict[str, t.Any] = {
    "engine": {"name": "containerd", "version": "1.7.24"},
    "receipt": {},
    "served": ["runc"],
    "pods": {"": ["kube-system/proxy"]},
    "drift": {},
    "excluded": {},
    "left_behind": {},
    "stays": [],
    "waiting": {},
    "remembers": False,
    "interrupted": False,
    "installed": False,
    "problems": [],
    "remarks": ["before an upgrade …"],
}
INSTALLED: dict[str, t.Any] = {
    **CLEAN,
    "installed": True,
    "remembers": True,
    "served": ["kata-qemu", "runc"],
    "pods": {"": ["kube-system/proxy"], "kata-qemu": ["default/a", "default/b"], "other": ["default/c"]},
    "remarks": [],
    "receipt": {"handlers": ["kata-qemu"], "payload": {"digest": "sha256:0123456789abcdef0123"}},
}
DIGEST = "sha256:0123456789ab"


ABSENT = ["absent", "containerd 1.7.24", "-", "0", "-"]
GOOD = ["installed", "containerd 1.7.24", "kata-qemu", "2", DIGEST]
BAD = ["damaged", *GOOD[1:]]
WAITING = {"sha256:0123456789abcdef0123": {"path": "/opt/x", "bytes": 5 << 20}}


@pytest.mark.parametrize(
    ("info", "cells", "remarks"),
    [
        pytest.param(CLEAN, ABSENT, [], id="clean"),
        pytest.param({**CLEAN, "remembers": True}, ["uninstalled", *ABSENT[1:]], [], id="uninstalled"),
        pytest.param(
            {**CLEAN, "remembers": True, "stays": ["/opt/x/a", "/opt/x/b"]},
            ["uninstalled", *ABSENT[1:]],
            ["left as you edited them: /opt/x/a, /opt/x/b"],
            id="an edited file is left",
        ),
        pytest.param(
            {**CLEAN, "waiting": WAITING},
            ABSENT,
            [f"{DIGEST} waits in /opt/x, 5 MiB: the next installation uses or removes it"],
            id="a payload waits",
        ),
        pytest.param(INSTALLED, GOOD, [], id="installed"),
        pytest.param({**INSTALLED, "remarks": ["before x"]}, GOOD, ["before x"], id="what to know of the engine"),
        pytest.param({**INSTALLED, "served": ["runc"]}, BAD, ["not served: kata-qemu"], id="not served"),
        pytest.param(
            {**INSTALLED, "excluded": {"kata-fc": "needs x"}}, GOOD, ["left out: kata-fc needs x"], id="left out"
        ),
        pytest.param(
            {**INSTALLED, "drift": {"a/configuration.toml": "edited"}},
            GOOD,
            ["edited: a/configuration.toml"],
            id="an edit is no damage",
        ),
        pytest.param(
            {**INSTALLED, "drift": {"bin/a": "missing", "bin/b": "changed", "c": "edited"}},
            BAD,
            ["missing: bin/a", "changed: bin/b", "edited: c"],
            id="drift",
        ),
        pytest.param(
            {**INSTALLED, "drift": dict.fromkeys("abcd", "missing")}, BAD, ["missing: a, b, c …"], id="much drift"
        ),
        pytest.param(
            {**INSTALLED, "interrupted": True}, BAD, ["an interrupted run waits for the next one"], id="interrupted"
        ),
        pytest.param({**INSTALLED, "problems": ["CRI down"]}, BAD, ["CRI down"], id="a problem"),
        pytest.param(
            {**INSTALLED, "problems": ["CRI down: it said\nso"]},
            BAD,
            ["CRI down: it said so"],
            id="a problem of two lines",
        ),
        pytest.param(
            {**CLEAN, "engine": {}, "problems": ["no containerd"]},
            ["absent", "-", "-", "0", "-"],
            ["no containerd"],
            id="no engine",
        ),
        pytest.param(
            {"unreachable": True, "msg": "Connection refused\nmore"},
            ["away", "-", "-", "-", "-"],
            ["Connection refused"],
            id="away",
        ),
        pytest.param({"unreachable": True, "msg": ""}, ["away", "-", "-", "-", "-"], ["no answer"], id="away, no word"),
        pytest.param(
            {"failed": True, "msg": "word " * 999},
            ["refused", "-", "-", "-", "-"],
            ["word " * 199 + "…"],
            id="refused",
        ),
    ],
)
def test_a_node(info: dict[str, t.Any], cells: list[str], remarks: list[str]) -> None:
    _heading, line, *below = status_table({"node-1": info})
    assert re.split(r" {2,}", line) == ["node-1", *cells]
    assert below == [f"    {remark}" for remark in remarks]


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Cells and remarks are folded between their words, and nothing of them is lost."""
    handlers = [f"kata-qemu-{number}" for number in range(9)]
    node = {
        **INSTALLED,
        "served": [],
        "receipt": {**INSTALLED["receipt"], "handlers": handlers},
        "problems": ["word " * 50 + "/a/path/with-hyphens"],
    }
    lines = status_table({"a": CLEAN, "node-1": node}, width)
    assert max(map(len, lines)) <= max(width, 58)
    text = " ".join(" ".join(lines).split())
    for word in ["word " * 50 + "/a/path/with-hyphens", "not served: kata-qemu-0, kata-qemu-1, kata-qemu-2 …"]:
        assert word in text
    if width >= 72:
        assert all(handler in text for handler in handlers)
    unfolded = status_table({"a": CLEAN, "node-1": node})
    assert len(unfolded) == 5
    assert (lines == unfolded) == (width > max(map(len, unfolded)))


def test_nodes_are_sorted_and_columns_aligned() -> None:
    lines = status_table({"b-with-a-long-name": INSTALLED, "a": CLEAN})
    assert [line.split()[0] for line in lines] == ["NODE", "a", "b-with-a-long-name"]
    column = lines[0].index("STATE")
    assert [line[column:].split()[0] for line in lines] == ["STATE", "absent", "installed"]
    assert not any(line != line.rstrip() for line in lines)


def test_no_nodes() -> None:
    assert [line.split()[0] for line in status_table({})] == ["NODE"]


def test_the_filter_is_registered() -> None:
    assert FilterModule().filters() == {"status_table": status_table}
