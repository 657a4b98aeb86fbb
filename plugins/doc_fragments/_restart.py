# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How long a restart of the engine may take."""

    DOCUMENTATION = r"""
options:
  engine_timeout:
    description:
      - The seconds within which the engine's CRI must serve again after a restart. At least 10.
      - To set this option once for all modules, use C(group/confidential_containers.runtime.restart) in C(module_defaults).
    type: int
    default: 120
"""
