# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Who listens on a socket: which process, of which unit."""

from __future__ import annotations

import socket
import struct

_INIT = 1


def stranger(address: str, own: int, unit: str, proc: str = "/proc") -> str:
    """Return which other unit's process listens on a socket. '' if it is the unit's ``own`` process, or if we cannot tell."""
    pid = listener(address)
    if own and own == pid:
        return ""
    units = units_of(pid, proc=proc)
    return f"{units[-1]} (process {pid})" if units and unit not in units else ""


def units_of(pid: int, proc: str = "/proc") -> list[str]:
    """Return the units that a process belongs to, the innermost last. None for a process that we cannot see, and for systemd."""
    # 0: the process is in another PID namespace. systemd may listen in place of any unit.
    if pid in (0, _INIT):
        return []
    return [part for path in groups(pid, proc) for part in path.split("/") if part.endswith((".service", ".scope"))]


def listener(address: str) -> int:
    """Return the ID of the process that listens on a socket, 0 if we cannot tell."""
    size = struct.calcsize("3i")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1)
            connection.connect(address)
            pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
            return pid
    except OSError:
        return 0


def groups(pid: int, proc: str = "/proc") -> list[str]:
    """Return the control groups that a process is in."""
    try:
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
            return [line.rstrip("\n").split(":", 2)[-1] for line in stream]
    except OSError:
        return []
