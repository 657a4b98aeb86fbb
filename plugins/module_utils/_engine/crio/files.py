# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which files CRI-O reads: the main file, then every file below the directory of drop-ins, in its order. Later files win."""

from __future__ import annotations

import os


def read(config: str, drop_ins: str) -> dict[str, bytes]:
    """Return the files that exist, path → content."""
    found: dict[str, bytes] = {}
    for path in [config, *walk(drop_ins)]:
        if os.path.isfile(path):
            with open(path, "rb") as stream:
                found[path] = stream.read()
    return found


def walk(directory: str) -> list[str]:
    """Return all files below a directory in lexical order, whatever their names. Links to directories are not followed."""
    if not os.path.isdir(directory):
        return []
    found: list[str] = []
    for name in sorted(os.listdir(directory), key=os.fsencode):
        path = os.path.join(directory, name)
        found += walk(path) if os.path.isdir(path) and not os.path.islink(path) else [path]
    return found
