# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all tests have in common: the seed of their samples."""

from __future__ import annotations

from ansible_collections.confidential_containers.runtime.tests import sample


def pytest_configure() -> None:
    """Choose before other processes are started, which have to agree."""
    sample.seed()


def pytest_report_header() -> str:
    """Tell how to repeat a run."""
    return f"sample: COCO_SEED={sample.seed()} repeats this choice"
