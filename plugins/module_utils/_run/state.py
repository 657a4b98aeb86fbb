# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The state directory of a node, with the receipt; and the lock that keeps two runs apart."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import documents
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import SCHEMA, Receipt

COLLECTION_VERSION = "0.1.0"
#: Seconds that a run waits for another one: longer than an engine's restart, shorter than a user's patience.
LOCK_TIMEOUT = 180.0


class State:
    """The state directory. It is created only when there is something to remember."""

    def __init__(self, directory: str = places.STATE) -> None:
        self.directory = directory
        self.journal = os.path.join(directory, "journal")
        self.payloads = os.path.join(directory, "payload")
        self._receipt = os.path.join(directory, "receipt.json")

    def create(self) -> None:
        files.make_directories(self.directory, mode=0o700)

    def remove_if_empty(self) -> None:
        """Remove the directory if nothing is installed, unless it holds a payload."""
        files.remove_file(files.temporary(self._receipt))
        if not self.receipt().is_installed:
            files.remove_empty_directories([self.directory])

    def receipt(self) -> Receipt:
        """Return the receipt. It is empty if nothing was ever installed."""
        return documents.read(self._receipt, "receipt", [SCHEMA], Receipt.from_plain) or Receipt()

    def write_receipt(self, receipt: Receipt) -> None:
        self.create()
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        files.write_json(
            self._receipt,
            {"installed_at": now, **receipt.plain(), "collection": COLLECTION_VERSION, "changed_at": now},
        )

    def payload(self, digest: str) -> str:
        """Return the directory for the record of one payload."""
        return os.path.join(self.payloads, digest.replace(":", "-"))


@contextlib.contextmanager
def locked(what: str, path: str = places.LOCK, timeout: float = LOCK_TIMEOUT) -> t.Iterator[None]:
    """Hold the node's lock, or refuse after ``timeout`` seconds. ``what`` tells those who wait which module holds it.

    The kernel releases the lock when the process ends, however it ends. The file stays.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another run"
                    raise Refusal(
                        "no other run of this collection on this node",
                        f"{path} held for more than {timeout:.0f} s by {holder}",
                        "Wait until that run has ended, and run the playbook again.",
                    ) from None
                time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{what}, process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
