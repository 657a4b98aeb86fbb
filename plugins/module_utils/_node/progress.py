# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How far a long work is, in a file that the controller looks at meanwhile: Ansible itself shows nothing while a task runs."""

from __future__ import annotations

import contextlib
import json
import os
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places

#: Readable by everybody: the controller looks at it without becoming root.
PATH = places.PROGRESS
#: Seconds between two entries.
_PERIOD = 0.5


class Progress:
    """Tells of one work after the other. ``total`` is 0 where nobody knows."""

    def __init__(self, path: str = PATH) -> None:
        self._path = path
        self._next = 0.0

    def tell(self, what: str, done: int = 0, total: int = 0) -> None:
        """Note that so many bytes of ``what`` are done; without bytes, ``what`` is all there is to say."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _PERIOD
        # What is shown is no reason to fail.
        with contextlib.suppress(OSError):
            part = f"{self._path}~"
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w", encoding="utf-8"
            ) as file:
                json.dump({"what": what, "done": done, "total": total}, file)
            os.replace(part, self._path)

    def end(self) -> None:
        """Leave nothing."""
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
