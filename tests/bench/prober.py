# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long the CRI of this node does not answer: asks it every ten milliseconds until its input ends, then prints the seconds
without an answer and the number of such times, as JSON. Runs on the node, with cri.py beside it."""

from __future__ import annotations

import json
import select
import sys
import time

import cri

INTERVAL = 0.008


def answers() -> bool:
    try:
        return bool(cri.status("/run/containerd/containerd.sock").ready)
    except cri.CriError:
        return False


def main() -> None:
    outages, since = [], None
    print("ready", flush=True)
    # An outage that has begun is seen to its end.
    while since is not None or not select.select([sys.stdin], [], [], INTERVAL)[0]:
        now = time.monotonic()
        up = answers()
        if not up and since is None:
            since = now
        elif up and since is not None:
            outages.append(time.monotonic() - since)
            since = None
    json.dump({"seconds": sum(outages), "outages": len(outages)}, sys.stdout)


if __name__ == "__main__":
    main()
