# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of the run that is open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


def test_no_run_is_open(state: State) -> None:
    assert Journal.find(state) is None
    assert Journal(state).run != Journal(state).run
    assert not os.path.exists(state.directory)


def test_what_is_recorded_is_found_by_the_next_process(state: State) -> None:
    journal = Journal(state)
    journal.record(artifacts={"add": ["a"]})
    journal.record(config={"files": {}}, committed=True)
    found = Journal.find(state)
    assert found is not None
    assert found.run == journal.run
    assert found.parts == {
        "run": journal.run,
        "committed": True,
        "artifacts": {"add": ["a"]},
        "config": {"files": {}},
    }
    assert os.stat(state.journal).st_mode & 0o777 == 0o700


def test_a_new_run_is_not_committed(state: State) -> None:
    Journal(state).record()
    found = Journal.find(state)
    assert found is not None
    assert found.parts["committed"] is False


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
