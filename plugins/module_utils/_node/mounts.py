# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which mount a path is on.

rename(2) and link(2) do not cross mounts, not even between two mounts of one file system, such as a bind mount. So it is not
enough to compare the devices of two paths.
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

_TABLE = "/proc/self/mountinfo"
#: How the kernel writes blanks and backslashes in that table.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def of(path: str) -> int:
    """Return the kernel's number of the mount of ``path``, or of the nearest parent that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return _number(path)


def is_point(path: str) -> bool:
    """Tell whether something is mounted at a path."""
    path = os.path.realpath(path)
    return of(path) != of(os.path.dirname(path))


def below(directory: str) -> list[str]:
    """Return the mount points below ``directory``, relative to it."""
    start = os.path.realpath(directory).rstrip("/") + "/"
    with open(_TABLE, "rb") as table:
        mounts = parse(table.read())
    return sorted(
        {point[len(start) :] for number, point in mounts if point.startswith(start) and _shows(number, point)}
    )


def parse(table: bytes) -> list[tuple[int, str]]:
    """Return the number and the mount point of each mount in a ``mountinfo``."""
    words = (line.split(b" ") for line in table.splitlines())
    return [(int(row[0]), os.fsdecode(_ESCAPED.sub(_character, row[4]))) for row in words]


def covering(points: t.Collection[str], paths: t.Iterable[str]) -> list[str]:
    """Return those of the mount points at or below which one of the paths lies."""
    parents = {path[:end] for path in paths for end in _ends(path)}
    return sorted(point for point in points if point in parents)


def refuse_below(prefix: str, paths: t.Collection[str] | None = None) -> None:
    """Refuse a mount below ``prefix`` where artifacts lie or will lie.

    That is a mount at or above one of the artifacts' ``paths``; if these are unknown (None), any mount. Artifacts could not be
    renamed into it, and files that it hides could not be removed.
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
    """Return the positions in the path at which the names of its parents and its own name end."""
    return [position for position, character in enumerate(path) if character == "/"] + [len(path)]


def _shows(number: int, point: str) -> bool:
    """Tell whether a mount is visible at its mount point. Another mount can hide it, at the same point or above."""
    try:
        return _number(point) == number
    except FileNotFoundError:
        return False
    except OSError:  # a network file system whose server does not answer: the mount is there all the same
        return True


def _number(path: str) -> int:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as facts:
            return next(int(line.split()[1]) for line in facts if line.startswith("mnt_id:"))
    finally:
        os.close(descriptor)
