# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the modules share: the door through which each one goes, and the options about the engine. The only file here that
knows Ansible."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _containerd, _state, _transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal

ENGINE_OPTIONS: dict[str, dict[str, t.Any]] = {
    "engine": {"type": "str", "default": "auto", "choices": ["auto", "containerd"]},
    "engine_config": {"type": "path"},
    "engine_unit": {"type": "str"},
    "engine_socket": {"type": "path"},
    "engine_timeout": {"type": "int", "default": 120},
}


def overrides(params: t.Mapping[str, t.Any]) -> _containerd.Overrides:
    """Return what the user said about the engine."""
    return _containerd.Overrides(
        engine=params["engine"],
        config=params["engine_config"] or "",
        unit=params["engine_unit"] or "",
        socket=params["engine_socket"] or "",
    )


def enter(module: AnsibleModule, act: t.Callable[[], dict[str, t.Any]]) -> t.NoReturn:
    """Run a module's work as root, and tell what went wrong in the user's words."""
    if os.geteuid() != 0:
        module.fail_json(
            msg=f"Expected to be root on the node. Found user id {os.geteuid()}. "
            "Connect as root, or run the playbook with --become."
        )
    try:
        result = act()
    except Refusal as refusal:
        module.fail_json(msg=str(refusal))
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        module.fail_json(
            msg=f"The node's system refused: {what}{error.strerror or error}. "
            "What this run began, the next one finishes or undoes."
        )
    module.exit_json(**result)


@contextlib.contextmanager
def session(module: AnsibleModule, run: str = "", timeout: float = 120) -> t.Iterator[tuple[_state.State, str]]:
    """Hold the node's lock, and end an interrupted run first, unless it is the ``run`` that the caller goes on with.

    Yields the state and what was done about the interrupted run ('' when there was none).
    """
    state = _state.State()
    with _state.locked(module._name):
        recovered = ""
        journal = Journal.find(state)
        if journal is not None and journal.run != run:
            if module.check_mode:
                module.warn("A run on this node was interrupted; a real run would end it first.")
            else:
                recovered = _transaction.recover(state, timeout)
        yield state, recovered
