# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter for keywords of the playbooks, over the table in ``plugin_utils/_variables``; see the filter's documentation."""

from __future__ import annotations

import typing as t

from ansible import context
from ansible.errors import AnsibleFilterError

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _variables

DOCUMENTATION = r"""
name: play_keyword
short_description: Convert a variable that a play reads before it has hosts
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Returns C(coco_hosts) or C(coco_serial) in the form in which a play takes them as C(hosts) and C(serial).
  - A wrong value would end the play with a traceback. So a value that cannot be converted becomes the default here.
    M(confidential_containers.runtime.check_variables), the first task of the play, then refuses it with a message.
  - Refuses C(--start-at-task), because tasks would then lack the results of those before them. No later task could detect this.
positional: _input, name
options:
  _input:
    description: The value. None means that the variable is not set.
    type: raw
    required: true
  name:
    description: The name of the variable.
    type: str
    required: true
    choices: [coco_hosts, coco_serial]
"""

EXAMPLES = r"""
- name: Install the runtime on a group of your own, in batches
  hosts: my_workers
  serial: "{{ coco_serial | default(none) | confidential_containers.runtime.play_keyword('coco_serial') }}"
  roles:
    - confidential_containers.runtime.install
"""

RETURN = r"""
_value:
  description: The value for the play.
  type: raw
"""


def play_keyword(value: t.Any, name: str) -> t.Any:
    """Return the value that a play can take for a keyword."""
    start = context.CLIARGS.get("start_at_task")
    if start:
        raise AnsibleFilterError(
            str(
                Refusal(
                    "a run from its beginning",
                    f"--start-at-task={start}",
                    "Leave it out: what is in its place already is found to be so, and stays untouched.",
                )
            )
        )
    try:
        return _variables.convert(name, value)
    except Refusal:
        return _variables.KNOWN[name].default


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"play_keyword": play_keyword}
