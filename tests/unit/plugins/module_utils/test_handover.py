# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the unit leaves for the module that waits for it, and what becomes of it when nobody waits any more."""

from __future__ import annotations

import contextlib
import json
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

ENGINE = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/etc/containerd/config.toml", "/s", True)
REFUSAL = {"expected": "this", "found": "that", "remedy": "Do so."}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A node, and no systemd."""
    state = State(str(tmp_path / "state"))
    monkeypatch.setattr(_handover, "State", lambda: state)
    monkeypatch.setattr(_handover, "locked", contextlib.nullcontext)
    monkeypatch.setattr(_handover, "_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(_handover, "_REQUEST", str(tmp_path / "request.json"))
    monkeypatch.setattr(unit, "enable", lambda directory: None)
    monkeypatch.setattr(unit, "disable", lambda directory: "")
    return state


def request(state: State, journal: Journal) -> None:
    asked = _handover.Request(journal.run, ENGINE, _handover.Task.CHANGE, {}, 120, ignore_pods=False)
    _handover.leave_request(state, journal, asked)


def left(tmp_path: Path, run: str) -> dict[str, t.Any]:
    """Return what the unit has left for a run."""
    result: dict[str, t.Any] = json.loads((tmp_path / f"result-{run}.json").read_text())
    return result


@pytest.mark.parametrize(
    ("error", "found", "status"),
    [
        pytest.param(
            PermissionError(1, "Not permitted", "/opt/x"), "[Errno 1] Not permitted: '/opt/x'", 1, id="system"
        ),
        pytest.param(
            ValueError('password = "x"'), "ValueError in test_handover.py, line ", 1, id="without words of its own"
        ),
        pytest.param(Refusal("this", "that", "Do so."), "that", 0, id="refusal"),
    ],
)
def test_an_error_is_told(
    state: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    found: str,
    status: int,
) -> None:
    def fail(*_args: t.Any) -> t.NoReturn:
        raise error

    journal = Journal(state)
    journal.record()
    monkeypatch.setattr(_handover, "recover", fail)
    if status:
        with pytest.raises(SystemExit):
            _handover.main()
    else:
        _handover.main()
    assert left(tmp_path, journal.run)["refusal"]["found"].startswith(found)
    printed = "".join(capsys.readouterr())
    assert "password" not in printed
    assert journal.run in printed


def test_a_lock_that_is_not_to_be_had_is_told(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the module that waits; and nothing is done without it."""

    def locked(what: str) -> t.NoReturn:
        raise Refusal("no other run", "one", "Wait.")

    journal = Journal(state)
    request(state, journal)
    monkeypatch.setattr(_handover, "locked", locked)
    for request_is_there in (True, False):  # without: the unit was killed, and started again
        with pytest.raises(SystemExit):
            _handover.main()
        assert left(tmp_path, journal.run)["refusal"]["expected"] == "no other run"
        assert Journal.find(state) is not None
        if request_is_there:
            (tmp_path / "request.json").unlink()
            (tmp_path / f"result-{journal.run}.json").unlink()


def test_a_request_that_another_run_has_overtaken_ends_nothing(state: State, tmp_path: Path) -> None:
    first, second = Journal(state), Journal(state)
    request(state, first)
    second.record()
    _handover.main()
    assert second.run in left(tmp_path, first.run)["refusal"]["found"]
    found = Journal.find(state)
    assert found
    assert found.run == second.run


def test_a_request_that_is_not_understood_is_refused_once(state: State, tmp_path: Path) -> None:
    journal = Journal(state)
    request(state, journal)
    path = tmp_path / "request.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "task": "UNHEARD_OF"}))
    _handover.main()
    assert Journal.find(state) is not None
    _handover.main()
    assert Journal.find(state) is None
    assert "it was rolled back" in left(tmp_path, journal.run)["refusal"]["found"]


def test_a_run_that_was_interrupted_is_ended_and_told(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = Journal(state)
    journal.record()
    roll_back = transaction.roll_back
    monkeypatch.setattr(transaction, "roll_back", lambda *words: [*roll_back(*words), "/etc/x: left as found."])
    _handover.main()
    assert Journal.find(state) is None
    assert left(tmp_path, journal.run)["refusal"]["found"].endswith("it was rolled back. /etc/x: left as found")
    assert f"run {journal.run}: /etc/x: left as found.\n" in capsys.readouterr().out
    assert "it was rolled back" in _handover.unheard()
    assert _handover.unheard() == ""


def leave(tmp_path: Path, name: str, age: int = 0, **result: t.Any) -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(result))
    when = path.stat().st_mtime - age
    os.utime(path, (when, when))
    return path


def test_a_result_is_left_to_who_waits_for_it(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run looks for what nobody has heard, just then."""
    monkeypatch.setattr(unit, "start", lambda: leave(tmp_path, "result-me.json", run="me", outcome={"changed": True}))
    heard = []

    def wait(arrived: t.Callable[[], bool]) -> bool:
        heard.append(_handover.unheard())
        return arrived()

    monkeypatch.setattr(unit, "wait", wait)
    assert _handover.carried_out("me") == {"changed": True}
    assert heard == [""]
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_was_about_to_end_has_not_seen_the_request(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[int] = []

    def start() -> None:
        starts.append(1)
        if len(starts) == 2:
            (tmp_path / "request.json").unlink()
            leave(tmp_path, f"result-{journal.run}.json", run=journal.run, outcome={"changed": True})

    journal = Journal(state)
    request(state, journal)
    monkeypatch.setattr(unit, "start", start)
    monkeypatch.setattr(unit, "wait", lambda arrived: arrived())
    assert _handover.carried_out(journal.run) == {"changed": True}


def test_a_unit_that_ends_without_a_result(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "start", lambda: None)
    monkeypatch.setattr(unit, "wait", lambda arrived: arrived())
    with pytest.raises(Refusal, match="ended without a result"):
        _handover.carried_out("me")


def test_what_nobody_has_heard_is_told_once(state: State, tmp_path: Path) -> None:
    leave(tmp_path, "result-a.json", age=30, run="a", refusal={**REFUSAL, "found": "the old one"})
    leave(tmp_path, "result-b.json", age=20, run="b", refusal={**REFUSAL, "found": "the new one"})
    leave(tmp_path, "result-c.json", age=10, run="c", outcome={})
    (tmp_path / "listener-b").touch()  # of a process that was killed
    told = _handover.unheard()
    assert "the new one" in told
    assert "the old one" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_result_of_the_version_before_is_told(state: State, tmp_path: Path) -> None:
    leave(tmp_path, "result.json", run="a", refusal=REFUSAL)
    assert _handover.unheard() == "Expected this. Found that. Do so."
