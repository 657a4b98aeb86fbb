# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find something out once in a run of ansible-playbook. The first host does it, all other hosts and batches reuse the answer.

Each host has a process of its own. The processes share the temporary directory of the run, so the answer is a file there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import typing as t


def once(directory: str, key: str, find_out: t.Callable[[], str]) -> str:
    """Return what ``find_out`` returned for this key, here or in another process that shares ``directory``.

    If ``find_out`` raises, the next process that asks tries again.
    """
    path = os.path.join(directory, "once-" + hashlib.sha256(key.encode()).hexdigest())
    with open(path, "a+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        known = stream.read()
        if not known:
            known = find_out()
            stream.write(known)
        return known
