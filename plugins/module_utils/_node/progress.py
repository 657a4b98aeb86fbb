# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How far long work has come: the node writes it to a file, and the controller reads that file meanwhile.

Ansible itself shows nothing while a task runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places

#: Everybody may read it: the controller looks at it without becoming root.
PATH = places.PROGRESS
#: Seconds between two entries.
_PERIOD = 0.5


class Progress:
    """Writes how far the work has come. ``total`` is 0 if nobody knows it."""

    def __init__(self, path: str = PATH) -> None:
        self._path = path
        self._next = 0.0

    def tell(self, what: str, done: int = 0, total: int = 0) -> None:
        """Write that ``done`` of ``total`` bytes of ``what`` are done. Work that is not counted in bytes has ``what`` alone."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PERIOD
        # The work must not fail because its progress cannot be shown.
        with contextlib.suppress(OSError):
            part = f"{self._path}~"
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w", encoding="utf-8"
            ) as file:
                json.dump({"what": what, "done": done, "total": total}, file)
            os.replace(part, self._path)

    def end(self) -> None:
        """Remove the file."""
        for path in (self._path, f"{self._path}~"):
            with contextlib.suppress(OSError):
                os.unlink(path)


def parse(text: str) -> tuple[str, int, int] | None:
    """Parse an entry: what, bytes done, bytes in all (0: unknown)."""
    try:
        entry: t.Any = json.loads(text)
        return str(entry["what"]), int(entry["done"]), int(entry["total"])
    except (ValueError, KeyError, TypeError):
        return None
