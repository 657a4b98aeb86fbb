# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What is to happen to each path below the prefix: decided from the receipt, the payload and what is on the disk.

Nothing is changed here. ``_native.swap`` carries the decisions out.
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
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt

#: Ending of a user's file that is kept aside while one of ours stands in its place.
KEPT = ".kept"


def refuse_mounts(prefix: str, tree: Tree | None) -> None:
    """Refuse a mount below the prefix where files of ``tree`` lie or go. None: the tree is not known yet, so refuse any mount."""
    mounts.refuse_below(prefix, None if tree is None else [path for path in tree if tree[path]["type"] != "directory"])


def sign(path: str, entry: TreeEntry) -> TreeEntry:
    """Return ``entry`` with the file's mtime and inode, which make a later comparison cheap."""
    if entry["type"] != "file":
        return entry
    found = os.lstat(path)
    return {**entry, "mtime_ns": found.st_mtime_ns, "inode": found.st_ino}


def compare(path: str, entry: TreeEntry | None, verify: bool = False) -> str:
    """Compare what stands at ``path`` with the receipt's entry for it. Return absent, ours, changed or foreign.

    A file that still has its size, mtime and inode counts as ours, unless ``verify`` asks for its digest, too.
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
    except OSError:  # the file has no capability, or its file system knows none
        return b""


def _meaning(capability: bytes) -> bytes:
    """Return the part of the attribute that counts: whether it is effective, and the sets.

    The revision does not count, because the kernel may store another one than was written.
    """
    return bytes([capability[0] & 1]) + capability[4:20].ljust(16, b"\0") if capability else b""


def drift(prefix: str, tree: Tree, verify: bool = False) -> dict[str, str]:
    """Return the paths that are no longer as they were installed, each with missing, changed, or edited (a configuration file)."""
    found = {}
    for path, entry in tree.items():
        state = compare(os.path.join(prefix, path), entry, verify)
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

    ``old`` is the receipt's entry, ``new`` the payload's, ``found`` the result of :func:`compare`.
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
    """Decide about a configuration file that the payload has and the receipt does not know: keep, edited or aside.

    It may be ours: a cleanup forgets who put it there. ``found`` is the result of :func:`compare` with the payload's entry.
    """
    if found == "ours":
        return "keep"
    return "edited" if keep_edited else "aside"


@dataclass
class ArtifactChanges:
    """The paths below the prefix, by decision; and the directories to create, as absolute paths.

    ``kept`` are the user's files that make room for ours.
    """

    paths: dict[str, list[str]] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def __getitem__(self, decision: str) -> list[str]:
        return self.paths.get(decision, [])

    @property
    def any(self) -> bool:
        """Tell whether anything on the disk is to change."""
        return bool(self["add"] or self["replace"] or self["remove"] or self.directories)


@dataclass(frozen=True)
class Comparison:
    """The receipt's tree and the payload's, and what is to become of files that are not as we left them.

    With ``keep_aside``, a user's file in the place of one of ours is kept aside; without, it is a conflict. With ``keep_edited``,
    a configuration file that its admin has edited stays as it is. With ``verify``, the digests of files are compared, too.
    """

    prefix: str
    old: Tree
    new: Tree
    keep_aside: bool = False
    keep_edited: bool = True
    verify: bool = False

    def changes(self) -> ArtifactChanges:
        """Decide about every path, or raise a refusal.

        A configuration file that its admin has edited stays, unless ``keep_edited`` is false and the payload has one, too. The
        same holds for one that the receipt does not know, because a cleanup forgets whose edit it was. No edit is ever lost: at
        most it is kept aside.
        """
        refuse_mounts(self.prefix, {**self.old, **self.new})
        result = ArtifactChanges(directories=files.missing_directories(self.prefix) if self.new else [])
        for path in sorted({*self.old, *self.new}):
            self._note(result, path, self._decision(path))
        self._refuse_conflicts(result["conflict"])
        self._refuse_immutable(result)
        return result

    def _note(self, result: ArtifactChanges, path: str, decision: str) -> None:
        target, is_directory = self._on_disk(path), self.new.get(path, {}).get("type") == "directory"
        if decision == "aside":
            _refuse_taken(target + KEPT)
            result.kept.append(path)
            decision = "directory" if is_directory else "add"
        if decision == "directory":
            result.directories.append(target)
        else:
            result.paths.setdefault(decision, []).append(path)

    def _decision(self, path: str) -> str:
        """Return a decision of :func:`decide`, or directory (create one), or aside (keep aside what is there)."""
        old, new = self.old.get(path), self.new.get(path)
        if old and new:
            _refuse_other_kind(path, old["type"], new["type"])
        if new and new["type"] == "directory":
            in_the_way = "aside" if self.keep_aside else "conflict"
            return {"absent": "directory", "ours": "keep", "changed": in_the_way}[compare(self._on_disk(path), new)]
        if old and old["type"] == "directory":
            return "gone"  # _native.transaction.finish removes our directories when they are empty
        return self._decision_about_file(path, old, new)

    def _decision_about_file(self, path: str, old: TreeEntry | None, new: TreeEntry | None) -> str:
        target, configuration = self._on_disk(path), layouts.is_configuration(path)
        found = compare(target, old, self.verify)
        if found == "foreign" and new and configuration and not os.path.isdir(target):
            return decide_unknown(compare(target, new), self.keep_edited and not self.keep_aside)
        decision = decide(old, new, found, configuration and (self.keep_edited or new is None))
        return "aside" if decision == "conflict" and self.keep_aside else decision

    def _on_disk(self, path: str) -> str:
        return os.path.join(self.prefix, path)

    def _refuse_conflicts(self, paths: t.Sequence[str]) -> None:
        if paths:
            raise Refusal(
                f"nothing but our own files where artifacts go below {self.prefix}",
                f"{_listed([self._on_disk(path) for path in paths])}, which this collection did not put there",
                "Move them away, or set coco_conflicts=keep_aside: they come back when the runtime is uninstalled.",
            )

    def _refuse_immutable(self, changes: ArtifactChanges) -> None:
        """Refuse immutable files: changing one would fail half-way, or after the commit, when there is no way back."""
        changed = [self._on_disk(path) for path in (*changes["replace"], *changes["remove"], *changes.kept)]
        made = [*map(self._on_disk, changes["add"]), *changes.directories]
        touched = {*changed, *(os.path.dirname(path) for path in (*changed, *made))}
        found = sorted(filter(files.is_immutable, touched))
        if found:
            raise Refusal(
                f"files and directories below {self.prefix} that can be replaced and removed",
                f"{_listed(found)}, immutable or append-only by an attribute of the file system",
                "Take it away (chattr -i -a), and start again.",
            )


def _listed(paths: t.Sequence[str]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"{', '.join(paths[:3])}{more}"


def _refuse_other_kind(path: str, old: str, new: str) -> None:
    if old != new and "directory" in (old, new):
        raise Refusal(
            f"a payload in which {path} is a {old}, as in the one that is installed",
            f"a {new}",
            "Uninstall the old payload first.",
        )


def _refuse_taken(place: str) -> None:
    if os.path.lexists(place):
        raise Refusal(
            "a free name under which a file of yours is kept aside",
            f"{place}, which is there already",
            "Move it away, and start again.",
        )


def staying(receipt: Receipt) -> list[str]:
    """Return the user's files that stay when nothing of ours does.

    These are configuration files that they edited, and files that were kept aside and cannot come back because of those.
    """
    left = [os.path.join(receipt.prefix, path) for path in receipt.left]
    kept = [os.path.join(receipt.prefix, path) for path in receipt.kept if not receipt.tree]
    return sorted(filter(os.path.lexists, [*left, *(place + KEPT for place in kept if os.path.lexists(place))]))
