# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter for the variables of roles, over the table in ``plugin_utils/_variables``; see the filter's documentation."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _variables

DOCUMENTATION = r"""
name: role_variable
short_description: Convert the value of a role variable to its type
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Returns the value of a variable of this collection's roles, as the roles read it. With C(-e NAME=VALUE), every value is
    text. This filter converts it to a list, a mapping, a boolean or a number.
  - Names are separated by commas. The arguments of a command are separated as in a shell. Text in JSON is read as JSON.
  - A value that cannot be converted is an error that says what was expected. M(confidential_containers.runtime.check_variables)
    reports it before any other task.
positional: _input, name
options:
  _input:
    description: The value. None and C(omit) mean that the variable is not set.
    type: raw
    required: true
  name:
    description: The name of the variable.
    type: str
    required: true
  absent:
    description: The result if the variable is not set and has no default, for example C(omit).
    type: raw
"""

EXAMPLES = r"""
- name: Show the handlers as a list
  ansible.builtin.debug:
    msg: "{{ 'kata-qemu,kata-clh' | confidential_containers.runtime.role_variable('coco_handlers') }}"
"""

RETURN = r"""
_value:
  description: The converted value. It can be a secret.
  type: raw
"""


def _omitted(value: t.Any) -> bool:
    """Tell whether a value is "{{ omit }}". It is an object; before ansible-core 2.19 it is text."""
    return type(value).__name__ == "_OmitType" or (isinstance(value, str) and value.startswith("__omit_place_holder__"))


def role_variable(value: t.Any, name: str, absent: t.Any = None) -> t.Any:
    """Return a variable's value in the type that roles expect."""
    try:
        converted = _variables.convert(name, None if _omitted(value) else value)
    except Refusal as refusal:
        raise AnsibleFilterError(str(refusal)) from None
    return absent if converted is None else converted


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"role_variable": role_variable}
