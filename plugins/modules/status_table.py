#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status_table
short_description: Show the state of nodes as a table
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Prints what M(confidential_containers.runtime.runtime_info) returned for each node. Each node has a row. The table is at
    most as wide as the terminal.
  - Runs on the controller, once for all hosts.
  - Prints nothing under a callback plugin that is not part of ansible-core, such as one that writes JSON. The table is then in
    RV(lines).
options:
  nodes:
    description: The results of the module, by node. A node that could not be asked has a mapping without C(problems).
    type: dict
    required: true
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
  - module: confidential_containers.runtime.runtime_info
  - plugin: confidential_containers.runtime.status_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the node
  confidential_containers.runtime.runtime_info:
  register: node

- name: Show all nodes
  confidential_containers.runtime.status_table:
    nodes: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'node'))) }}"
"""

RETURN = r"""
lines:
  description: The lines of the table, beginning with its heading. They are as long as they need to be.
  returned: success
  type: list
  elements: str
"""
