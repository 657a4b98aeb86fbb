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
    "interrupted": False,
    "installed": False,
    "problems": [],
}
INSTALLED: dict[str, t.Any] = {
    **CLEAN,
    "installed": True,
    "served": ["kata-qemu", "runc"],
    "pods": {"": ["kube-system/proxy"], "kata-qemu": ["default/a", "default/b"], "other": ["default/c"]},
    "receipt": {"handlers": ["kata-qemu"], "payload": {"digest": "sha256:0123456789abcdef0123"}},
}
DIGEST = "sha256:0123456789ab"


@pytest.mark.parametrize(
    ("info", "cells"),
    [
        pytest.param(CLEAN, ["absent", "containerd 1.7.24", "-", "0", "-", "-"], id="clean"),
        pytest.param(INSTALLED, ["installed", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "-"], id="installed"),
        pytest.param(
            {**INSTALLED, "served": ["runc"]},
            ["damaged", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "not served: kata-qemu"],
            id="not served",
        ),
        pytest.param(
            {**INSTALLED, "excluded": {"kata-fc": "needs x"}},
            ["installed", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "left out: kata-fc needs x"],
            id="left out",
        ),
        pytest.param(
            {**INSTALLED, "drift": {"a/configuration.toml": "edited"}},
            ["installed", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "edited: a/configuration.toml"],
            id="an edit is no damage",
        ),
        pytest.param(
            {**INSTALLED, "drift": {"bin/a": "missing", "bin/b": "changed", "c": "edited"}},
            ["damaged", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "missing: bin/a; changed: bin/b; edited: c"],
            id="drift",
        ),
        pytest.param(
            {**INSTALLED, "drift": dict.fromkeys("abcd", "missing")},
            ["damaged", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "missing: a, b, c …"],
            id="much drift",
        ),
        pytest.param(
            {**INSTALLED, "interrupted": True},
            ["damaged", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "an interrupted run waits for the next one"],
            id="interrupted",
        ),
        pytest.param(
            {**INSTALLED, "problems": ["CRI down"]},
            ["damaged", "containerd 1.7.24", "kata-qemu", "2", DIGEST, "CRI down"],
            id="a problem",
        ),
        pytest.param(
            {**CLEAN, "engine": {}, "problems": ["no containerd"]},
            ["absent", "-", "-", "0", "-", "no containerd"],
            id="no engine",
        ),
        pytest.param(
            {"unreachable": True, "msg": "Connection refused\nmore"},
            ["away", "-", "-", "-", "-", "Connection refused"],
            id="away",
        ),
        pytest.param({"unreachable": True, "msg": ""}, ["away", "-", "-", "-", "-", "no answer"], id="away, no word"),
        pytest.param(
            {"failed": True, "msg": "word " * 99}, ["refused", "-", "-", "-", "-", "word " * 31 + "…"], id="refused"
        ),
    ],
)
def test_a_node(info: dict[str, t.Any], cells: list[str]) -> None:
    _heading, line = status_table({"node-1": info})
    assert re.split(r" {2,}", line) == ["node-1", *cells]


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
