# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Limits on what a payload may unpack to."""

    DOCUMENTATION = r"""
options:
  limits:
    description: Limits on what the payload may unpack to.
    type: dict
    suboptions:
      bytes:
        description: The bytes of all layers, unpacked. By default 32 GiB.
        type: int
      members:
        description: The members of all archives in the payload. By default 200000.
        type: int
      ratio:
        description: The ratio of unpacked to packed bytes. By default 2000.
        type: int
"""
