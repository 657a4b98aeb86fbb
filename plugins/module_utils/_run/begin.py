# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The beginning and the end of a run, the same for each kind of run.

A run is open from its first entry in the journal. Once the journal is closed, :func:`tidy` removes what the run had beside it.
"""

from __future__ import annotations

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State


def begin(state: State, journal: Journal, artifacts: Swap | None = None, receipt: Receipt | None = None) -> None:
    """Open a run. From here on the run will be finished or undone, whatever happens: at the latest when the node boots."""
    if Journal.find(state) is None:
        unit.enable(state.journal)
    journal.record(artifacts=artifacts, receipt=receipt)


def opened(state: State, run: str) -> Journal:
    """Return the journal of ``run``, with which the caller goes on; for an empty ``run``, the open journal or a new one."""
    journal = Journal.find(state)
    if run and (journal is None or run != journal.run):
        raise Refusal(
            f"this run ({run}), which brought the artifacts, to be open on the node",
            f"run {journal.run}, which began meanwhile"
            if journal
            else "that another run, or a restart of the node, has ended it",
            "Let only one run at a time work on a node, and run the playbook again.",
        )
    return journal or Journal(state)


def tidy(state: State) -> str:
    """Remove what a run had beside its journal, if the journal is closed. Also cleans up after a process killed in between.

    Returns what could not be done, or ''.
    """
    if Journal.find(state):
        return ""
    left = unit.disable(state.journal)
    files.remove_tree(places.TRIAL)
    state.remove_if_empty()
    return left
