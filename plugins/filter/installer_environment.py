# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter over ``plugin_utils/_operator/environment``; see the filter's documentation."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import environment

DOCUMENTATION = r"""
name: installer_environment
short_description: Make the environment of a payload's own installer
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Returns the environment in which the operator runs C(installCmd), C(uninstallCmd) and C(cleanupCmd) of a payload on a node.
  - C(NODE_NAME), C(DEBUG), C(SHIMS), C(DEFAULT_SHIM), C(SNAPSHOTTER_HANDLER_MAPPING), C(PULL_TYPE_MAPPING),
    C(CREATE_RUNTIMECLASSES) and C(CREATE_DEFAULT_RUNTIMECLASS) are always set, if need be to an empty value.
    O(environment_variables) win over them.
positional: _input
options:
  _input:
    description:
      - The RuntimeClasses to serve. Each is a mapping with C(name), C(snapshotter) and C(pulltype), or only a name.
      - The class C(kata) is the default class and stands for no shim.
    type: list
    elements: raw
    required: true
  node_name:
    description: The name of the node in the cluster.
    type: str
    required: true
  default_runtime_class:
    description: The class for which C(kata) is another name. As in the operator, it only has an effect if it begins with C(kata-).
    type: str
    default: ""
  debug:
    description: Whether the installer should turn debugging on.
    type: bool
    default: false
  environment_variables:
    description:
      - The user's own variables, as C(environmentVariables) in a C(CcRuntime). Each has a C(name), and C(value) or
        C(valueFrom), which can only be the node's name.
      - As in a container, V($(NAME\)) in a value stands for the value of a variable that is further up in the list.
    type: list
    elements: dict
    default: []
  create_runtime_classes:
    description: Whether the installer creates RuntimeClasses, as the operator tells it to. It needs C(kubectl) for this.
    type: bool
    default: true
seealso:
  - plugin: confidential_containers.runtime.ccruntime_variables
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the environment of an installer
  ansible.builtin.debug:
    msg: >-
      {{ [{'name': 'kata-qemu'}, {'name': 'kata-qemu-tdx', 'snapshotter': 'nydus'}]
      | confidential_containers.runtime.installer_environment(
      inventory_hostname, default_runtime_class='kata-qemu', environment_variables=[{'name': 'HTTPS_PROXY', 'value': 'http://proxy.example.org:3128'}]) }}
"""

RETURN = r"""
_value:
  description: The environment. It can hold secrets.
  type: dict
  sample:
    NODE_NAME: worker-1
    DEBUG: "false"
    DEFAULT_SHIM: qemu
    CREATE_DEFAULT_RUNTIMECLASS: "true"
    CREATE_RUNTIMECLASSES: "true"
    SHIMS: qemu qemu-tdx
    SNAPSHOTTER_HANDLER_MAPPING: qemu-tdx:nydus
    PULL_TYPE_MAPPING: ""
"""


def installer_environment(
    runtime_classes: Sequence[str | Mapping[str, str]],
    node_name: str,
    default_runtime_class: str = "",
    debug: bool = False,
    environment_variables: Sequence[Mapping[str, t.Any]] = (),
    create_runtime_classes: bool = True,
) -> dict[str, str]:
    """Return the environment."""
    try:
        made = environment.of_installer(
            runtime_classes,
            node_name,
            default_runtime_class=default_runtime_class,
            debug=boolean(debug),
            environment_variables=environment_variables,
            create_runtime_classes=boolean(create_runtime_classes),
        )
    except (Refusal, TypeError) as error:
        raise AnsibleFilterError(str(error)) from error
    # The input may come from a manifest, whose author may not be trusted: a template in it stays text.
    return t.cast("dict[str, str]", wrap_var(made))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"installer_environment": installer_environment}
