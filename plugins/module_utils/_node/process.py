# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Programs of the node: where they are, and how to run one."""

from __future__ import annotations

import os
import shlex
import subprocess
import typing as t

#: The exit status of a program that is not there.
MISSING = 127
#: The exit status of a program that was still running when its time was up.
TOOK_TOO_LONG = 124

#: The directories of programs, in case PATH lacks some of them.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def search_path() -> str:
    """Return a PATH with all directories of programs. That of this process came over ssh or sudo, and may lack some."""
    return os.pathsep.join(filter(None, [os.environ.get("PATH"), _PATH]))


def run(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program of the node, found by :func:`search_path`, for at most ``timeout`` seconds.

    Its output is text in the C locale. A missing program gives the exit status :data:`MISSING`, one that takes too long
    :data:`TOOK_TOO_LONG`.
    """
    try:
        return subprocess.run(
            argv,
            cwd="/",  # as for the daemon: an old containerd resolves relative imports from there
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": search_path()},
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(argv, MISSING, "", str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(
            argv, TOOK_TOO_LONG, "", f"{shlex.join(argv)} took longer than {timeout:.0f} s"
        )
