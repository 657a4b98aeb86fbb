# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node's Python, as Ansible's interpreter there: runs the real one and notes what it took, its own children included."""

from __future__ import annotations

import json
import os
import sys
import time

PYTHON = "/usr/bin/python3"
LOG = "/run/bench.jsonl"


def main() -> int:
    started = time.time()
    child = os.fork()
    if child == 0:
        os.execv(PYTHON, [PYTHON, *sys.argv[1:]])
    _child, status, usage = os.wait4(child, 0)
    ended = time.time()
    with open(LOG, "a", encoding="utf-8") as log:
        # In blocks of 512 bytes and in KiB, whatever the file system.
        written, peak = usage.ru_oublock * 512, usage.ru_maxrss * 1024
        print(json.dumps([child, started, ended, usage.ru_utime + usage.ru_stime, peak, written]), file=log)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
