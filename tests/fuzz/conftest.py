# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many examples: COCO_FUZZ=all ("make fuzz") new ones at every run, otherwise a few hundred that are always the same."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile(
    "sample",
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "all",
    max_examples=10_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile(os.environ.get("COCO_FUZZ") or "sample")
