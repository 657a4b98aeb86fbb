# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Bounds on what a payload may unfold to."""

    DOCUMENTATION = r"""
options:
  limits:
    description: Bounds on what the payload may unfold to.
    type: dict
    suboptions:
      bytes:
        description: Of all layers unpacked. 32 GiB by default.
        type: int
      members:
        description: Of all archives in it. 200000 by default.
        type: int
      ratio:
        description: Of unpacked to packed bytes. 2000 by default.
        type: int
"""
