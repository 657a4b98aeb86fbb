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
      - Seconds that a restart of the engine may take until its CRI serves again. At least 10.
      - With C(group/confidential_containers.runtime.restart) in C(module_defaults), it is said once for all modules.
    type: int
    default: 120
"""
