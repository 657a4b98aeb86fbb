# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of the directories on a node into which payloads are sent. A name tells who sends: a run that was killed leaves
gigabytes behind, and the next one has to know that nobody needs them any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import secrets
import typing as t
import uuid

#: What all names begin with.
START = "confidential-containers-"


def name() -> str:
    """Return the name of a new directory, into which this process sends."""
    return f"{START}{_here()}-{os.getpid()}-{secrets.token_hex(4)}"


def abandoned(names: t.Iterable[str]) -> list[str]:
    """Return those of the names in a directory that are of processes that are no more, as far as that can be known here.

    What other machines send, only its age tells.
    """
    here = f"{START}{_here()}-"
    return [one for one in names if one.startswith(here) and not _is_alive(one[len(here) :].partition("-")[0])]


def _here() -> str:
    """Return what tells those whose processes can be seen here: a machine, and on it a container."""
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
        pass  # somebody else's process; or no number, so that the directory is no one of ours
    return True
