# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of the directories on a node to which payloads are sent.

A run that was killed leaves gigabytes behind. So a name tells which process sends: when that process has ended, the next run
removes its directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import typing as t
import uuid

#: All names begin with this.
START = "confidential-containers-"


def name() -> str:
    """Return the name of a new directory, to which this process sends."""
    return f"{START}{_here()}-{os.getpid()}-{secrets.token_hex(4)}"


def abandoned(names: t.Iterable[str]) -> list[str]:
    """Return the names whose processes have ended, as far as this machine can know.

    It knows only its own processes. For directories of other machines, ``_payload.transfer`` goes by their age.
    """
    here = f"{START}{_here()}-"
    return [one for one in names if one.startswith(here) and not _is_alive(one[len(here) :].partition("-")[0])]


def _here() -> str:
    """Return an id of this machine, or of the container on it: processes with the same id can be seen here."""
    processes = ""
    with contextlib.suppress(OSError):
        processes = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()} {processes}".encode()).hexdigest()[:12]


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except (PermissionError, ValueError):
        pass  # the process is somebody else's; or this is no number, and so the directory is not ours
    return True
