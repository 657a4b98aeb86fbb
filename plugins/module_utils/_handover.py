# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From the module to the unit: a change is ordered by the one and carried out by the other, so that neither a lost connection
nor a killed ansible-playbook ends it half-way.

Order and result lie in /run: an order that a reboot has overtaken is not carried out.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import sys
import traceback
import typing as t
from dataclasses import asdict

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _files,
    _state,
    _transaction,
    _unit,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._change import Change
from ansible_collections.confidential_containers.runtime.plugins.module_utils._containerd import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State

_DIRECTORY = "/run/confidential-containers"
_ORDER = _DIRECTORY + "/order.json"
_GOES_ON = "What this run began, the next one finishes or undoes."


def _result(run: str) -> str:
    """Return where the result of a run is: each has its own, for others may still be waited for."""
    return f"{_DIRECTORY}/result-{run}.json"


def order(state: State, journal: Journal, engine: Engine, kind: str, work: t.Mapping[str, t.Any], **how: t.Any) -> None:
    """Leave an order for the unit. ``work`` and ``how`` are what the function of the ``kind`` takes, as plain data."""
    _transaction.begin(state, journal)
    _files.make_directories(_DIRECTORY, mode=0o700)
    _files.remove_file(_result(journal.run))
    _files.write_json(
        _ORDER, {"run": journal.run, "engine": engine.plain(), "kind": kind, "work": dict(work), "how": how}
    )


def carried_out(run: str) -> dict[str, t.Any]:
    """Have the unit carry out the order of ``run``, and return what it did, or raise its refusal."""
    path = _result(run)
    with _listening(run):
        _unit.start()
        if not _unit.wait(lambda: os.path.exists(path)) and _is_ordered(run):
            # A process that was about to end when it was started has not seen the order.
            _unit.start()
            _unit.wait(lambda: os.path.exists(path))
        result = _files.read_json(path)
        _files.remove_file(path)
    if result is None:
        raise Refusal(
            f"{_unit.NAME} to carry out this run ({run})",
            "that it ended without a result",
            f"'journalctl -u {_unit.NAME}' on the node says why. {_GOES_ON}",
        )
    if "refusal" in result:
        raise Refusal(**result["refusal"])
    return t.cast("dict[str, t.Any]", result["outcome"])


def _is_ordered(run: str) -> bool:
    return bool((_files.read_json(_ORDER) or {}).get("run") == run)


def _listener(run: str) -> str:
    return f"{_DIRECTORY}/listener-{run}"


@contextlib.contextmanager
def _listening(run: str) -> t.Iterator[None]:
    """Show that somebody waits for the result of a run: by a lock, which the kernel lets go with the process."""
    path = _listener(run)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        _files.remove_file(path)
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


def _work(kind: str) -> t.Callable[..., t.Any]:
    """Return what carries out a kind of order: from the plain data of its ``work`` to the outcome, a dataclass."""
    if kind == "change":
        return lambda state, journal, engine, work, **how: _transaction.carry_out(
            state, journal, engine, Change.from_plain(work), **how
        )
    # Not loaded before it is needed: see _transaction.recover.
    from ansible_collections.confidential_containers.runtime.plugins.module_utils import _installer

    return {"installer": _installer.carry_out, "restore": _installer.restore_left}[kind]


def unheard() -> str:
    """Return, once, why the last run failed that nobody was there any more to hear of, and remove what such runs have left."""
    found = ""
    # The version before had one name for all.
    for path in sorted(glob.glob(f"{_DIRECTORY}/result*.json"), key=os.path.getmtime):
        result = _files.read_json(path) or {}
        run = result.get("run", "")
        if _is_listened_for(run):
            continue
        _files.remove_file(path)
        _files.remove_file(_listener(run))
        found = str(Refusal(**result["refusal"])) if "refusal" in result else found
    return found


def main() -> None:
    """Carry out an order, or, without one, end the run that was interrupted: the unit's program.

    What it writes goes to the node's journal: not a word of any configuration.
    """
    state = State()
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_state.locked(_unit.NAME))
        except (Refusal, OSError) as error:
            # Who waits has to hear that, too. What is read without the lock is only a name.
            run = (_files.read_json(_ORDER) or {}).get("run", "") or _open_run(state)
            _leave(run, refusal=as_refusal(error, f"run {run} to have the node for itself"))
            status = 1
        else:
            status = _attend(state)
    if status:
        raise SystemExit(status)


def _open_run(state: State) -> str:
    journal = Journal.find(state)
    return journal.run if journal else ""


def _attend(state: State) -> int:
    """Do what there is to do, leave its result, and return the exit status. The caller holds the lock."""
    run, status = "", 0
    try:
        request = _files.read_json(_ORDER) or {}
        # Only once: a process that is killed from here on is started again, finds no order, and undoes what was done.
        _files.remove_file(_ORDER)
        run = request.get("run", "")
        journal = Journal.find(state)
        run = run or (journal.run if journal else "")
        if request:
            _leave(run, outcome=_carry_out(state, journal, request))
        elif journal:
            _end(state, run)
    except Exception as error:  # noqa: BLE001  (told to who waits)
        _leave(run, refusal=as_refusal(error, f"run {run} to go on to its end", _GOES_ON))
        if not isinstance(error, Refusal):
            # Not its words, which could quote a configuration.
            sys.stderr.writelines([*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"])
            status = 1
    left = _transaction.tidy(state)
    sys.stdout.write("".join(f"{line}\n" for line in (left, "" if run else "nothing to do") if line))
    return status


def _carry_out(state: State, journal: Journal | None, request: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    if journal is None or journal.run != request["run"]:
        # Not this unit's to end: who opened it may be at work.
        raise Refusal(
            f"run {request['run']} to be open on the node",
            f"run {journal.run}, which began meanwhile" if journal else "that another run has ended it",
            "Let only one run at a time work on a node, and run the playbook again.",
        )
    work = _work(request["kind"])
    engine = Engine.from_plain(request["engine"])
    return asdict(work(state, journal, engine, request["work"], **request["how"]))


def _end(state: State, run: str) -> t.NoReturn:
    """End the run that was interrupted, and say so to who may still wait for it, or to the next run."""
    said, told = _transaction.recover(state)
    sys.stdout.write("".join(f"run {run}: {words}\n" for words in (f"{said}.", *told)))
    raise Refusal(
        f"run {run} to go on to its end",
        " ".join([f"that its process was killed or the node restarted; it was {said}.", *told]).rstrip("."),
        "Run the playbook again.",
    )


def _leave(run: str, outcome: t.Mapping[str, t.Any] | None = None, refusal: Refusal | None = None) -> None:
    """Leave the result of a run for the module that waits for it, or for the next run."""
    result: dict[str, t.Any] = {"run": run, "outcome": outcome}
    if refusal is not None:
        words = {part: getattr(refusal, part) for part in ("expected", "found", "remedy")}
        result = {"run": run, "refusal": words}
    if run:
        _files.make_directories(_DIRECTORY, mode=0o700)
        _files.write_json(_result(run), result)
    said = "carried out" if refusal is None else "refused, rolled back or interrupted; the next run says why"
    sys.stdout.write(f"run {run or 'none'}: {said}\n")
