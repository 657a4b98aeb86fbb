# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every error undoes a command of a payload. Integration tests show what this does to a real engine."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import recover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import (
    command,
    service,
    transaction,
    volumes,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Kind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played


class Idle(Played):
    """An engine that is there and serves nothing: what is looked at is the files."""

    def load(self) -> None:
        self.starts += 1
        self.loaded = []

    def configured(self, config: str = "") -> Dump:
        return Dump("")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Idle:
    run = process.run
    monkeypatch.setattr(
        process, "run", lambda argv, timeout=60.0: run(["true"] if argv[0] == "systemctl" else argv, timeout)
    )
    monkeypatch.setattr(service, "remove", lambda: None)
    engine = Idle(tmp_path / "etc/config.toml")
    engine.install(monkeypatch)
    return engine


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Refusal("this", "that", "Do so."), "Expected this. Found that. Do so. It had touched"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("a line with a password"), "Found ValueError in test_transaction.py, line "),
    ],
)
def test_every_error_is_undone(tmp_path: Path, engine: Idle, error: Exception, says: str) -> None:
    root, state = tmp_path / "etc", State(str(tmp_path / "state"))
    root.mkdir()
    (root / "config.toml").write_text("before")

    def work(before: set[str]) -> command.CommandOutcome:
        (root / "config.toml").write_text("after")
        raise error

    journal = Journal(state, Kind.INSTALLER)
    with pytest.raises(Refusal) as raised:
        transaction._safely(state, journal, engine, [str(root)], [], 10, work, lambda outcome, changed: Receipt())
    assert says in str(raised.value)
    assert "all as before now" in str(raised.value)
    assert "password" not in str(raised.value)
    assert (root / "config.toml").read_text() == "before"
    assert Journal.find(state) is None


def test_what_the_admin_mends_after_a_rollback_that_failed_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Idle
) -> None:
    root, state = tmp_path / "etc", State(str(tmp_path / "state"))
    root.mkdir()
    (root / "config.toml").write_text("before")
    (root / "other").write_text("before")

    def work(before: set[str]) -> command.CommandOutcome:
        for name in ("config.toml", "other", "added"):
            (root / name).write_text("after")
        raise Refusal("this", "that", "Do so.")

    def fail(*_words: t.Any) -> t.NoReturn:
        raise Refusal("the engine to start", "no", "")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "apply", fail)
        with pytest.raises(Refusal, match=r"Putting it back failed, too.*keeps what you mend by hand"):
            transaction._safely(
                state,
                Journal(state, Kind.INSTALLER),
                engine,
                [str(root)],
                [],
                10,
                work,
                lambda outcome, changed: Receipt(),
            )
    (root / "config.toml").write_text("mended")
    engine.load()
    starts = engine.starts
    told = recover(state)
    assert told == (
        "rolled back",
        [f"{root}/config.toml: changed by somebody else since this run had failed, and left as found."],
    )
    assert {path.name: path.read_text() for path in root.iterdir()} == {"config.toml": "mended", "other": "before"}
    assert engine.starts == starts
    assert Journal.find(state) is None


def test_a_commit_that_cannot_be_written_is_no_commit_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Idle
) -> None:
    """A command that has filled the disk; the engine does not come back, either. The next run goes on with the way back."""
    root, state, journal = (
        tmp_path / "etc",
        State(str(tmp_path / "state")),
        Journal(State(str(tmp_path / "state")), Kind.INSTALLER),
    )
    root.mkdir()
    (root / "config.toml").write_text("before")
    record = journal.record

    def full(**parts: t.Any) -> None:
        if parts.get("committed"):
            journal.committed = True
            raise OSError(28, "No space left on device")
        record(**parts)

    def work(before: set[str]) -> command.CommandOutcome:
        (root / "config.toml").write_text("after")
        return command.CommandOutcome()

    def fail(*_words: t.Any) -> t.NoReturn:
        raise Refusal("the engine to start", "no", "")

    monkeypatch.setattr(journal, "record", full)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "apply", fail)
        with pytest.raises(Refusal, match="Putting it back failed, too"):
            transaction._safely(
                state, journal, engine, [str(root)], [], 10, work, lambda outcome, changed: Receipt(prefix="/x")
            )
    assert recover(state)[0] == "rolled back"
    assert (root / "config.toml").read_text() == "before"
    assert state.receipt() == Receipt()


@pytest.mark.parametrize("fails", [False, True], ids=["committed", "rolled back"])
def test_all_is_durable_before_the_journal_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Idle, fails: bool
) -> None:
    root, state = tmp_path / "etc", State(str(tmp_path / "state"))
    root.mkdir()
    synced: list[tuple[bool, set[str]]] = []
    monkeypatch.setattr(files, "sync", lambda paths: synced.append((Journal.find(state) is not None, set(paths))))

    def work(before: set[str]) -> command.CommandOutcome:
        if fails:
            raise Refusal("this", "that", "Do so.")
        return command.CommandOutcome()

    def result(outcome: command.CommandOutcome, changed: t.Any) -> Receipt:
        return state.receipt()

    created: list[volumes.Created] = [{"path": str(tmp_path / "opt/x"), "type": "Directory", "mode": 0o755}]
    with contextlib.suppress(Refusal):
        transaction._safely(state, Journal(state, Kind.INSTALLER), engine, [str(root)], created, 10, work, result)
    assert Journal.find(state) is None
    assert synced == [(True, {state.directory, str(tmp_path / "opt/x")})]


def test_a_run_that_was_opened_and_no_more_is_closed(tmp_path: Path, engine: Idle) -> None:
    state = State(str(tmp_path / "state"))
    Journal(state, Kind.INSTALLER).record()
    assert recover(state) == ("rolled back", [])
    assert Journal.find(state) is None
    assert engine.starts == 1


@pytest.mark.parametrize(
    ("name", "argv", "refused"),
    [
        ("install", "/opt/enclave-cc-artifacts/scripts/enclave-cc-deploy.sh", True),
        ("uninstall", "/opt/enclave-cc-artifacts/scripts/enclave-cc-deploy.sh", False),
        ("install", "/opt/mine.sh", False),
        ("pre_install", "/opt/confidential-containers-pre-install-artifacts/scripts/pre-install.sh", True),
        ("pre_install", "/bin/true", False),
    ],
)
def test_a_program_that_does_not_know_the_engine_is_not_run(
    tmp_path: Path, engine: Idle, name: str, argv: str, refused: bool
) -> None:
    state = State(str(tmp_path / "state"))
    directory = tmp_path / "state/payload/x-image"
    directory.mkdir(parents=True)
    record = {"reference": "the payload", "contract": "enclave-cc", "layers": [], "chain": {"sha256:1": "manifest"}}
    files.write_json(str(directory / "payload.json"), record)
    engine.engine = replace(engine.engine, name="k3s")
    asked = command.Command(name, "sha256:1", [argv, "install"], [], [])
    if not refused:
        transaction.check(state, engine, asked, False)
        return
    with pytest.raises(Refusal, match="Found k3s"):
        transaction.check(state, engine, asked, False)


@pytest.mark.parametrize(
    ("name", "changed", "must"),
    [
        ("k3s", ["/etc/x/config.toml.tmpl"], True),
        ("k3s", ["/opt/kata", "/opt/kata/bin"], False),
        ("k3s", [], False),
        ("containerd", ["/etc/x/config.toml"], False),
    ],
)
def test_what_a_distribution_makes_of_a_change_is_known_after_a_start(
    name: str, changed: list[str], must: bool
) -> None:
    engine = Idle(Path("/etc/x/config.toml"))
    engine.engine = replace(engine.engine, name=name)
    assert transaction._must_start(engine, changed) is must


def test_an_engine_is_started_for_what_it_has_not_read_yet(tmp_path: Path, engine: Idle) -> None:
    """The scripts' own uninstallation leaves the restart to their cleanup. The file that k3s has rendered is then still the old one."""
    asked, outcome, starts = (
        command.Command("uninstall", "sha256:1", ["/x"], [], []),
        command.CommandOutcome(),
        engine.starts,
    )
    transaction._settle(engine, asked, outcome, set(), engine.start(), False, 10)
    assert engine.starts == starts
    transaction._settle(engine, asked, outcome, set(), engine.start(), True, 10)
    assert engine.starts == starts + 1
