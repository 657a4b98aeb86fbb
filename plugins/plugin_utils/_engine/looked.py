# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep what a look at a node's engine has found, for the tasks that follow at once.

It takes a node a second to read and dump a configuration. If a file has changed since the look, the node refuses to write it.

The findings can hold passwords. They lie in the temporary directory of this run of ansible-playbook, which only its user can
read. The last task that needs them removes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import typing as t

from ansible import constants

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments

#: Seconds for which the findings can be used.
_FRESH = 60.0

Options = t.Mapping[str, t.Any]


def remember(host: str, engine: Options, found: t.Mapping[str, t.Any]) -> None:
    """Keep what was found on a host."""
    path = _path(host, engine)
    forget(host, engine)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        # The look itself has already told what was done about an interrupted run.
        json.dump({**found, "changed": False, "recovered": ""}, stream)


def recall(host: str, engine: Options) -> dict[str, t.Any] | None:
    """Return what was found on a host a moment ago, None if nobody has looked."""
    path = _path(host, engine)
    with contextlib.suppress(OSError, ValueError):
        if 0 <= time.time() - os.stat(path).st_mtime <= _FRESH:
            with open(path, encoding="utf-8") as stream:
                return t.cast("dict[str, t.Any]", json.load(stream))
    return None


def forget(host: str, engine: Options) -> None:
    """Remove what was found on a host."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(host, engine))


def _path(host: str, engine: Options) -> str:
    asked = {key: str(engine[key]) for key in sorted(_arguments.ENGINE_OPTIONS) if engine.get(key)}
    key = json.dumps([host, {"engine": "auto", **asked}])
    directory: str = t.cast(t.Any, constants).DEFAULT_LOCAL_TMP
    return os.path.join(directory, "looked-" + hashlib.sha256(key.encode()).hexdigest())
