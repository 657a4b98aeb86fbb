# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of the run that is open."""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import (
    CommandUndo,
    ConfigUndo,
    Journal,
    Kind,
    Stage,
    Swap,
    stage,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

ENGINE = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/etc/containerd/config.toml", "/s", True)
CONFIG = ConfigUndo({"/etc/x": None}, {}, ["/etc/d"], ENGINE, ["runc"], 10, {"/etc/x": "sha256:1"}, invocation="1")
COMMAND = CommandUndo([{"path": "/opt/x"}], ENGINE, ["runc"], "1", 10)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


def test_no_run_is_open(state: State) -> None:
    assert Journal.find(state) is None
    assert Journal(state).run != Journal(state).run
    assert not os.path.exists(state.directory)


def test_what_is_recorded_is_found_by_the_next_process(state: State) -> None:
    journal = Journal(state, Kind.INSTALLER)
    swap = Swap("/opt/x", add=["a"], editable={"a": {"type": "file"}})
    journal.record(artifacts=swap, receipt=Receipt(prefix="/opt/x"))
    journal.record(config=CONFIG, command=COMMAND, committed=True)
    found = Journal.find(state)
    assert found is not None
    assert (found.run, found.kind) == (journal.run, Kind.INSTALLER)
    assert found.plain() == json.loads(json.dumps(journal.plain()))
    assert (found.config, found.command) == (CONFIG, COMMAND)
    assert found.artifacts is not None
    assert found.artifacts.editable == swap.editable
    assert found.receipt is not None
    assert found.receipt.prefix == "/opt/x"
    assert os.stat(state.journal).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("committed", "parts", "expected"),
    [
        (False, {}, Stage.OPENED),
        (False, {"artifacts": Swap("/opt/x")}, Stage.ARTIFACTS),
        (False, {"artifacts": Swap("/opt/x"), "config": CONFIG}, Stage.CONFIGURATION),
        (False, {"config": CONFIG}, Stage.CONFIGURATION),
        (False, {"config": replace(CONFIG, restarting=True)}, Stage.RESTARTING),
        (False, {"config": replace(CONFIG, restarting=True, back="2")}, Stage.ROLLING_BACK),
        (False, {"command": COMMAND}, Stage.COMMAND),
        (False, {"command": replace(COMMAND, seen={})}, Stage.ROLLING_BACK),
        (True, {"artifacts": Swap("/opt/x")}, Stage.COMMITTED),
        (True, {"config": replace(CONFIG, restarting=True)}, Stage.COMMITTED),
        (True, {"command": COMMAND}, Stage.COMMITTED),
    ],
)
def test_stage(committed: bool, parts: dict[str, t.Any], expected: Stage) -> None:
    assert stage(committed, **parts) is expected


def test_a_journal_of_a_newer_version_is_refused(state: State) -> None:
    journal = Journal(state)
    journal.record()
    newer = {**journal.plain(), "schema": 2, "collection": "9.0.0", "kind": "unheard of"}
    Path(state.journal, "journal.json").write_text(json.dumps(newer))
    with pytest.raises(
        Refusal, match=r"schema 2, written by version 9\.0\.0.*Use that version of the collection, or a newer"
    ):
        Journal.find(state)


@pytest.mark.parametrize(
    "damage", [{"kind": "unheard of"}, {"config": {}}, {"artifacts": {"x": 1}}, {"installer": 7}, {"schema": 0}]
)
def test_what_is_no_journal_is_refused(state: State, damage: dict[str, t.Any]) -> None:
    journal = Journal(state)
    journal.record()
    Path(state.journal, "journal.json").write_text(json.dumps({**journal.plain(), **damage}))
    with pytest.raises(Refusal, match="from a backup"):
        Journal.find(state)


def test_a_new_run_is_not_committed(state: State) -> None:
    Journal(state).record()
    found = Journal.find(state)
    assert found is not None
    assert found.stage is Stage.OPENED


def test_a_closed_run_leaves_nothing(state: State) -> None:
    journal = Journal(state)
    journal.record()
    for _dummy in range(2):
        journal.close()
        assert Journal.find(state) is None
        assert not os.path.exists(os.path.join(state.journal, "journal.json"))


def test_a_damaged_journal_is_refused(state: State) -> None:
    Journal(state).record()
    Path(state.journal, "journal.json").write_bytes(b'{"run": ')
    with pytest.raises(Refusal, match="journal"):
        Journal.find(state)


def test_age_of_a_journal(state: State) -> None:
    journal = Journal(state)
    journal.record()
    path = os.path.join(state.journal, "journal.json")
    now = os.stat(path).st_mtime
    assert 0 <= journal.age < 60
    os.utime(path, (now - 100, now - 100))
    assert 100 <= journal.age < 160
    os.utime(path, (now + 1000, now + 1000))
    assert journal.age == float("inf")
