# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which mount a path is on. rename(2) and link(2) do not cross mounts, not even between two mounts of one file system (a bind
mount is one), so that devices tell too little.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

_TABLE = "/proc/self/mountinfo"
#: How the kernel writes blanks and backslashes there.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def of(path: str) -> int:
    """Return the kernel's number of the mount that ``path``, or the nearest directory above it that is there, is on."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return _number(path)


def is_point(path: str) -> bool:
    """Tell whether something is mounted at a path."""
    path = os.path.realpath(path)
    return of(path) != of(os.path.dirname(path))


def below(directory: str) -> list[str]:
    """Return where below ``directory`` something is mounted, relative to it."""
    start = os.path.realpath(directory).rstrip("/") + "/"
    with open(_TABLE, "rb") as table:
        mounts = parse(table.read())
    return sorted(
        {point[len(start) :] for number, point in mounts if point.startswith(start) and _shows(number, point)}
    )


def parse(table: bytes) -> list[tuple[int, str]]:
    """Return number and place of each mount in a ``mountinfo``."""
    words = (line.split(b" ") for line in table.splitlines())
    return [(int(row[0]), os.fsdecode(_ESCAPED.sub(_character, row[4]))) for row in words]


def covering(points: t.Collection[str], paths: t.Iterable[str]) -> list[str]:
    """Return those of some mount points at or below which one of the paths lies."""
    parents = {path[:end] for path in paths for end in _ends(path)}
    return sorted(point for point in points if point in parents)


def refuse_below(prefix: str, paths: t.Collection[str] | None = None) -> None:
    """Refuse a mount below ``prefix`` where artifacts lie or go: at or above one of these ``paths``, anywhere if they are unknown.

    Artifacts could not be renamed into it, and what lies underneath it could not be removed.
    """
    if paths is not None and not paths:
        return  # without a payload the prefix may be anything
    points = below(prefix)
    found = points if paths is None else covering(points, paths)
    if found:
        places = [os.path.join(prefix, point) for point in found]
        raise Refusal(
            f"one mount for all that is below {prefix}, because artifacts get there by rename",
            f"something else mounted at {', '.join(places[:3])}{f' and {len(places) - 3} more' if len(places) > 3 else ''}",
            f"Unmount it, mount a file system with room for all of it at {prefix} instead, or set coco_prefix to another directory.",
        )


def _character(escaped: t.Match[bytes]) -> bytes:
    return bytes([int(escaped.group(1), 8)])


def _ends(path: str) -> list[int]:
    """Return where the names of the path and of its parents end."""
    return [position for position, character in enumerate(path) if character == "/"] + [len(path)]


def _shows(number: int, point: str) -> bool:
    """Tell whether a mount is what one finds at its place: another one can lie over it, there or further up."""
    try:
        return _number(point) == number
    except FileNotFoundError:
        return False
    except OSError:  # a server that does not answer: its mount is there all the same
        return True


def _number(path: str) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as facts:
            return next(int(line.split()[1]) for line in facts if line.startswith("mnt_id:"))
    finally:
        os.close(descriptor)
