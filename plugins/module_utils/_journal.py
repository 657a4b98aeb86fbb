# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The journal of the run that is open on a node: how to undo it, or how to finish it.

A run opens with the artifacts (or with the handlers, where artifacts stay) and ends when the handlers are committed.
Every step is written here, durably, before it is done. A journal that is found at the start of a run is of one that was
interrupted: see ``_transaction.recover``.
"""

from __future__ import annotations

import os
import time
import typing as t
import uuid

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State


class Journal:
    """An open run.

    Parts: ``run`` its id; ``artifacts`` what ``_artifacts.put_back`` needs; ``config`` what ``_transaction`` needs to put
    the engine's files back; ``receipt`` the receipt as it will be; ``committed`` whether the run has come so far that it is
    finished rather than undone.
    """

    def __init__(self, state: State, parts: dict[str, t.Any] | None = None) -> None:
        self._state = state
        self._path = os.path.join(state.journal, "journal.json")
        self.parts: dict[str, t.Any] = parts or {"run": uuid.uuid4().hex, "committed": False}

    @classmethod
    def find(cls, state: State) -> Journal | None:
        """Return the journal of the run that is open, if any."""
        parts = _files.read_json(os.path.join(state.journal, "journal.json"))
        return cls(state, parts) if parts else None

    @property
    def run(self) -> str:
        return t.cast(str, self.parts["run"])

    @property
    def age(self) -> float:
        """Seconds since the last step was written; a clock that was set back makes a journal old."""
        age = time.time() - os.stat(self._path).st_mtime
        return age if age >= 0 else float("inf")

    def record(self, **parts: t.Any) -> None:
        """Add to the journal; durable when this returns."""
        self.parts.update(parts)
        self._state.create()
        _files.make_directories(self._state.journal, mode=0o700)
        _files.write_json(self._path, self.parts)

    def close(self) -> None:
        """End the run. What lies beside the journal is removed afterwards: see ``_transaction``."""
        _files.remove_file(self._path)
        if os.path.isdir(self._state.journal):
            _files.fsync_directory(self._state.journal)
