# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The transaction with a fake engine: what fails at each step, and what the admin does in the meantime.

Files are real, in a temporary directory; the engine is a class that reads them when it is started.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import Change, FileChange
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import recover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import transaction, undo
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.swap import swap_in
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files as files_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.begin import begin
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.engine import BROKEN, Played, table

BEFORE = table("runc")
AFTER = BEFORE + table("kata-qemu")


class Daemon(Played):
    """The engine of a node that has its files below ``root``."""

    def __init__(self, root: Path) -> None:
        self.config, self.drop_in, self.link = (
            root / "etc/config.toml",
            root / "etc/conf.d/coco.toml",
            root / "bin/shim",
        )
        self.config.parent.mkdir()
        self.link.parent.mkdir()
        self.config.write_text(BEFORE)
        super().__init__(self.config, self.drop_in)
        #: What else than our drop-in has been in a watched directory.
        self.strangers: set[str] = set()

    def watch(self, flavour: str) -> None:
        """Be an engine whose distribution watches the directory of drop-ins, which it has made."""
        self.engine = replace(self.engine, name=flavour)
        self.drop_in = self.config.parent / FLAVOURS[flavour].whole / "coco.toml"
        self.paths = (self.config, self.drop_in)
        self.drop_in.parent.mkdir()

    def glance(self) -> None:
        """Look into the directory of drop-ins, if every file counts there."""
        if FLAVOURS[self.engine.name].whole:
            self.strangers |= set(os.listdir(self.drop_in.parent)) - {self.drop_in.name}


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return running(tmp_path, monkeypatch)


def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Return a daemon below a directory, in the place of the node's."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # slow, and no power is cut here
    daemon = Daemon(tmp_path)
    daemon.install(monkeypatch)
    monkeypatch.setattr(unit, "enable", lambda directory: None)
    monkeypatch.setattr(unit, "disable", lambda directory: "")
    monkeypatch.setattr(places, "TRIAL", str(tmp_path / "trial"))
    return daemon


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


def change_of(daemon: Daemon, after: str = AFTER, drop_in: bool = False) -> Change:
    """Return the change that serves kata-qemu, in the main file or in a file of its own."""
    path, text = (daemon.drop_in, after[len(BEFORE) :]) if drop_in else (daemon.config, after)
    before = path.read_bytes() if path.exists() else None
    expected = "" if before is None else files_module.sha256(before)
    return Change(
        files=[FileChange(str(path), expected, text.encode(), before)],
        trial={"config.toml": after.encode()},
        handlers={"kata-qemu": {}},
    )


def carry_out(state: State, daemon: Daemon, change: Change) -> transaction.ChangeOutcome:
    journal = Journal.find(state) or Journal(state)
    begin(state, journal)
    return transaction.carry_out(state, journal, daemon, change, timeout=10, ignore_pods=False)


def look(daemon: Daemon) -> dict[str, t.Any]:
    """Return what is on the node and what is served."""
    root = daemon.config.parents[1]
    files = {
        str(path.relative_to(root)): path.read_text()
        for place in ("etc", "bin")
        for path in sorted((root / place).rglob("*"))
        if path.is_file()
    }
    times = [path.stat().st_mtime_ns for path in daemon.paths if path.exists()]
    directories = sorted(str(path.relative_to(root)) for path in (root / "etc").rglob("*") if path.is_dir())
    return {"files": files, "times": times, "directories": directories, "served": daemon.loaded}


# What is decided about each file.


@pytest.mark.parametrize(
    ("found", "before", "written", "decision"),
    [
        ("old", "old", "new", "done"),
        ("new", "old", "new", "put back"),
        ("admin's", "old", "new", "keep"),
        ("", "", "new", "done"),
        ("new", "", "new", "put back"),
        ("admin's", "", "new", "keep"),
        ("", "old", "", "put back"),
        ("", "old", "new", "keep"),
        ("admin's", "old", "", "keep"),
        pytest.param("new", "old", None, "put back", id="a journal that does not know what was written"),
        pytest.param("old", "old", None, "done", id="such a journal, and nothing to do"),
    ],
)
def test_decide(found: str, before: str, written: str | None, decision: str) -> None:
    assert undo.decide(found, before, written) == decision


# A run that goes well, and one that does not.


@pytest.mark.parametrize("drop_in", [False, True], ids=["in place", "drop-in"])
def test_a_change_is_committed_with_one_restart(state: State, daemon: Daemon, drop_in: bool) -> None:
    outcome = carry_out(state, daemon, change_of(daemon, drop_in=drop_in))
    assert (outcome.changed, outcome.restarted, daemon.starts) == (True, True, 2)
    assert daemon.loaded == ["runc", "kata-qemu"]
    assert list(state.receipt().handlers) == ["kata-qemu"]
    assert Journal.find(state) is None


@pytest.mark.parametrize("drop_in", [False, True], ids=["in place", "drop-in"])
def test_an_engine_that_does_not_start_is_brought_back(state: State, daemon: Daemon, drop_in: bool) -> None:
    before = look(daemon)
    with pytest.raises(Refusal, match="rolled back, and its engine serves what it served before"):
        carry_out(state, daemon, change_of(daemon, AFTER + BROKEN, drop_in))
    assert look(daemon) == before
    assert daemon.starts == 3
    assert Journal.find(state) is None


@pytest.mark.parametrize("error", [cri.CriError("/s: the engine closed the connection"), ValueError("password")])
def test_an_engine_that_goes_away_while_its_pods_are_asked_for(
    state: State, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> t.NoReturn:
        raise error if isinstance(error, ValueError) else daemon.no_answer(error)

    carry_out(state, daemon, change_of(daemon))
    before = look(daemon)
    expected = files_module.sha256(daemon.config.read_bytes())
    files = [FileChange(str(daemon.config), expected, BEFORE.encode(), BEFORE.encode())]
    monkeypatch.setattr(daemon, "pods", fail)
    with pytest.raises(
        Refusal, match=r"to answer on /s before anything is changed|ValueError in test_transaction\.py, line \d+"
    ):
        carry_out(state, daemon, Change(files=files, trial={"config.toml": BEFORE.encode()}))
    assert look(daemon) == before
    assert Journal.find(state) is None


# Rolling back fails, too, and then somebody mends the node by hand.


@pytest.fixture
def stuck(state: State, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """An engine that is down, for its unit does not start any more; the journal is open, the files are back."""
    load = daemon.load

    def break_down() -> None:
        load()
        daemon.masked, daemon.loaded = True, None

    with monkeypatch.context() as patch:
        patch.setattr(daemon, "load", break_down)
        with pytest.raises(Refusal, match=r"Rolling back failed, too.*keeps what you mend by hand"):
            carry_out(state, daemon, change_of(daemon))
    assert Journal.find(state) is not None
    daemon.masked = False
    return daemon


def rolled_back(state: State) -> str:
    """End the run that was interrupted, and return what the user is told."""
    said, told = recover(state)
    assert said == "rolled back"
    assert Journal.find(state) is None
    return " ".join(told)


def test_what_the_admin_has_mended_stays(state: State, stuck: Daemon) -> None:
    mended = BEFORE + table("mine")
    stuck.config.write_text(mended)
    stuck.load()
    starts = stuck.starts
    told = rolled_back(state)
    assert f"{stuck.config}: changed by somebody else" in told
    assert "still names" not in told
    assert stuck.config.read_text() == mended
    assert (stuck.loaded, stuck.starts) == (["runc", "mine"], starts)


def test_what_the_admin_has_mended_is_loaded_where_it_is_not(state: State, stuck: Daemon) -> None:
    stuck.config.write_text(BEFORE + table("mine"))
    rolled_back(state)
    assert stuck.loaded == ["runc", "mine"]


def test_handlers_of_ours_in_what_the_admin_has_mended_are_named(state: State, stuck: Daemon) -> None:
    stuck.config.write_text(AFTER + "# mended\n")
    stuck.load()
    assert "still names kata-qemu" in rolled_back(state)


def test_a_mended_file_with_which_no_engine_starts_is_told(state: State, stuck: Daemon) -> None:
    stuck.config.write_text(BEFORE + BROKEN)
    with pytest.raises(Refusal, match="the CRI to serve"):
        rolled_back(state)
    assert Journal.find(state) is not None
    stuck.config.write_text(BEFORE)
    stuck.load()
    starts = stuck.starts
    assert rolled_back(state) == ""
    assert stuck.starts == starts


def test_an_engine_that_the_admin_has_started_is_not_started_again(state: State, stuck: Daemon) -> None:
    stuck.load()
    starts = stuck.starts
    assert rolled_back(state) == ""
    assert (stuck.loaded, stuck.starts) == (["runc"], starts)


def test_an_engine_that_nobody_has_started_is(state: State, stuck: Daemon) -> None:
    assert rolled_back(state) == ""
    assert stuck.loaded == ["runc"]


def test_a_journal_of_the_version_before(state: State, stuck: Daemon) -> None:
    journal = Journal.find(state)
    assert journal
    assert journal.config
    journal.record(config=replace(journal.config, written={}, linked={}, invocation="", back=None))
    stuck.config.write_text(BEFORE + table("mine"))
    assert rolled_back(state) == ""
    assert stuck.config.read_text() == BEFORE
    assert stuck.loaded == ["runc"]


def test_an_engine_that_was_never_stopped_is_left_alone(state: State, daemon: Daemon) -> None:
    """Its unit is masked: there is no restart, not for the change and not for the way back."""
    before = look(daemon)
    daemon.masked = True
    with pytest.raises(Refusal, match=r"is masked.*rolled back"):
        carry_out(state, daemon, change_of(daemon))
    assert look(daemon) == before
    assert daemon.starts == 1


@pytest.mark.parametrize("theirs", ["link", "file", "nothing"])
def test_a_link_that_somebody_has_replaced_stays(
    state: State, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    """Meanwhile, that is between the writing and the way back."""
    change = replace(change_of(daemon), links={str(daemon.link): str(daemon.config)})

    def start() -> None:
        if theirs != "nothing":
            daemon.link.unlink()
        if theirs == "link":
            daemon.link.symlink_to("/theirs")
        elif theirs == "file":
            daemon.link.write_text("theirs")
        daemon.loaded = None
        daemon.masked = True

    with monkeypatch.context() as patch:
        patch.setattr(daemon, "load", start)
        with pytest.raises(Refusal, match="Rolling back failed"):
            carry_out(state, daemon, change)

    daemon.masked = False
    told = rolled_back(state)
    assert (str(daemon.link) in told) == (theirs != "nothing")
    assert os.path.lexists(daemon.link) == (theirs != "nothing")


def test_a_payload_configuration_that_was_edited_stays_and_is_known(
    state: State, daemon: Daemon, tmp_path: Path
) -> None:
    """It was added by the run that is rolled back: the next one takes it for what it is, an edited file of ours."""
    prefix, name = tmp_path / "opt/x", "share/defaults/kata-containers/configuration-qemu.toml"
    (prefix / name).parent.mkdir(parents=True)
    (prefix / name).write_text("mine")
    entry = {"type": "file", "mode": 0o644, "size": 5, "digest": files_module.sha256(b"ours!")}
    directories = [str(path) for path in ((prefix / name).parent, prefix / "share/defaults", prefix / "share", prefix)]
    artifacts = Swap(
        prefix=str(prefix),
        staged=str(tmp_path / "opt/.work/staged"),
        aside=str(tmp_path / "opt/.work/aside"),
        add=[name],
        editable={name: entry},
        directories=directories,
    )
    journal = Journal(state)
    begin(state, journal, artifacts=artifacts)
    assert f"{prefix / name}: edited" in rolled_back(state)
    assert (prefix / name).read_text() == "mine"
    receipt = state.receipt()
    assert (receipt.prefix, receipt.left, list(receipt.directories)) == (
        str(prefix),
        {name: entry},
        sorted(directories),
    )


# What a power cut would leave.


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to files, and when it is made durable."""
    events: list[str] = []

    def noted(name: str, real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*args: t.Any, **options: t.Any) -> t.Any:
            events.append(f"{name} {os.path.basename(str(args[0]))}")
            return real(*args, **options)

        return step

    for name in ("rename", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    monkeypatch.setattr(files_module, "sync_filesystem", lambda path: events.append("sync"))
    return events


@pytest.mark.parametrize("how", ["committed", "rolled back", "removed"])
def test_all_is_durable_before_the_journal_is_closed(
    state: State, daemon: Daemon, tmp_path: Path, events: list[str], how: str
) -> None:
    """/opt, /etc and /var can be file systems of their own: without the journal nobody knows what has to go there."""
    prefix = tmp_path / "opt/x"
    artifacts = Swap(
        prefix=str(prefix),
        staged=str(tmp_path / "opt/.work/staged"),
        aside=str(tmp_path / "opt/.work/aside"),
        add=["add"],
        remove=["remove"],
        directories=[str(prefix)],
        give_back=["theirs"],
    )
    for path in (prefix / "remove", prefix / "theirs.kept", Path(artifacts.staged) / "add"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    journal = Journal(state)
    begin(state, journal, artifacts=artifacts, receipt=Receipt(prefix=str(prefix)))
    swap_in(replace(artifacts, directories=[]))
    if how == "removed":
        journal.record(receipt=replace(state.receipt(), prefix=str(prefix)))
        transaction.finish(state, journal)
    else:
        change = change_of(daemon, AFTER if how == "committed" else AFTER + BROKEN, drop_in=True)
        with contextlib.nullcontext() if how == "committed" else pytest.raises(Refusal, match="rolled back"):
            carry_out(state, daemon, change)
    closed = events.index("unlink journal.json")
    synced = max(number for number, event in enumerate(events[:closed]) if event == "sync")
    assert events[synced + 1 : closed] == []
    changed = events[:synced]
    assert "rmdir .work" in changed
    assert ("unlink add" if how == "rolled back" else "unlink remove") in changed


def test_each_file_system_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(files_module, "sync_filesystem", lambda path: synced.append(os.stat(path).st_dev))
    (tmp_path / "file").touch()
    places = [str(tmp_path), str(tmp_path / "file"), str(tmp_path / "no/such/x"), "/dev/shm/no/such", "/dev/shm"]
    files_module.sync(places)
    assert sorted(synced) == sorted({os.stat(path).st_dev for path in (tmp_path, "/dev/shm")})
    files_module.sync([])
    assert len(synced) <= 2


# An error, or the end of the process, at each step.


class Killed(BaseException):
    """The process ends here."""


STEPS = ("mkdir", "chmod", "rename", "unlink", "rmdir", "symlink", "fsync", "utime")
#: What the transaction asks the engine.
ASKED = ("apply", "start", "status", "pods", "configured")


def raise_at(monkeypatch: pytest.MonkeyPatch, node: Daemon, number: int, error: BaseException) -> t.Callable[[], int]:
    """Have one step raise an error; returns how to ask how many were taken."""
    taken = itertools.count()
    last = [0]

    def counted(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*args: t.Any, **options: t.Any) -> t.Any:
            last[0] = next(taken)
            node.glance()
            if last[0] == number:
                raise error
            return real(*args, **options)

        return step

    for place, name in [*((os, name) for name in STEPS), *((node, name) for name in ASKED)]:
        monkeypatch.setattr(place, name, counted(getattr(place, name)))
    return lambda: last[0]


def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> tuple[Daemon, State]:
    """Return a node of its own for each step."""
    root = tmp_path / str(number)
    root.mkdir()
    return running(root, monkeypatch), State(str(root / "state"))


def assert_ended(state: State, node: Daemon, before: dict[str, t.Any], number: int) -> None:
    """Let the next run begin: the node is as asked for, or as before."""
    recover(state)
    assert Journal.find(state) is None
    if state.receipt().handlers:
        assert node.loaded == ["runc", "kata-qemu"], f"step {number}"
    else:
        assert look(node) == before, f"step {number}"


@pytest.mark.parametrize("drop_in", [False, True], ids=["in place", "drop-in"])
@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        cri.CriError("/s: the engine closed the connection"),
        ValueError("password"),
        Refusal("this", "that", "Do so."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_at_any_step_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, drop_in: bool
) -> None:
    """And the node is as before, or as asked for, at the latest when the next run has begun."""
    seen = set()
    for number in itertools.count():
        with monkeypatch.context() as patch:
            node, state = fresh(tmp_path, patch, number)
            before, change = look(node), change_of(node, drop_in=drop_in)
            change = replace(change, links={str(node.link): str(node.config)})
            journal = Journal(state)
            begin(state, journal)
            with patch.context() as failing:
                steps = raise_at(failing, node, number, error)
                try:
                    transaction.carry_out(state, journal, node, change, timeout=10, ignore_pods=False)
                    seen.add("done")
                except Refusal as refusal:
                    assert "password" not in str(refusal)
                    seen.add("refused")
                taken = steps()
            assert node.loaded is not None, f"down after step {number}"
            assert_ended(state, node, before, number)
            if taken < number:
                break
    assert seen == {"done", "refused"}
    assert number > 30


@pytest.mark.parametrize("after", [AFTER, AFTER + BROKEN], ids=["committed", "rolled back"])
@pytest.mark.parametrize(
    ("drop_in", "flavour"),
    [(False, "containerd"), (True, "containerd"), (True, "k0s")],
    ids=["in place", "drop-in", "watched"],
)
def test_a_process_that_is_killed_at_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drop_in: bool, flavour: str, after: str
) -> None:
    for number in itertools.count():
        with monkeypatch.context() as patch:
            node, state = fresh(tmp_path, patch, number)
            if FLAVOURS[flavour].whole:
                node.watch(flavour)
            before, change = look(node), change_of(node, after, drop_in=drop_in)
            change = replace(change, links={str(node.link): str(node.config)})
            journal = Journal(state)
            begin(state, journal)
            with patch.context() as failing:
                steps = raise_at(failing, node, number, Killed())
                with contextlib.suppress(Killed, Refusal):
                    transaction.carry_out(state, journal, node, change, timeout=10, ignore_pods=False)
                taken = steps()
            assert_ended(state, node, before, number)
            assert node.strangers == set(), f"step {number}"
            if taken < number:
                break
    assert number > 30
