#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Check the variables of this collection's roles
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Checks every C(coco_) variable of a host, before the node is asked anything and before a payload is read. It checks the
    names, types and values, and the manifest that C(coco_ccruntime) names.
  - The roles of this collection call this module first.
  - An error names the variable, what was expected, and what was found. It shows no value that can be a secret.
  - Runs on the controller.
options:
  required:
    description: Names of variables that the user or the manifest must set.
    type: list
    elements: str
    default: []
  playbook:
    description:
      - Instead of the variables, check what a playbook of this collection needs. C(coco_hosts) and C(coco_serial) must have
        their types, and the play must be able to see them. C(--tags) and C(--skip-tags) must not leave out the tasks of the
        playbook.
    type: bool
    default: false
extends_documentation_fragment:
  - confidential_containers.runtime._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - plugin: confidential_containers.runtime.role_variable
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Check the variables first in a play of your own
  confidential_containers.runtime.check_variables:
    required: [coco_payload]
"""

RETURN = r""""""
