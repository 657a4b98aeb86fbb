# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The batches in which nodes take turns."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.filter.rollout import FilterModule, rollout

#: By the first letter of a node's name: what a look at it has said.
LOOKS: t.Mapping[str, t.Any] = {
    "s": {"engine": {"name": "k3s", "server": True}},
    "w": {"engine": {"name": "k3s", "server": False}},
    "r": {"engine": {}, "problems": ["no engine"]},  # refused
    "a": {"unreachable": True},  # away
    "f": {"failed": True, "msg": "no Python"},
    "n": None,  # nobody has looked
}
USUAL = [1, "25%", "100%"]


def of(names: str) -> dict[str, dict[str, t.Any]]:
    looks = {name: LOOKS[name[0]] for name in names.split()}
    return {name: {} if look is None else {"_coco_node": look} for name, look in looks.items()}


@pytest.mark.parametrize(
    ("names", "serial", "order", "batches"),
    [
        pytest.param("w1 w2 w3", USUAL, "w1 w2 w3", USUAL, id="no server"),
        pytest.param("n1", USUAL, "n1", USUAL, id="one node"),
        pytest.param("s1", USUAL, "s1", [1], id="one server"),
        pytest.param("s1 s2 s3", USUAL, "s1 s2 s3", [1], id="servers only"),
        pytest.param("s1 w1", ["100%"], "w1 s1", [1, 1], id="one server and another node"),
        pytest.param("s1 w1 s2 w2 w3 w4 w5", USUAL, "w1 w2 w3 w4 w5 s1 s2", [1, 1, 3, 1], id="one after the other"),
        pytest.param("s1 s2 w1 w2 w3 w4", [3], "w1 w2 w3 w4 s1 s2", [3, 1, 1], id="the last batch is repeated"),
        pytest.param("s1 w1 w2", ["10%"], "w1 w2 s1", [1, 1, 1], id="a small percentage"),
        pytest.param("s1 w1 w2", ["100%"], "w1 w2 s1", [2, 1], id="all others at once"),
        pytest.param("s1 a1 r1 f1", [5], "a1 r1 f1 s1", [3, 1], id="a look without an answer"),
        pytest.param("s1 w1 n1 n2 s2", [5], "w1 n1 n2 s1 s2", [1, 1], id="--limit leaves n1 and n2 out"),
    ],
)
def test_no_batch_holds_two_servers(names: str, serial: list[t.Any], order: str, batches: list[t.Any]) -> None:
    found = rollout(names.split(), of(names), serial)
    assert found["hosts"] == order.split()
    assert found["serial"] == batches
    assert found["servers"] == [name for name in names.split() if name.startswith("s")]


def test_the_filter_is_registered() -> None:
    assert FilterModule().filters() == {"rollout": rollout}
