# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From the module to the unit: a change is ordered by the one and carried out by the other, so that neither a lost connection
nor a killed ansible-playbook ends it half-way.

Order and result lie in /run: an order that a reboot has overtaken is not carried out.
"""

from __future__ import annotations

import os
import sys
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
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State

_DIRECTORY = "/run/confidential-containers"
_ORDER = _DIRECTORY + "/order.json"
_RESULT = _DIRECTORY + "/result.json"


def order(state: State, journal: Journal, engine: Engine, kind: str, work: t.Mapping[str, t.Any], **how: t.Any) -> None:
    """Leave an order for the unit. ``work`` and ``how`` are what the function of the ``kind`` takes, as plain data."""
    _transaction.begin(state, journal)
    _files.make_directories(_DIRECTORY, mode=0o700)
    _files.remove_file(_RESULT)
    _files.write_json(
        _ORDER, {"run": journal.run, "engine": engine.plain(), "kind": kind, "work": dict(work), "how": how}
    )


def carried_out(run: str) -> dict[str, t.Any]:
    """Have the unit carry out the order of ``run``, and return what it did, or raise its refusal."""
    _unit.start()
    result = t.cast(
        "dict[str, t.Any]", _files.read_json(_RESULT) if _unit.wait(lambda: os.path.exists(_RESULT)) else {}
    )
    if result.get("run") != run:
        raise Refusal(
            f"{_unit.NAME} to carry out this run ({run})",
            f"run {result['run']}" if result else "that it ended without a result",
            "Let only one run at a time work on a node, and start again.",
        )
    _files.remove_file(_RESULT)
    if "refusal" in result:
        raise Refusal(**result["refusal"])
    return t.cast("dict[str, t.Any]", result["outcome"])


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
    """Return, once, why the last run failed, when nobody was there any more to hear it."""
    result = _files.read_json(_RESULT) or {}
    _files.remove_file(_RESULT)
    refusal = result.get("refusal")
    return f"Expected {refusal['expected']}. Found {refusal['found']}." if refusal else ""


def main() -> None:
    """Carry out an order, or, without one, end the run that was interrupted: the unit's program.

    What it writes goes to the node's journal: not a word of any configuration.
    """
    state = State()
    with _state.locked(_unit.NAME):
        journal = Journal.find(state)
        request = _files.read_json(_ORDER)
        # Only once: a process that is killed from here on is started again, finds no order, and undoes what was done.
        _files.remove_file(_ORDER)
        run = journal.run if journal else ""
        result: dict[str, t.Any] = {"run": run}
        try:
            if journal and request and request["run"] == run:
                engine = Engine.from_plain(request["engine"])
                work = _work(request["kind"])
                result["outcome"] = asdict(work(state, journal, engine, request["work"], **request["how"]))
                said = "carried out"
            else:
                said = _transaction.recover(state)
                if said:
                    raise Refusal(
                        f"run {run} to go on to its end",
                        f"that its process was killed or the node restarted; it was {said}",
                        "Start again.",
                    )
        except Refusal as refusal:
            result["refusal"] = {part: getattr(refusal, part) for part in ("expected", "found", "remedy")}
            said = "refused or rolled back; the next run says why"
        except Exception as error:
            # What the system says names a path at most; others could quote a configuration.
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            result["refusal"] = {
                "expected": f"run {run} to go on to its end",
                "found": f"that it failed: {why}",
                "remedy": "Start again.",
            }
            raise
        finally:
            if run:
                _files.make_directories(_DIRECTORY, mode=0o700)
                _files.write_json(_RESULT, result)
        _transaction.tidy(state)
        sys.stdout.write(f"run {run or 'none'}: {said or 'nothing to do'}\n")
