# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's half of the test under load.

``look`` tells which processes run from files of a directory, and what these files are. ``watch`` reads and starts some of them
again and again, until its input ends, and tells what it has met and what has happened there. Standard library only: this
program runs in the node.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import select
import struct
import subprocess
import sys
import time
import typing as t


def inode(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_dev, found.st_ino]


def digest(path: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def look(directory: str) -> dict[str, t.Any]:
    files = {name: os.path.join(directory, name) for name in sorted(os.listdir(directory))}
    return {
        "files": {name: {"inode": inode(path), "digest": digest(path)} for name, path in files.items()},
        "processes": {process: facts for process in os.listdir("/proc") for facts in processes(process, directory)},
    }


def processes(process: str, directory: str) -> t.Iterator[dict[str, t.Any]]:
    """Describe a process that runs from a file of the directory, whether or not that is still there."""
    place = f"/proc/{process}"
    with contextlib.suppress(OSError):  # no process, or one that has ended meanwhile
        link = os.readlink(f"{place}/exe")
        if not link.startswith(directory + "/"):
            return
        with open(f"{place}/cmdline") as stream:
            command = stream.read().replace("\0", " ")
        with open(f"{place}/stat") as stream:
            started = stream.read().rpartition(")")[2].split()[19]
        with open(f"{place}/maps") as stream:
            maps = {line.split(maxsplit=5)[5].strip() for line in stream if f" {directory}/" in line}
        yield {
            "program": os.path.basename(link.removesuffix(" (deleted)")),
            "command": command,
            "started": started,
            "inode": inode(f"{place}/exe"),
            "maps": sorted(maps),
        }


#: What happens to a name in a directory, as inotify(7) says it.
EVENTS = {0x2: "modified", 0x40: "moved away", 0x80: "moved there", 0x100: "created", 0x200: "deleted"}


def watch(directory: str, read: t.Sequence[str], started: t.Sequence[str]) -> dict[str, t.Any]:
    """Of each file, tell all that happens to its name, and what is met there: of those to read the content, of those to start
    the answer, with the times of the first and the last meeting."""
    met: dict[str, dict[str, dict[str, list[float]]]] = {what: {} for what in ("contents", "answers")}
    notified = notify(directory)
    while not select.select([sys.stdin], [], [], 0)[0]:
        for what, names, ask in (("contents", read, digest), ("answers", started, answer)):
            for name in names:
                began = time.monotonic()
                try:
                    found = ask(os.path.join(directory, name))
                except OSError as error:
                    found = str(error)
                met[what].setdefault(name, {}).setdefault(found, [began])[1:] = [time.monotonic()]
    return {**met, "events": events(notified)}


def notify(directory: str) -> int:
    libc = ctypes.CDLL(None)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(descriptor, os.fsencode(directory), sum(EVENTS)) > 0
    return descriptor


def events(descriptor: int) -> dict[str, list[str]]:
    """Return, by name, what has happened since."""
    found: dict[str, list[str]] = {}
    with contextlib.suppress(BlockingIOError):
        while True:
            data = os.read(descriptor, 1 << 16)
            while data:
                _watch, mask, _cookie, size = struct.unpack_from("iIII", data)
                name = data[16 : 16 + size].rstrip(b"\0").decode()
                found.setdefault(name, []).extend(word for bit, word in EVENTS.items() if bit & mask)
                data = data[16 + size :]
    return found


def answer(program: str) -> str:
    done = subprocess.run([program, "-v"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return f"{done.returncode} {done.stdout}"


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    json.dump(look(*words) if what == "look" else watch(words[0], *map(str.split, words[1:])), sys.stdout)
