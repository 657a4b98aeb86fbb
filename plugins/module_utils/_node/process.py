# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Programs of the node: where they are, and what they print."""

from __future__ import annotations

import os
import shlex
import subprocess
import typing as t

#: The exit status of a program that is not there.
MISSING = 127
#: The exit status of a program that was still at work when its time was up.
TOOK_TOO_LONG = 124

#: Where programs are that PATH does not name.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def search_path() -> str:
    """Return where programs are. The PATH of this process, which came over ssh or through sudo, may leave some of that out."""
    return os.pathsep.join(filter(None, [os.environ.get("PATH"), _PATH]))


def run(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program of the node, wherever such are; its output is text in the C locale. A missing program is exit status :data:`MISSING`."""
    try:
        return subprocess.run(
            argv,
            cwd="/",  # a daemon's; old ones take relative imports from there
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
