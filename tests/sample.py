# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which part of a large set one run of the tests takes: another one each time, and the same again with ``COCO_SEED``.

``make nightly`` takes all of each: ``COCO_CRASH``, ``COCO_FUZZ``, ``COCO_MATRIX``, ``COCO_REMOVALS`` and ``COCO_VERSIONS`` are ``all``.
"""

from __future__ import annotations

import os
import random
import secrets


def seed() -> str:
    """Return this run's seed; processes that are started from here have the same."""
    return os.environ.setdefault("COCO_SEED", str(secrets.randbelow(1_000_000)))


def chance(purpose: str) -> random.Random:
    """Return a source of choices that depend on the seed and on what they are for."""
    return random.Random(f"{seed()} {purpose}")


def is_whole(what: str) -> bool:
    """Tell whether all of a set was asked for."""
    return os.environ.get(f"COCO_{what}") == "all"


def takes(what: str, purpose: str, one_in: int) -> bool:
    """Tell whether one of many is in this run's sample."""
    return is_whole(what) or chance(purpose).randrange(one_in) == 0
