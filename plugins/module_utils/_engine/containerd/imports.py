# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which files containerd reads: the main file and what it imports. They are in containerd's order: later files win."""

from __future__ import annotations

import fnmatch
import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text


def absolute(pattern: str, parent: str) -> str:
    """Return what a file at ``parent`` imports by ``pattern``, as an absolute path or pattern."""
    return os.path.normpath(os.path.join(os.path.dirname(parent), pattern))


def matches(pattern: str, path: str) -> bool:
    """Tell whether an absolute pattern matches a path. To containerd, only ``*`` turns a path into a pattern."""
    if "*" not in pattern:
        return pattern == path
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def order(main: str, imports: t.Callable[[str], t.Iterable[str]], files: t.Collection[str]) -> list[str]:
    """Return the files that an engine reads, in its order: breadth first, patterns in lexical order, each file once.

    ``imports`` returns what a file imports, as it is written there. ``files`` are the paths that exist.
    """
    found = [main]
    for parent in found:  # the list grows meanwhile
        for pattern in imports(parent):
            wanted = absolute(pattern, parent)
            found += sorted(path for path in files if path not in found and matches(wanted, path))
    return found


def read(main: str) -> dict[str, bytes]:
    """Return the files that an engine reads on this node, as far as a scan of their text can tell. None without ``main``."""
    files: dict[str, bytes] = {}
    pending = [main]
    for path in pending:  # the list grows meanwhile
        if path in files or not os.path.isfile(path):
            continue
        with open(path, "rb") as stream:
            files[path] = stream.read()
        for pattern in toml_text.imports_of(files[path].decode(errors="replace")):
            pending += _existing(absolute(pattern, path))
    return files


def _existing(pattern: str) -> list[str]:
    """Return the files that match a pattern. As in Go, ``*`` also matches names that begin with a dot."""
    found = ["/"]
    for part in pattern.strip("/").split("/"):
        if "*" not in pattern:
            return [pattern]
        names = ((base, name) for base in found if os.path.isdir(base) for name in sorted(os.listdir(base)))
        found = [os.path.join(base, name) for base, name in names if fnmatch.fnmatchcase(name, part)]
    return found
