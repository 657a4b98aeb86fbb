# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How much of a pull has arrived in containerd's content store, whatever else is pulled or removed there meanwhile.

What is on its way lies in a directory of its own below ``ingest``, beside its name: ``<namespace>/<number>/layer-sha256:<hex>``.
What has arrived is a blob. What the store had before never was on its way.
"""

from __future__ import annotations

import contextlib
import os
import re

_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})$")


class Arrivals:
    """The pulls of one namespace, looked at again and again: a short list, and files whose names are known."""

    def __init__(self, store: str, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        #: Directories that were seen below ``ingest`` → the name in each.
        self._names: dict[str, str] = {}
        #: Names of ours that were on their way → where each becomes a blob.
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
        """Return the name of what is on its way in a directory, if it is ours."""
        if directory not in self._names:
            try:
                with open(os.path.join(directory, "ref"), encoding="utf-8", errors="replace") as stream:
                    name = stream.read()
            except OSError:
                return ""  # is there in a moment, or gone
            self._names[directory] = name if name.startswith(f"{self._namespace}/") else ""
            digest = _DIGEST.search(self._names[directory])
            if digest:
                self._blobs[name] = os.path.join(self._store, "blobs", *digest.groups())
        return self._names[directory]


def _size(path: str) -> int:
    """Return a file's size, 0 where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
