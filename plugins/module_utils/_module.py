# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The door of every module: it takes the lock, ends an interrupted run first, and turns errors into messages.

This is the only file of the node's half that imports Ansible.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.begin import tidy
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State, locked

#: Seconds. A run is rolled back if the engine needs longer than its time limit: too short a limit would undo every run.
_SHORTEST_TIMEOUT = 10

#: For so many seconds after its last step a run counts as being at work: other runs wait for it.
_AT_WORK = 10.0

#: What this process has done about an interrupted run.
_recovered: list[str] = []


def overrides(params: t.Mapping[str, t.Any]) -> Overrides:
    """Return what the user said about the engine."""
    return Overrides(
        engine=params["engine"],
        config=params["engine_config"] or "",
        unit=params["engine_unit"] or "",
        socket=params["engine_socket"] or "",
    )


def enter(module: AnsibleModule, act: t.Callable[[], dict[str, t.Any]]) -> t.NoReturn:
    """Run a module's work as root. Turn every error into a message for the user."""
    if os.geteuid() != 0:
        module.fail_json(
            msg=f"Expected to be root on the node. Found user id {os.geteuid()}. "
            "Connect as root, or run the playbook with --become."
        )
    timeout = module.params.get("engine_timeout", _SHORTEST_TIMEOUT)
    if timeout < _SHORTEST_TIMEOUT:
        module.fail_json(
            msg=f"Expected coco_engine_timeout to be at least {_SHORTEST_TIMEOUT} seconds. Found {timeout}. "
            "Leave it out: 120 seconds are enough for most nodes."
        )
    try:
        result = act()
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        _fail(
            module,
            f"The node's system refused: {what}{error.strerror or error}. "
            "What this run began, the next one finishes or undoes.",
        )
    except Exception as error:  # noqa: BLE001  (told to the user)
        _fail(module, str(as_refusal(error, f"{module._name} to go on to its end")))
    module.exit_json(**result)


def _fail(module: AnsibleModule, message: str) -> t.NoReturn:
    """Fail, and still report the interrupted run that was ended: that has changed the node."""
    done: dict[str, t.Any] = {"changed": True, "recovered": _recovered[-1]} if _recovered else {}
    module.fail_json(msg=message, **done)


@contextlib.contextmanager
def session(module: AnsibleModule, run: str = "") -> t.Iterator[tuple[State, str]]:
    """Hold the node's lock. End an interrupted run first, unless it is the ``run`` that the caller goes on with.

    Yields the state and what was done about the interrupted run ('' if there was none).
    """
    state = State()
    # Check mode, and a caller that has lost its run, do not wait: an open journal is refused at once.
    wait = not (run or module.check_mode)
    with contextlib.ExitStack() as held:
        journal = _alone(held, state, module._name, wait)
        if journal is not None and journal.run != run:
            if run:
                raise Refusal(
                    f"this run ({run}) to be the only one that is open on the node",
                    f"run {journal.run}, which began meanwhile",
                    "Let only one run at a time work on a node, and run the playbook again.",
                )
            if module.check_mode:
                raise Refusal(
                    "no interrupted run on the node",
                    f"run {journal.run}, which a real run would finish or roll back first",
                    "Run without --check; until then it is unknown what there is to do.",
                )
        if module.check_mode:
            yield state, ""
            return
        recovered = "" if journal and journal.run == run else _recover(module, state)
        why = _handover.unheard()
        if why:
            module.warn(f"The run before this one ended when nobody was listening any more. {why}")
        try:
            yield state, recovered
        finally:
            left = tidy(state)
            if left:
                module.warn(left)


def _recover(module: AnsibleModule, state: State) -> str:
    """End an interrupted run. Return what was done, '' if there was none."""
    recovered, told = _handover.recover(state)
    if recovered:
        _recovered.append(recovered)
    if told:
        module.warn(" ".join([f"The run before this one was interrupted, and {recovered} now.", *told]))
    return recovered


def _alone(held: contextlib.ExitStack, state: State, what: str, wait: bool) -> Journal | None:
    """Let ``held`` hold the node's lock, and return the open journal, if any. ``wait``: until no other run is at work.

    A run holds no lock between two of its modules. Its journal then looks like the journal of an interrupted run. Only the
    age tells them apart.
    """
    while True:
        with contextlib.ExitStack() as attempt:
            attempt.enter_context(locked(what))
            journal = Journal.find(state)
            if journal is None or not wait or journal.age > _AT_WORK:
                held.enter_context(attempt.pop_all())
                return journal
        time.sleep(0.5)
