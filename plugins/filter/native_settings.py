# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter over ``plugin_utils/_operator/native``; see the filter's documentation."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import native

DOCUMENTATION = r"""
name: native_settings
short_description: What the environment of a payload's own installer means for a native installation
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - A native installation (C(coco_installer=native)) does not run the payload's own installer. If a role variable does the same
    as an environment variable of that installer, this filter returns its value. For each other environment variable, it returns
    a note that says what to do.
  - C(INSTALLATION_PREFIX) becomes C(coco_prefix). C(SHIMS) becomes C(coco_handlers). C(SNAPSHOTTER_HANDLER_MAPPING) becomes
    C(snapshotter) in C(coco_handler_overrides).
  - Notes contain no values, because these can be secrets.
positional: _input
options:
  _input:
    description: The variables, as C(environmentVariables) in a C(CcRuntime).
    type: list
    elements: dict
    required: true
  runtime_classes:
    description: The RuntimeClasses. Each is a mapping with C(name) and C(pulltype), or only a name.
    type: list
    elements: raw
    default: []
  debug:
    description: Whether an installer should turn debugging on.
    type: bool
    default: false
  hooks:
    description: Whether there are hooks, which get the variables, too. If so, there are no notes about variables that no known installer reads.
    type: bool
    default: false
seealso:
  - plugin: confidential_containers.runtime.installer_environment
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what has no effect on a native installation
  ansible.builtin.debug:
    msg: "{{ ([{'name': 'AGENT_NO_PROXY', 'value': '10.0.0.0/8'}] | confidential_containers.runtime.native_settings).notes }}"
"""

RETURN = r"""
_value:
  description: What a native installation uses of the variables.
  type: dict
  contains:
    prefix:
      description: Where to install. Empty if no variable says it.
      type: str
      sample: /srv/opt/kata
    handlers:
      description: The handlers to serve. Empty if no variable names them.
      type: list
      elements: str
      sample: [kata-qemu]
    overrides:
      description: The snapshotters of handlers, as in C(coco_handler_overrides).
      type: dict
      sample: {kata-qemu: {snapshotter: nydus}}
    notes:
      description: What has no effect, and what to do instead.
      type: list
      elements: str
"""


def native_settings(
    environment_variables: Sequence[Mapping[str, t.Any]],
    runtime_classes: Sequence[str | Mapping[str, str]] = (),
    debug: bool = False,
    hooks: bool = False,
) -> dict[str, t.Any]:
    """Return the settings."""
    try:
        found = native.settings(environment_variables, runtime_classes, boolean(debug), boolean(hooks))
    except (Refusal, TypeError) as error:
        raise AnsibleFilterError(str(error)) from error
    # The input may come from a manifest, whose author may not be trusted: a template in it stays text.
    return t.cast("dict[str, t.Any]", wrap_var(dataclasses.asdict(found)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"native_settings": native_settings}
