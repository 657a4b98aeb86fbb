# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as it was when it came up, without the collection that is tested."""

from __future__ import annotations

import contextlib

import nodes
import pods
from host import Failure


def reset(name: str) -> None:
    """Put a node back: its pods, files, mounts, units, and its engine if that has read anything else."""
    with contextlib.suppress(Failure):  # where the engine does not answer, they go below
        pods.remove_all(name)
    if nodes.execute(name, "python3", f"{nodes.BASELINE}/baseline.py", "put-back"):
        nodes.wait_for_cri(name)
        pods.remove_all(name)
