# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found out once in a run of ansible-playbook, whichever host is first: all other hosts and batches take it from there.

Each host has a process of its own; what they share is the temporary directory of the whole run.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import typing as t


def once(directory: str, key: str, find_out: t.Callable[[], str]) -> str:
    """Return what ``find_out`` returned for this key, here or in another process that shares ``directory``.

    Where it raises, the next one who asks tries again.
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
