# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The cleanup of a node on which nothing is installed any more: it removes what this collection still remembers there.

A payload's commands may have left changes on the node, which are undone. If the node has an engine, the unit does that,
because the engine has to serve afterwards.
"""

from __future__ import annotations

import os

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver, Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import Request, Task
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts, swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, mounts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Kind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State


class Cleanup:
    """A cleanup of a node. The caller holds the node's lock during each call."""

    def __init__(self, state: State, overrides: Overrides, timeout: float) -> None:
        self._state = state
        self._overrides = overrides
        self._timeout = timeout

    def refuse_installed(self) -> None:
        """Refuse a node on which something of this collection is installed."""
        receipt = self._state.receipt()
        if receipt.is_installed:
            raise Refusal(
                "a node on which nothing of this collection is installed",
                f"payload {receipt.payload.digest or 'of an unknown digest'} below {receipt.prefix}",
                "Uninstall first: ansible-playbook confidential_containers.runtime.uninstall.",
            )

    def is_needed(self) -> bool:
        """Tell whether there is anything to remove. A mount point stays, empty."""
        directory = self._state.directory
        return os.path.isdir(directory) and (bool(os.listdir(directory)) or not mounts.is_point(directory))

    def staying(self) -> list[str]:
        """Return the files that stay because somebody has edited them."""
        receipt = self._state.receipt()
        return sorted({*artifacts.staying(receipt), *transaction.edited(receipt)})

    def bring_back(self) -> str:
        """Undo what a payload's commands have left changed. Return the run in which the unit does that, '' if none has to."""
        if not self._state.receipt().installer.left:
            return ""
        driver = self._driver()
        if driver is None:
            transaction.bring_back(self._state)
            return ""
        journal = Journal(self._state, Kind.INSTALLER)
        request = Request(journal.run, driver.engine, Task.RESTORE, {}, self._timeout, ignore_pods=True)
        _handover.leave_request(self._state, journal, request)
        return journal.run

    def forget(self) -> None:
        """Remove all that is remembered."""
        driver = self._driver()
        if driver:
            driver.clean()
        staged.forget(self._state, everything=True)
        receipt = self._state.receipt()
        # An edited file may have stayed at such a path until now. Once it is gone, the user's own file comes back.
        swap.give_back(receipt.prefix, receipt.kept)
        files.remove_empty_directories(receipt.directories)
        files.remove_tree(self._state.directory)

    def _driver(self) -> Driver | None:
        """Return the driver of the node's engine, None if there is no engine (any more)."""
        try:
            return flavours.detect(self._overrides, restarting=False)
        except Refusal:
            return None
