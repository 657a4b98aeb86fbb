# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How many bytes of our pull have arrived in containerd's content store, even if others pull or remove images meanwhile.

A blob that is on its way has a directory below ``ingest``, beside a file with its name:
``<namespace>/<number>/layer-sha256:<hex>``. A blob that has arrived lies below ``blobs``. A blob that the store had before is
never seen on its way, and so does not count.
"""

from __future__ import annotations

import contextlib
import os
import re

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})$")


class Arrivals:
    """The arrivals of one namespace. A look is cheap, so it can be repeated: a short list, and files with known names."""

    def __init__(self, store: str, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        #: Directory below ``ingest`` → the name of the blob in it, '' for a foreign one.
        self._names: dict[str, str] = {}
        #: Name of a blob of ours that was on its way → the path that it gets below ``blobs``.
        self._blobs: dict[str, str] = {}
        self._arrived: dict[str, int] = {}

    def look(self) -> int:
        """Return how many bytes have arrived since the first look."""
        ingest = os.path.join(self._store, "ingest")
        here: dict[str, int] = {}
        with contextlib.suppress(OSError):
            for directory in os.listdir(ingest):
                name = self._name(os.path.join(ingest, directory))
                if name:
                    here[name] = _size(os.path.join(ingest, directory, "data"))
        for name in self._blobs.keys() - here.keys() - self._arrived.keys():
            size = _size(self._blobs[name])
            if size:
                self._arrived[name] = size
        return sum({**here, **self._arrived}.values())

    def _name(self, directory: str) -> str:
        """Return the name of the blob that arrives in a directory, '' if it is not ours."""
        if directory not in self._names:
            try:
                with open(os.path.join(directory, "ref"), encoding="utf-8", errors="replace") as stream:
                    name = stream.read()
            except OSError:
                return ""  # the file will be there in a moment, or the directory is gone
            self._names[directory] = name if name.startswith(f"{self._namespace}/") else ""
            digest = _DIGEST.search(self._names[directory])
            if digest:
                self._blobs[name] = os.path.join(self._store, "blobs", *digest.groups())
        return self._names[directory]


def _size(path: str) -> int:
    """Return a file's size, 0 if there is no file."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
