# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A record of directories before somebody else's program changes them: to say afterwards what it did, and to undo it.

A record is a directory of ours with an index and a copy of everything. An entry says what stands at a path: ``type`` (file, link,
directory, other), ``mode``, ``uid``, ``gid``; for files also ``size``, ``mtime_ns``, ``ctime_ns`` and ``inode``; for links
``target``.
"""

from __future__ import annotations

import filecmp
import os
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import documents
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Difference, Left

RecordEntry = t.Dict[str, t.Any]
Index = t.Dict[str, RecordEntry]
#: Maps each path to what stood there before, and what stands there now; None for nothing.
Changes = t.Dict[str, t.Tuple[t.Optional[RecordEntry], t.Optional[RecordEntry]]]

SCHEMA = 1
#: An index of the version before has no schema.
_UNDERSTOOD = (SCHEMA, None)
#: Files up to this size, in bytes, are compared by content, too: programs often write the same configuration file again.
_SMALL = 1 << 20
#: When these are the same, nobody has written to the file meanwhile.
_UNTOUCHED = ("mtime_ns", "ctime_ns", "inode")
_TYPES = {stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFDIR: "directory"}


@dataclass(frozen=True)
class Recorded:
    """The index of a record: what stood at and below ``roots``, without the ``excluded`` paths."""

    roots: t.Sequence[str]
    excluded: t.Collection[str]
    entries: Index

    @classmethod
    def find(cls, store: str) -> Recorded | None:
        """Return the index of a record, None where none was taken."""
        return documents.read(_index_path(store), "record", _UNDERSTOOD, cls.from_plain)

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Recorded:
        """Return the index that a document describes."""
        return cls(plain["roots"], plain["excluded"], plain["entries"])

    def plain(self) -> dict[str, t.Any]:
        return {"schema": SCHEMA, **vars(self), "excluded": sorted(self.excluded)}


def _index_path(store: str) -> str:
    return os.path.join(store, "index.json")


def entry_at(path: str) -> RecordEntry | None:
    """Return the entry for what stands at a path; None for nothing."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    kind = _TYPES.get(stat.S_IFMT(found.st_mode), "other")
    entry: RecordEntry = {"type": kind, "mode": stat.S_IMODE(found.st_mode), "uid": found.st_uid, "gid": found.st_gid}
    if kind == "file":
        times = {"mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns, "inode": found.st_ino}
        return {**entry, "size": found.st_size, **times}
    return {**entry, "target": os.readlink(path)} if kind == "link" else entry


def index(roots: t.Iterable[str], excluded: t.Collection[str] = ()) -> Index:
    """Return the entries for all that stands at and below some paths, without the ``excluded`` ones and all below them."""
    found: Index = {}
    waiting = list(roots)
    while waiting:
        path = waiting.pop()
        entry = entry_at(path) if path not in excluded and path not in found else None
        if entry is not None:
            found[path] = entry
            if entry["type"] == "directory":
                waiting += [os.path.join(path, name) for name in os.listdir(path)]
    return found


def take(store: str, roots: t.Collection[str], excluded: t.Collection[str] = ()) -> None:
    """Record what stands at and below some paths, durably, in ``store``. Raises a refusal when there is no room for the copy.

    Links on the way to a path are followed. If the path itself is a link, both the link and its target are recorded.
    """
    links = [os.path.join(os.path.realpath(os.path.dirname(root)), os.path.basename(root)) for root in roots]
    roots = outermost([*map(os.path.realpath, roots), *links])
    found = index(roots, excluded)
    files.remove_tree(store)
    files.make_directories(store, mode=0o700)
    # Blocks, not sizes: guest images have holes, and so have their copies.
    needed = sum(os.lstat(path).st_blocks * 512 for path, entry in found.items() if entry["type"] == "file")
    files.require_room(store, needed, "a copy of what the installer may change")
    present = [root for root in roots if root in found]
    if present:
        _copy(["--parents", *present], os.path.join(store, "copy"))
    files.sync_filesystem(store)
    files.write_json(_index_path(store), Recorded(roots, excluded, found).plain())


def outermost(paths: t.Iterable[str]) -> list[str]:
    """Return the directories that are in none of the others."""
    found: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(f"{other.rstrip('/')}/") for other in found):
            found.append(path)
    return found


def saved(store: str, path: str) -> str:
    """Return where the record in ``store`` has its copy of a path."""
    return f"{store}/copy{path}"


def changes(store: str) -> Changes:
    """Return what differs from the record now; nothing where no record was taken."""
    record = Recorded.find(store)
    if record is None:
        return {}
    before, after = record.entries, index(record.roots, record.excluded)
    return {
        path: (before.get(path), after.get(path))
        for path in sorted({*before, *after})
        if not same(before.get(path), after.get(path), saved(store, path), path)
    }


def same(old: RecordEntry | None, new: RecordEntry | None, copy: str, path: str) -> bool:
    """Tell whether two entries stand for the same thing. Files are compared by content only if somebody wrote to them."""
    if old is None or new is None:
        return old is new
    if any(old.get(key) != new.get(key) for key in ("type", "mode", "uid", "gid", "size", "target")):
        return False
    if old["type"] != "file" or all(old[key] == new[key] for key in _UNTOUCHED):
        return True
    return filecmp.cmp(copy, path, shallow=False)


def seen(store: str) -> dict[str, RecordEntry | None]:
    """Return the entries of now for all paths that differ from the record."""
    return {path: after for path, (_before, after) in changes(store).items()}


def restore(store: str, seen: t.Mapping[str, RecordEntry | None]) -> tuple[list[str], list[str]]:
    """Put back what the record holds. May be repeated. Returns the paths that were put back, and those that were not.

    A file is not put back if it differs from what was ``seen`` when the rollback began: somebody else has changed it since.
    """
    changed = changes(store)
    kept = [path for path, (_before, now) in changed.items() if _is_mended(path, seen.get(path), now)]
    wanted = {path: before for path, (before, _now) in changed.items() if path not in kept}
    put_back(wanted, lambda path: saved(store, path))
    return list(wanted), kept


def _is_mended(path: str, seen: RecordEntry | None, now: RecordEntry | None) -> bool:
    # A missing path or a directory may be the result of a rollback that was interrupted, not of somebody else's change.
    if now is None or now["type"] == "directory" or path.endswith(files.TEMPORARY):
        return False
    return not untouched(path, seen, now)


def put_back(wanted: t.Mapping[str, RecordEntry | None], copy_of: t.Callable[[str], str]) -> None:
    """Bring each path back to what stood there (None: nothing), durably. Removing comes first, because it makes room."""
    for path in sorted(wanted, reverse=True):
        found, before = entry_at(path), wanted[path]
        if found is not None and (before is None or before["type"] != found["type"]):
            if found["type"] == "directory":
                # It stays if there is something in it that is not ours to remove.
                files.remove_empty_directories([path])
            else:
                files.remove_file(path)
    for path in sorted(wanted):
        before = wanted[path]
        if before is not None and before["type"] == "directory":
            if not os.path.isdir(path):
                os.mkdir(path)
            os.chown(path, before["uid"], before["gid"])
            os.chmod(path, before["mode"])
        elif before is not None:
            new = files.temporary(path)
            files.remove_file(new)
            _copy(["--no-target-directory", copy_of(path)], new)
            os.rename(new, path)
    if wanted:
        os.sync()


def merge(left: Left, changed: Changes, is_as_before: t.Callable[[str, Difference], bool]) -> Left:
    """Return what differs from the node before the first command, after one more command.

    ``left`` is what the commands before have left, ``changed`` what this one has changed. A path that it has brought back to what
    it was is no longer left.
    """
    result = dict(left)
    for path, (before, after) in changed.items():
        known = left.get(path)
        item: Difference = {
            "before": known["before"] if known else before,
            "after": after,
            "edited": bool(known and known["edited"]),
        }
        if is_as_before(path, item):
            result.pop(path, None)
        else:
            result[path] = item
    return result


def signed(path: str, entry: RecordEntry | None) -> RecordEntry | None:
    """Return the entry with a digest if the file is small: it then counts as untouched after the same bytes were written again."""
    if entry is None or entry["type"] != "file" or entry["size"] > _SMALL:
        return entry
    return {**entry, "digest": files.sha256_file(path)}


def touched(left: Left) -> set[str]:
    """Return the paths that are no longer as the last command left them."""
    return {path for path, item in left.items() if not untouched(path, item["after"], entry_at(path))}


def edited(left: Left) -> set[str]:
    """Return the paths that somebody else has changed, before or after the last command: they are theirs now."""
    return touched(left) | {path for path, item in left.items() if item["edited"]}


def untouched(path: str, after: RecordEntry | None, now: RecordEntry | None) -> bool:
    """Tell whether ``now``, the entry at a path, is still what the last command left there (``after``)."""
    if after is None or now is None:
        return after is now
    # A hard link or a label that somebody added changes the ctime, but nothing that counts.
    keys = {*after, *now} - {"ctime_ns", "digest"}
    different = {key for key in keys if after.get(key) != now.get(key)}
    if not different or different - {"mtime_ns", "inode"} or "digest" not in after:
        return not different
    return bool(files.sha256_file(path) == after["digest"])


def _copy(what: t.Sequence[str], target: str) -> None:
    """Copy paths with everything that the system knows of files: attributes, holes, labels."""
    if what[0] == "--parents":
        files.make_directories(target, mode=0o700)
    done = process.run(["cp", "--archive", "--reflink=auto", *what, target], timeout=3600)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise Refusal(
            f"a copy in {target}",
            lines[-1] if lines else f"exit status {done.returncode} of cp",
            "Nothing was changed.",
        )
