# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The handover of a change: a module leaves a request, and the systemd unit of ``_run.unit`` carries it out.

The change then survives a lost connection and a killed ansible-playbook. This file also picks the transaction that carries
out, finishes or rolls back a run: ``_native.transaction`` or ``_installer.transaction``.

Request and result lie in /run. A reboot removes them, so nobody carries out a request from before the reboot.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import glob
import os
import sys
import traceback
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import Change
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import documents, unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.begin import begin, tidy
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Kind, Stage
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State, locked

if t.TYPE_CHECKING:
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import command

_DIRECTORY = places.HANDOVER
_REQUEST = _DIRECTORY + "/request.json"
_GOES_ON = "What this run began, the next one finishes or undoes."


class Task(enum.Enum):
    """What the unit can be asked for."""

    CHANGE = "change the engine's configuration"
    COMMAND = "run a payload's command"
    RESTORE = "bring back what commands have left"


@dataclass(frozen=True)
class Request:
    """What the unit has to carry out: a ``task`` of an open run. ``work`` is the plain data of that task.

    ``timeout``: how many seconds the engine may take to restart. ``ignore_pods``: remove handlers even if pods use them.
    """

    run: str
    engine: Engine
    task: Task
    work: t.Mapping[str, t.Any]
    timeout: float
    ignore_pods: bool

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Request:
        """Return the request that a document describes."""
        return cls(**{**plain, "engine": Engine.from_plain(plain["engine"]), "task": Task[plain["task"]]})

    def plain(self) -> dict[str, t.Any]:
        return {**vars(self), "engine": self.engine.plain(), "task": self.task.name, "work": dict(self.work)}


@dataclass(frozen=True)
class Result:
    """What became of a request: the ``outcome`` as plain data, or the ``refusal``."""

    run: str
    outcome: t.Mapping[str, t.Any] | None = None
    refusal: Refusal | None = None

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Result:
        """Return the result that a document describes."""
        refusal = plain.get("refusal")
        return cls(plain.get("run", ""), plain.get("outcome"), Refusal(**refusal) if refusal else None)

    def plain(self) -> dict[str, t.Any]:
        if self.refusal is None:
            return {"run": self.run, "outcome": self.outcome}
        words = {part: getattr(self.refusal, part) for part in ("expected", "found", "remedy")}
        return {"run": self.run, "refusal": words}


def _requested() -> Request | None:
    return documents.read(_REQUEST, "request", [None], Request.from_plain)


def _result(path: str) -> Result | None:
    return documents.read(path, "result", [None], Result.from_plain)


def _result_path(run: str) -> str:
    """Return the path of a run's result. Each run has its own: somebody may still wait for the result of another run."""
    return f"{_DIRECTORY}/result-{run}.json"


def leave_request(state: State, journal: Journal, request: Request) -> None:
    """Open the run, and leave a request for the unit."""
    begin(state, journal)
    files.make_directories(_DIRECTORY, mode=0o700)
    files.remove_file(_result_path(request.run))
    files.write_json(_REQUEST, request.plain())


def carried_out(run: str) -> dict[str, t.Any]:
    """Let the unit carry out the request of ``run``. Return its outcome, or raise its refusal."""
    path = _result_path(run)
    with _listening(run):
        unit.start()
        if not unit.wait(lambda: os.path.exists(path)) and _is_requested(run):
            # The unit's process was about to end when we started the unit, and has not seen the request.
            unit.start()
            unit.wait(lambda: os.path.exists(path))
        result = _result(path)
        files.remove_file(path)
    if result is None:
        raise Refusal(
            f"{unit.NAME} to carry out this run ({run})",
            "that it ended without a result",
            f"'journalctl -u {unit.NAME}' on the node says why. {_GOES_ON}",
        )
    if result.refusal is not None:
        raise result.refusal
    return dict(result.outcome or {})


def _is_requested(run: str) -> bool:
    request = _requested()
    return request is not None and request.run == run


def _listener(run: str) -> str:
    return f"{_DIRECTORY}/listener-{run}"


@contextlib.contextmanager
def _listening(run: str) -> t.Iterator[None]:
    """Show that somebody waits for the result of a run: hold a lock. The kernel releases it when this process ends."""
    path = _listener(run)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        files.remove_file(path)
        os.close(descriptor)


def _is_listened_for(run: str) -> bool:
    try:
        descriptor = os.open(_listener(run), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _carry_out(state: State, journal: Journal, request: Request) -> transaction.ChangeOutcome | command.CommandOutcome:
    driver, how = flavours.driver(request.engine), (request.timeout, request.ignore_pods)
    if request.task is Task.CHANGE:
        return transaction.carry_out(state, journal, driver, Change.from_plain(request.work), *how)
    # Imported only when it is needed: recover says why.
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.transaction import (
        carry_out,
        restore_left,
    )

    work = carry_out if request.task is Task.COMMAND else restore_left
    return work(state, journal, driver, request.work, *how)


def recover(state: State) -> tuple[str, list[str]]:
    """End an interrupted run: finish it if it was committed, else roll it back.

    Returns what was done ('' if there was no such run), and what the user has to know about it.
    """
    journal = Journal.find(state)
    if journal is None:
        return "", []
    finish, roll_back = transaction.finish, transaction.roll_back
    if journal.kind is Kind.INSTALLER:
        # Every module comes through here, and few need this import. It takes longer than the rest of an unchanged run.
        from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import (
            transaction as installer,
        )

        finish, roll_back = installer.finish, installer.roll_back
    if journal.stage is Stage.COMMITTED:
        finish(state, journal)
        return "finished", []
    return "rolled back", roll_back(state, journal)


def unheard() -> str:
    """Return why the last run failed whose result nobody waited for.

    Removes the results of all such runs, so that the user is told once.
    """
    found = ""
    # The version before had one name for the results of all runs.
    for path in sorted(glob.glob(f"{_DIRECTORY}/result*.json"), key=os.path.getmtime):
        result = _result(path)
        if result is None or _is_listened_for(result.run):
            continue
        files.remove_file(path)
        files.remove_file(_listener(result.run))
        found = str(result.refusal) if result.refusal is not None else found
    return found


def main() -> None:
    """Carry out the request. Without one, end the interrupted run. This is the unit's program.

    Its output goes to the log of the node, so it quotes nothing of any configuration.
    """
    state = State()
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked(unit.NAME))
        except (Refusal, OSError) as error:
            # The module that waits has to know this, too. Without the lock we read no more than the name of the run.
            request = _requested()
            run = request.run if request else _open_run(state)
            _leave(Result(run, refusal=as_refusal(error, f"run {run} to have the node for itself")))
            status = 1
        else:
            status = _attend(state)
    if status:
        raise SystemExit(status)


def _open_run(state: State) -> str:
    journal = Journal.find(state)
    return journal.run if journal else ""


def _attend(state: State) -> int:
    """Carry out the request or end the interrupted run, leave the result, and return the exit status.

    The caller holds the lock.
    """
    run, status = "", 0
    try:
        try:
            request = _requested()
        finally:
            # A request is tried once. If this process is killed from here on, systemd starts it again: it then finds no
            # request, and undoes what was done.
            files.remove_file(_REQUEST)
        run = request.run if request else ""
        journal = Journal.find(state)
        run = run or (journal.run if journal else "")
        if request:
            outcome = _carry_out(state, _its_own(journal, request), request)
            _leave(Result(run, asdict(outcome)))
        elif journal:
            _end(state, run)
    except Exception as error:  # noqa: BLE001  (whatever it is: who waits for the result must hear of it)
        _leave(Result(run, refusal=as_refusal(error, f"run {run} to go on to its end", _GOES_ON)))
        if not isinstance(error, Refusal):
            # Without the error's text, which could quote a configuration.
            sys.stderr.writelines([*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"])
            status = 1
    left = tidy(state)
    sys.stdout.write("".join(f"{line}\n" for line in (left, "" if run else "nothing to do") if line))
    return status


def _its_own(journal: Journal | None, request: Request) -> Journal:
    """Return the journal of the request's run. Refuse the journal of another run."""
    if journal is None or journal.run != request.run:
        # This unit must not end the other run: the process that opened it may be at work.
        raise Refusal(
            f"run {request.run} to be open on the node",
            f"run {journal.run}, which began meanwhile" if journal else "that another run has ended it",
            "Let only one run at a time work on a node, and run the playbook again.",
        )
    return journal


def _end(state: State, run: str) -> t.NoReturn:
    """End the interrupted run. Raise a refusal that says so, for a module that still waits, or for the next run."""
    said, told = recover(state)
    sys.stdout.write("".join(f"run {run}: {words}\n" for words in (f"{said}.", *told)))
    raise Refusal(
        f"run {run} to go on to its end",
        " ".join([f"that its process was killed or the node restarted; it was {said}.", *told]).rstrip("."),
        "Run the playbook again.",
    )


def _leave(result: Result) -> None:
    """Leave the result of a run for the module that waits for it, or for the next run."""
    if result.run:
        files.make_directories(_DIRECTORY, mode=0o700)
        files.write_json(_result_path(result.run), result.plain())
    said = "carried out" if result.refusal is None else "refused, rolled back or interrupted; the next run says why"
    sys.stdout.write(f"run {result.run or 'none'}: {said}\n")
