# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How closely installed files are looked at."""

    DOCUMENTATION = r"""
options:
  verify:
    description:
      - Read every installed file, and compare its digest with the one that it had.
      - Otherwise, a file counts as unchanged if its size, modification time and inode are unchanged.
    type: bool
    default: false
"""
