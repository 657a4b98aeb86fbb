# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The containerd that a unit runs now. The process itself tells its program and its options, whatever the unit's text says."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import listeners
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import execstart

_DELETED = " (deleted)"


@dataclass(frozen=True)
class Daemon:
    """A running containerd. ``program`` is the file that runs, ``binary`` the path by which it was started.

    ``plain``: no word of its command line needs quotes. systemd's properties do not show quotes.
    """

    pid: int
    program: str
    binary: str
    options: execstart.Options
    plain: bool


def find(main: int, group: str, proc: str = "/proc") -> Daemon | None:
    """Return the containerd of a unit, found by the unit's main process and its control group. None if there is none.

    The main process can be another program that starts containerd and waits for it. Then containerd is another process of
    the control group.
    """
    for candidates in ([main], _members(group, proc)):
        found = [daemon for daemon in (_daemon(pid, proc) for pid in candidates if pid > 0) if daemon]
        pids = {daemon.pid for daemon in found}
        # A child of containerd that is about to run another program still looks like its parent.
        first = next((daemon for daemon in found if _parent(daemon.pid, proc) not in pids), None)
        if first:
            return first
    return None


def _daemon(pid: int, proc: str) -> Daemon | None:
    try:
        program = os.readlink(f"{proc}/{pid}/exe")
        with open(f"{proc}/{pid}/cmdline", "rb") as stream:
            words = [os.fsdecode(word) for word in stream.read().split(b"\0")[:-1]]
        directory = os.readlink(f"{proc}/{pid}/cwd")
    except OSError:
        return None
    # If a package was upgraded since, the kernel marks the old file as deleted. The next start runs the new file.
    program = program[: -len(_DELETED)] if program.endswith(_DELETED) else program
    options = execstart.options(words[1:], directory)
    names = {os.path.basename(program), *map(os.path.basename, words[:1])}
    if not words or options.command or not any("containerd" in name and "shim" not in name for name in names):
        return None
    plain = all(word and not re.search(r"\s", word) for word in words)
    return Daemon(pid, program, _binary(words[0], program), options, plain)


def _binary(named: str, program: str) -> str:
    """Return the path by which to start the program again.

    We prefer the name in the command line: it may be a link, which an upgrade sets to another program. k3s is one program that
    is containerd only if it is started by a link of that name.
    """
    if os.path.isabs(named) and "containerd" in os.path.basename(named) and os.path.isfile(named):
        return named
    beside = os.path.join(os.path.dirname(program), "containerd")
    return beside if "containerd" not in os.path.basename(program) and os.path.isfile(beside) else program


def started(pid: int, proc: str = "/proc") -> float:
    """Return when a process was started, in seconds of the kernel's clock CLOCK_BOOTTIME. 0 if there is no such process."""
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def _members(group: str, proc: str) -> list[int]:
    """Return the processes of a control group, without those of the groups below it: these are pods'."""
    pids = [int(name) for name in os.listdir(proc) if name.isdigit()] if group else []
    return sorted(pid for pid in pids if group in listeners.groups(pid, proc))


def _parent(pid: int, proc: str) -> int:
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return int(stream.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0
