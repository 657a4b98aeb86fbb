# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The renames that bring artifacts to the prefix, and the renames back.

A file is replaced by a rename over it, so that running sandboxes keep the inode that they have open. A hard link to the old
inode stays aside until the run ends: a commit removes it, a rollback renames it back. ``_native.artifacts`` decides, and the
journal holds what was decided.
"""

from __future__ import annotations

import os
import stat
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.artifacts import KEPT, compare
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Swap


def swap_in(swap: Swap) -> None:
    """Bring staged artifacts to the prefix, as the journal says. Files are added and replaced, and none is removed yet."""
    prefix = swap.prefix
    for path in swap.kept:
        os.rename(os.path.join(prefix, path), os.path.join(prefix, path) + KEPT)
    for directory in swap.directories:
        os.mkdir(directory)
        staged = os.path.join(swap.staged, os.path.relpath(directory, prefix))
        # The prefix itself does not get the mode of its staging directory, which only root can enter.
        inside = directory.startswith(prefix + "/") and os.path.isdir(staged)
        os.chmod(directory, stat.S_IMODE(os.stat(staged).st_mode) if inside else 0o755)
    for path in swap.replace:
        aside = os.path.join(swap.aside, path)
        files.make_directories(os.path.dirname(aside), mode=0o700)
        os.link(os.path.join(prefix, path), aside, follow_symlinks=False)
        os.rename(os.path.join(swap.staged, path), os.path.join(prefix, path))
    for path in swap.add:
        os.rename(os.path.join(swap.staged, path), os.path.join(prefix, path))
    files.sync_filesystem(prefix)


def put_back(swap: Swap) -> list[str]:
    """Undo :func:`swap_in`, however far it came. May be repeated.

    Returns the configuration files that their admin has edited since: they stay.
    """
    prefix = swap.prefix
    edited = [path for path in swap.editable if _is_edited(swap, path)]
    for path in swap.replace:
        aside = os.path.join(swap.aside, path)
        # If the swap was interrupted before its rename, both names are links to one inode. Then rename(2) does nothing, and
        # _clear() removes the one aside.
        if path not in edited and os.path.lexists(aside):
            os.rename(aside, os.path.join(prefix, path))
    for path in swap.add:
        place = os.path.join(prefix, path)
        # After it was given back, the file in this place is the user's.
        theirs = path in edited or (path in swap.kept and not os.path.lexists(place + KEPT))
        if not theirs and not os.path.lexists(os.path.join(swap.staged, path)):
            files.remove_file(place)
    files.remove_empty_directories(swap.directories)
    give_back(prefix, swap.kept)
    _clear(swap)
    return edited


def _is_edited(swap: Swap, path: str) -> bool:
    """Tell whether :func:`swap_in` brought a configuration file to its place, and somebody edited it there."""
    place, aside = os.path.join(swap.prefix, path), os.path.join(swap.aside, path)
    if path in swap.kept and not os.path.lexists(place + KEPT):
        return False  # it is the user's own file, given back already
    came = os.path.lexists(aside) if path in swap.replace else not os.path.lexists(os.path.join(swap.staged, path))
    if not came or compare(place, swap.editable[path]) != "changed":
        return False
    return path in swap.add or not os.path.samestat(os.lstat(aside), os.lstat(place))


def prune(swap: Swap) -> None:
    """Remove the files that the new state no longer has, and the old ones kept aside. May be repeated."""
    for path in swap.remove:
        files.remove_file(os.path.join(swap.prefix, path))
    _clear(swap)


def give_back(prefix: str, kept: t.Iterable[str]) -> None:
    """Put the user's files that were kept aside back in their places, unless something stands there. May be repeated."""
    for path in kept:
        place = os.path.join(prefix, path)
        if os.path.lexists(place + KEPT) and not os.path.lexists(place):
            os.rename(place + KEPT, place)


def _clear(swap: Swap) -> None:
    for working in (swap.aside, swap.staged):
        if working:
            files.remove_tree(working)
            files.remove_empty_directories([os.path.dirname(working)])
