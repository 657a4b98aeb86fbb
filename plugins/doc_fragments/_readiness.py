# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What is to be done later with the engine that is looked at."""

    DOCUMENTATION = r"""
options:
  config_mode:
    description: How handlers will be written later, see M(confidential_containers.runtime.runtime_handlers).
    type: str
    default: auto
    choices: [auto, drop_in, in_place]
  enable_cri:
    description: Whether a disabled CRI is no problem, because it will be enabled later.
    type: bool
    default: false
"""
