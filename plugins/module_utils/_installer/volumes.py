# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The volumes of a payload's installer: written as in Kubernetes, they become bind mounts into its root file system.

The paths of hostPath volumes are checked, and made where they are missing, as kubelet and the container runtime do it.
:func:`missing` says what has to be made, so that the journal can note it first. What is still empty afterwards is removed again.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import stat
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

VOLUMES = "coco_installer_volumes"
MOUNTS = "coco_installer_volume_mounts"

#: A directory or a file that was missing: ``{"path": str, "type": "directory" or "file", "mode": int}``.
Created = t.Dict[str, t.Any]

_EMPTY_DIR = "emptyDir"
_DIRECTORY, _FILE = "directory", "file"

#: For each hostPath type: what has to be there ('' for anything), and what is made where nothing is ('' for nothing). The order is
#: the one in which volumes are looked at. Types that make something come first, because kubelet tries again until what one volume
#: makes is there for the next. The type '' comes last: kubelet leaves it to the container runtime.
_TYPES = {
    _EMPTY_DIR: (_DIRECTORY, _DIRECTORY),
    "DirectoryOrCreate": (_DIRECTORY, _DIRECTORY),
    "FileOrCreate": (_FILE, _FILE),
    "Directory": (_DIRECTORY, ""),
    "File": (_FILE, ""),
    "Socket": ("socket", ""),
    "CharDevice": ("character device", ""),
    "BlockDevice": ("block device", ""),
    "": ("", _DIRECTORY),
}
_ORDER = list(_TYPES)

_KINDS = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFREG: _FILE,
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "FIFO",
}

#: The names that Kubernetes allows for a volume.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
#: Characters that systemd may misread in a path. Quoting does not help: a transient unit's settings are written to a file without
#: quotes, and read again at every daemon-reload. And some versions refuse paths with quotes in them.
UNFIT = re.compile(r"[\s:\"'\\\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Bind:
    """One mount: ``source`` on the node over ``target`` in the root file system. ``type`` is the hostPath's type.

    ``entry`` is the volume's name in messages.
    """

    source: str
    target: str
    read_only: bool
    type: str
    entry: str


# What is asked for.


def bound(volumes: t.Any, mounts: t.Any, working: str, names: tuple[str, str] = (VOLUMES, MOUNTS)) -> list[Bind]:
    """Return the binds for volumes and volume mounts, which have the structure of the CRD.

    ``working`` is a directory that only root can enter: an emptyDir is made below it. ``names`` are those of the two variables.
    """
    sources: dict[str, tuple[str, str, str]] = {}
    for number, volume in enumerate(_list(volumes, names[0])):
        entry = f"{names[0]}[{number}]"
        name, path, kind = _volume(volume, entry, working)
        if name in sources:
            raise _wrong(f"{entry}.name", "a name of its own", f"{name!r}, as in {sources[name][2]}")
        sources[name] = path, kind, entry
    binds: list[Bind] = []
    used: set[str] = set()
    targets: dict[str, str] = {}
    for number, mount in enumerate(_list(mounts, names[1])):
        entry = f"{names[1]}[{number}]"
        name, target, read_only = _mount(mount, entry)
        if name not in sources:
            raise _wrong(f"{entry}.name", f"a volume of {names[0]}", repr(name))
        if target in targets:
            raise _wrong(f"{entry}.mountPath", "a path of its own", f"{target}, as in {targets[target]}")
        targets[target] = entry
        used.add(name)
        path, kind, volume_entry = sources[name]
        binds.append(Bind(path, target, read_only, kind, volume_entry))
    for name, (_path, _kind, entry) in sources.items():
        if name not in used:
            raise _wrong(f"{entry}.name", f"a volume that one of {names[1]} mounts", repr(name))
    return binds


def _volume(volume: t.Any, entry: str, working: str) -> tuple[str, str, str]:
    """Return a volume's name, its path on the node and its type."""
    fields = _mapping(volume, entry, {"name": str, "hostPath": dict, _EMPTY_DIR: dict})
    name = _name(fields, entry)
    host, empty = fields.get("hostPath"), fields.get(_EMPTY_DIR)
    if (host is None) == (empty is None):
        raise _wrong(entry, "either hostPath or emptyDir", "both" if host is not None else "neither")
    if empty is not None:
        # Limits of an emptyDir are for pods that share a node: allowed here, and without effect.
        _mapping(empty, f"{entry}.{_EMPTY_DIR}", {"medium": str, "sizeLimit": (str, int)})
        return name, posixpath.join(working, name), _EMPTY_DIR
    fields = _mapping(host, f"{entry}.hostPath", {"path": str, "type": str})
    kind = fields.get("type", "")
    if kind not in _TYPES or kind == _EMPTY_DIR:
        known = ", ".join(name or "''" for name in sorted(_TYPES) if name != _EMPTY_DIR)
        raise _wrong(f"{entry}.hostPath.type", f"one of {known}", repr(kind))
    return name, _path(fields, f"{entry}.hostPath", "path"), kind


def _mount(mount: t.Any, entry: str) -> tuple[str, str, bool]:
    """Return a mount's volume, its path in the root, and whether it is read-only."""
    known = {
        "name": str,
        "mountPath": str,
        "readOnly": bool,
        "recursiveReadOnly": str,
        "mountPropagation": str,
        "subPath": str,
        "subPathExpr": str,
    }
    fields = _mapping(mount, entry, known)
    for key in ("subPath", "subPathExpr"):
        if fields.get(key):
            # Whoever may write to the volume could replace the path by a link to anywhere, just before it is mounted.
            raise _wrong(
                f"{entry}.{key}", "left out, and the volume's hostPath to name the directory itself", repr(fields[key])
            )
    if fields.get("mountPropagation", "None") not in ("None", "HostToContainer"):
        raise _wrong(
            f"{entry}.mountPropagation",
            "None or HostToContainer: what is mounted in a unit of systemd does not reach the node",
            repr(fields["mountPropagation"]),
        )
    target = _path(fields, entry, "mountPath")
    if target == "/":
        raise _wrong(f"{entry}.mountPath", "a directory below /, which is the payload", "'/'")
    return _name(fields, entry), target, fields.get("readOnly", False)


def _list(value: t.Any, name: str) -> list[t.Any]:
    if not isinstance(value, list):
        raise _wrong(name, "a list", _kind_of(value))
    return value


def _mapping(value: t.Any, entry: str, known: t.Mapping[str, type | tuple[type, ...]]) -> dict[str, t.Any]:
    """Return the fields that are set. Refuse unknown ones and wrong types. As in Kubernetes, null means not set."""
    if not isinstance(value, dict):
        raise _wrong(entry, "a mapping", _kind_of(value))
    for key, field in value.items():
        if key not in known:
            raise _wrong(entry, f"a mapping of {', '.join(known)}", repr(key))
        if field is not None and not isinstance(field, known[key]):
            kinds = known[key]
            kind = kinds[0] if isinstance(kinds, tuple) else kinds
            raise _wrong(f"{entry}.{key}", _NAMES[kind], _kind_of(field))
    return {key: field for key, field in value.items() if field is not None}


_NAMES = {str: "a string", bool: "true or false", dict: "a mapping", list: "a list"}


def _kind_of(value: t.Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, type(None))) else _NAMES.get(type(value), repr(value))


def _name(fields: t.Mapping[str, t.Any], entry: str) -> str:
    name = t.cast(str, fields.get("name", ""))
    if not _NAME.fullmatch(name):
        raise _wrong(f"{entry}.name", "a name of small letters, digits and hyphens", repr(name) if name else "none")
    return name


def _path(fields: t.Mapping[str, t.Any], entry: str, key: str) -> str:
    path = t.cast(str, fields.get(key, ""))
    if not path.startswith("/"):
        raise _wrong(f"{entry}.{key}", "an absolute path", repr(path) if path else "none")
    if ".." in path.split("/"):
        raise _wrong(f"{entry}.{key}", "a path without '..'", repr(path))
    if UNFIT.search(path):
        raise _wrong(
            f"{entry}.{key}",
            "a path without spaces, colons, quotes and backslashes, which systemd could take for something else",
            repr(path),
        )
    return "/" + posixpath.normpath(path).lstrip("/")


def _wrong(entry: str, expected: str, found: str) -> Refusal:
    return Refusal(f"{entry} to be {expected}", found, "Write it like a pod's volumes and volumeMounts in Kubernetes.")


# What is on the node.


def missing(binds: t.Sequence[Bind]) -> list[Created]:
    """Return what :func:`create` has to create, parents first, so that the journal can note it before.

    Raises a refusal for a path that is not what its volume's type says, or that must be there and is not.
    """
    made: dict[str, Created] = {}
    for bind in sorted(binds, key=lambda bind: _ORDER.index(bind.type)):
        wanted, makes = _TYPES[bind.type]
        found = _kind(bind.source) or made.get(os.path.realpath(bind.source), {}).get("type", "")
        if not found and makes == _DIRECTORY:
            new = _directories(bind)
        elif not found and makes == _FILE:
            new = [_file(bind, made)]
        elif found and wanted in ("", found):
            continue
        else:
            raise _not_there(bind, bind.source, found)
        for entry in new:
            if made.setdefault(entry["path"], entry)["type"] != entry["type"]:
                raise _not_there(bind, entry["path"], made[entry["path"]]["type"], _DIRECTORY)
    for bind in binds:
        _check_nested(bind, binds, made)
    return list(made.values())


def create(entries: t.Iterable[Created]) -> None:
    """Create what was missing."""
    before = os.umask(0)
    try:
        for entry in entries:
            # Somebody else may have been faster. Kubelet accepts that, too.
            with contextlib.suppress(FileExistsError):
                if entry["type"] == _DIRECTORY:
                    os.mkdir(entry["path"], entry["mode"])
                else:
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                    os.close(os.open(entry["path"], flags, entry["mode"]))
    finally:
        os.umask(before)


def remove_created(entries: t.Sequence[Created]) -> list[str]:
    """Remove what was created and is still empty. Return the paths of what is not empty. May be repeated."""
    stayed = []
    for entry in reversed(entries):
        path = entry["path"]
        try:
            if entry["type"] == _DIRECTORY:
                os.rmdir(path)
                continue
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and not found.st_size:
                os.unlink(path)
                continue
        except FileNotFoundError:
            continue
        except OSError:
            pass  # it is not empty, or is something else by now
        stayed.append(path)
    return stayed


def bind_options(binds: t.Iterable[Bind]) -> list[str]:
    """Return the binds as properties of a unit."""
    return [f"{'BindReadOnlyPaths' if bind.read_only else 'BindPaths'}={bind.source}:{bind.target}" for bind in binds]


def _kind(path: str) -> str:
    """Return the kind of what is at a path, after following links; '' for nothing."""
    try:
        return _KINDS[stat.S_IFMT(os.stat(path).st_mode)]
    except OSError:
        return ""


def _not_there(bind: Bind, path: str, found: str, wanted: str = "") -> Refusal:
    wanted = wanted or _TYPES[bind.type][0]
    expected = f"a {wanted} at {path} ({bind.entry}, {f'type {bind.type}' if bind.type else 'without a type'})"
    if found:
        return Refusal(expected, f"a {found}", f"Name a path or a type in {bind.entry} that fits.")
    if os.path.islink(path):
        return Refusal(expected, "a link that leads nowhere", f"Remove the link, or name another path in {bind.entry}.")
    return Refusal(
        expected, "nothing", f"Create it on the node first, or name another path or another type in {bind.entry}."
    )


def _directories(bind: Bind) -> list[Created]:
    """Return the entries for a directory and its missing parents."""
    path, names = bind.source, []
    while not os.path.lexists(path):
        path, name = os.path.split(path)
        names.append(name)
    if not os.path.isdir(path):
        raise _not_there(bind, path, _kind(path), _DIRECTORY)
    path = os.path.realpath(path)
    entries = []
    for name in reversed(names):
        path = os.path.join(path, name)
        entries.append({"path": path, "type": _DIRECTORY, "mode": 0o755})
    if bind.type == _EMPTY_DIR:
        entries[-1]["mode"] = 0o777
    return entries


def _file(bind: Bind, made: t.Mapping[str, Created]) -> Created:
    """Return the entry for a file. If the path is a link that leads to nothing, the file is the link's target."""
    path = os.path.realpath(bind.source)
    if os.path.lexists(path):  # a loop of links
        raise _not_there(bind, path, "")
    parent = os.path.dirname(path)
    found = _kind(parent) or made.get(parent, {}).get("type", "")
    if found != _DIRECTORY:
        raise _not_there(bind, parent, found, _DIRECTORY)
    return {"path": path, "type": _FILE, "mode": 0o644}


def _check_nested(bind: Bind, binds: t.Iterable[Bind], made: t.Mapping[str, Created]) -> None:
    """Refuse a mount inside of another one if it needs a new mount point there, which would stay on the node."""
    around = [other for other in binds if bind.target.startswith(f"{other.target}/") and other is not bind]
    if not around:
        return
    outer = max(around, key=lambda other: len(other.target))
    place = posixpath.join(outer.source, bind.target[len(outer.target) + 1 :])
    if outer.type != _EMPTY_DIR and not os.path.lexists(place) and os.path.realpath(place) not in made:
        raise Refusal(
            f"{place} to be there, because {bind.target} is mounted inside of {outer.target}",
            "nothing",
            f"Create it on the node, or mount {bind.entry} elsewhere ({MOUNTS}).",
        )
