# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Artifacts under the prefix: what to add, replace, keep and remove; and the renames that do it.

A file is replaced by a rename over it, so that running sandboxes keep the inode that they have open. A link to the old
inode is kept aside until the handlers are committed: then it is pruned, or it is renamed back.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, mounts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree, TreeEntry
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt

#: Ending of a file of the user's that is kept while one of ours stands in its place.
_KEPT = ".kept"


def refuse_mounts(prefix: str, tree: Tree | None) -> None:
    """Refuse a mount below the prefix where files of a tree lie or go; anywhere, where the tree is not known yet."""
    mounts.refuse_below(prefix, None if tree is None else [path for path in tree if tree[path]["type"] != "directory"])


def sign(path: str, entry: TreeEntry) -> TreeEntry:
    """Return ``entry`` with what makes a later look at the file cheap: its mtime and inode."""
    if entry["type"] != "file":
        return entry
    found = os.lstat(path)
    return {**entry, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def look(path: str, entry: TreeEntry | None, verify: bool = False) -> str:
    """Say what stands at ``path``, of which the receipt says ``entry``: absent, ours, changed or foreign.

    A file of the size, mtime and inode that it had is ours, unless ``verify`` wants its digest, too.
    """
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    if entry is None:
        return "foreign"
    if entry["type"] == "directory":
        return "ours" if stat.S_ISDIR(found.st_mode) else "changed"
    if entry["type"] == "link":
        return "ours" if stat.S_ISLNK(found.st_mode) and os.readlink(path) == entry["target"] else "changed"
    if not stat.S_ISREG(found.st_mode) or found.st_size != entry["size"] or not _may_do_the_same(path, found, entry):
        return "changed"
    untouched = (found.st_mtime_ns, found.st_ino) == (entry.get("mtime_ns"), entry.get("inode"))
    return "ours" if (untouched and not verify) or files.sha256_file(path) == entry["digest"] else "changed"


def _may_do_the_same(path: str, found: os.stat_result, entry: TreeEntry) -> bool:
    """Tell whether a file has the mode, the owner and the capabilities that it was installed with."""
    return (
        stat.S_IMODE(found.st_mode) == entry["mode"]
        and found.st_uid == os.geteuid()
        and _capability(path) == _meaning(bytes.fromhex(entry.get("capability", "")))
    )


def _capability(path: str) -> bytes:
    try:
        return _meaning(os.getxattr(path, files.CAPABILITY, follow_symlinks=False))
    except OSError:  # the file has none, or its file system knows none
        return b""


def _meaning(capability: bytes) -> bytes:
    """Return what counts of an attribute: whether it is effective, and the sets. The kernel may choose another revision."""
    return bytes([capability[0] & 1]) + capability[4:20].ljust(16, b"\0") if capability else b""


def drift(prefix: str, tree: Tree, verify: bool = False) -> dict[str, str]:
    """Return what is no longer as it was installed: path → missing, changed, or edited (a configuration file)."""
    found = {}
    for path, entry in tree.items():
        state = look(os.path.join(prefix, path), entry, verify)
        if state == "absent":
            found[path] = "missing"
        elif state == "changed":
            found[path] = "edited" if layouts.is_configuration(path) else "changed"
    return found


def same(old: TreeEntry, new: TreeEntry) -> bool:
    """Tell whether two entries stand for the same thing on disk."""
    keys = ("type", "mode", "digest", "target", "capability")
    return all(old.get(key) == new.get(key) for key in keys)


def decide(old: TreeEntry | None, new: TreeEntry | None, found: str, configuration: bool) -> str:
    """Decide about one file: add, replace, keep, edited (kept as the admin has it), remove, gone or conflict.

    ``old`` is the receipt's entry, ``new`` the payload's, ``found`` what :func:`look` says.
    """
    if found == "foreign":
        return "conflict"
    if new is None:
        if found == "absent":
            return "gone"
        return "edited" if found == "changed" and configuration else "remove"
    if found == "absent":
        return "add"
    if found == "changed":
        return "edited" if configuration else "replace"
    return "keep" if old is not None and same(old, new) else "replace"


def decide_unknown(found: str, keep_edited: bool) -> str:
    """Decide about a configuration file that the receipt does not know, and the payload has: keep, edited or aside.

    A cleanup may have forgotten who put it there. ``found`` is what :func:`look` says of it, compared with the payload's.
    """
    if found == "ours":
        return "keep"
    return "edited" if keep_edited else "aside"


@dataclass
class Plan:
    """What is to happen to each path below the prefix, by decision; and the directories to create (absolute).

    ``kept``: files of the user's that make room for ours.
    """

    paths: dict[str, list[str]] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __getitem__(self, decision: str) -> list[str]:
        return self.paths.get(decision, [])

    @property
    def changes(self) -> bool:
        return bool(self["add"] or self["replace"] or self["remove"] or self.directories)


def plan(
    prefix: str, old: Tree, new: Tree, keep_aside: bool = False, keep_edited: bool = True, verify: bool = False
) -> Plan:
    """Compare the receipt, the payload and the disk.

    A configuration file that its admin has edited stays as it is, unless ``keep_edited`` is false and the payload has one, too. So
    does one that the receipt does not know: a cleanup has forgotten whose edit it was. It is never lost, but kept aside at most.

    Where another file of the user's stands in our place, it is to be kept aside, or raises a refusal.
    """
    refuse_mounts(prefix, {**old, **new})
    result = Plan(directories=files.missing_directories(prefix) if new else [])
    for path in sorted(set(old) | set(new)):
        target = os.path.join(prefix, path)
        entry = new.get(path)
        if (
            path in old
            and entry
            and "directory" in (old[path]["type"], entry["type"])
            and old[path]["type"] != entry["type"]
        ):
            raise Refusal(
                f"a payload in which {path} is a {old[path]['type']}, as in the one that is installed",
                f"a {entry['type']}",
                "Uninstall the old payload first.",
            )
        if entry and entry["type"] == "directory":
            in_the_way = "aside" if keep_aside else "conflict"
            decision = {"absent": "directory", "ours": "keep", "changed": in_the_way}[look(target, entry)]
        elif entry is None and old[path]["type"] == "directory":
            decision = "gone"  # directories of ours go when they are empty: see prune
        else:
            found = look(target, old.get(path), verify)
            configuration = layouts.is_configuration(path)
            if found == "foreign" and entry and configuration and not os.path.isdir(target):
                decision = decide_unknown(look(target, entry), keep_edited and not keep_aside)
            else:
                decision = decide(old.get(path), entry, found, configuration and (keep_edited or entry is None))
                decision = "aside" if decision == "conflict" and keep_aside else decision
        if decision == "aside":
            _refuse_taken(target + _KEPT)
            result.kept.append(path)
            decision = "directory" if entry and entry["type"] == "directory" else "add"
        if decision == "directory":
            result.directories.append(target)
        else:
            result.paths.setdefault(decision, []).append(path)
    if result["conflict"]:
        conflicts = [os.path.join(prefix, path) for path in result["conflict"]]
        more = f" and {len(conflicts) - 3} more" if len(conflicts) > 3 else ""
        raise Refusal(
            f"nothing but our own files where artifacts go below {prefix}",
            f"{', '.join(conflicts[:3])}{more}, which this collection did not put there",
            "Move them away, or set coco_conflicts=keep_aside: they come back when the runtime is uninstalled.",
        )
    _refuse_immutable(prefix, result)
    return result


def _refuse_taken(place: str) -> None:
    if os.path.lexists(place):
        raise Refusal(
            "a free name under which a file of yours is kept aside",
            f"{place}, which is there already",
            "Move it away, and start again.",
        )


def _refuse_immutable(prefix: str, plan: Plan) -> None:
    """Refuse what would fail half-way, or when it is too late to go back: after the commit."""
    changed = [os.path.join(prefix, path) for path in (*plan["replace"], *plan["remove"], *plan.kept)]
    made = [*(os.path.join(prefix, path) for path in plan["add"]), *plan.directories]
    touched = {*changed, *(os.path.dirname(path) for path in (*changed, *made))}
    found = sorted(filter(files.is_immutable, touched))
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise Refusal(
            f"files and directories below {prefix} that can be replaced and removed",
            f"{', '.join(found[:3])}{more}, immutable or append-only by an attribute of the file system",
            "Take it away (chattr -i -a), and start again.",
        )


def swap(run: Swap) -> None:
    """Bring staged artifacts to the prefix, as the journal says: add and replace, remove nothing."""
    prefix = run.prefix
    for path in run.kept:
        os.rename(os.path.join(prefix, path), os.path.join(prefix, path) + _KEPT)
    for directory in run.directories:
        os.mkdir(directory)
        staged = os.path.join(run.staged, os.path.relpath(directory, prefix))
        # Not the prefix itself: a staging directory is root's alone.
        inside = directory.startswith(prefix + "/") and os.path.isdir(staged)
        os.chmod(directory, stat.S_IMODE(os.stat(staged).st_mode) if inside else 0o755)
    for path in run.replace:
        aside = os.path.join(run.aside, path)
        files.make_directories(os.path.dirname(aside), mode=0o700)
        os.link(os.path.join(prefix, path), aside, follow_symlinks=False)
        os.rename(os.path.join(run.staged, path), os.path.join(prefix, path))
    for path in run.add:
        os.rename(os.path.join(run.staged, path), os.path.join(prefix, path))
    files.sync_filesystem(prefix)


def put_back(run: Swap) -> list[str]:
    """Undo :func:`swap`, however far it came; may be repeated. Returns the configuration files that their admin has edited
    since: they stay.
    """
    prefix = run.prefix
    edited = [path for path in run.editable if _is_edited(run, path)]
    for path in run.replace:
        aside = os.path.join(run.aside, path)
        # Where the rename did not happen, both names are links to one inode, and rename(2) leaves them: see remove_tree.
        if path not in edited and os.path.lexists(aside):
            os.rename(aside, os.path.join(prefix, path))
    for path in run.add:
        place = os.path.join(prefix, path)
        # What is given back already is the user's.
        theirs = path in edited or (path in run.kept and not os.path.lexists(place + _KEPT))
        if not theirs and not os.path.lexists(os.path.join(run.staged, path)):
            files.remove_file(place)
    files.remove_empty_directories(run.directories)
    give_back(prefix, run.kept)
    _clear(run)
    return edited


def _is_edited(run: Swap, path: str) -> bool:
    """Tell whether a configuration file came to its place in :func:`swap`, and was edited there."""
    place, aside = os.path.join(run.prefix, path), os.path.join(run.aside, path)
    if path in run.kept and not os.path.lexists(place + _KEPT):
        return False  # the user's own, given back already
    came = os.path.lexists(aside) if path in run.replace else not os.path.lexists(os.path.join(run.staged, path))
    if not came or look(place, run.editable[path]) != "changed":
        return False
    return path in run.add or not os.path.samestat(os.lstat(aside), os.lstat(place))


def prune(run: Swap) -> None:
    """Remove what the new state no longer has, and what was kept aside; may be repeated."""
    for path in run.remove:
        files.remove_file(os.path.join(run.prefix, path))
    _clear(run)


def give_back(prefix: str, kept: t.Iterable[str]) -> None:
    """Put files of the user's that were kept aside where they were, unless something stands there; may be repeated."""
    for path in kept:
        place = os.path.join(prefix, path)
        if os.path.lexists(place + _KEPT) and not os.path.lexists(place):
            os.rename(place + _KEPT, place)


def staying(receipt: Receipt) -> list[str]:
    """Return the files that stay of the user's where nothing of ours has a place any more: configuration files that they edited,
    and what was kept aside and could not come back because of these.
    """
    left = [os.path.join(receipt.prefix, path) for path in receipt.left]
    kept = [os.path.join(receipt.prefix, path) for path in receipt.kept if not receipt.tree]
    return sorted(filter(os.path.lexists, [*left, *(place + _KEPT for place in kept if os.path.lexists(place))]))


def _clear(run: Swap) -> None:
    for working in (run.aside, run.staged):
        if working:
            files.remove_tree(working)
            files.remove_empty_directories([os.path.dirname(working)])
