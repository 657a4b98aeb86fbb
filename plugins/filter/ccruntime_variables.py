# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter over ``plugin_utils/_operator/manifest``; see the filter's documentation."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.manifest import parse

DOCUMENTATION = r"""
name: ccruntime_variables
short_description: Convert a CcRuntime manifest to role variables
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Checks a manifest of the operator's custom resource C(CcRuntime) (C(confidentialcontainers.org/v1beta1)) against its CRD.
    Returns the variables of this collection's roles that have the same meaning.
  - What the CRD would refuse is an error that names the place. So is everything that only Kubernetes can do, for example a
    volume with a secret in it.
  - The spellings of older versions are accepted. Fields that have no effect are reported.
positional: _input
options:
  _input:
    description:
      - The text of a YAML stream with exactly one C(CcRuntime) in it, as C(kubectl kustomize) and C(kubectl get -o yaml) print
        it. Or a mapping that is a C(CcRuntime).
      - At most 1 MiB.
    type: raw
    required: true
seealso:
  - plugin: confidential_containers.runtime.installer_environment
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Install with a manifest of the operator
  hosts: coco_nodes
  vars:
    manifest: "{{ lookup('ansible.builtin.file', 'ccruntime.yaml') | confidential_containers.runtime.ccruntime_variables }}"
  tasks:
    - name: Show which fields have no effect
      ansible.builtin.debug:
        msg: "{{ manifest.notes }}"
      run_once: true

    - name: Install its payload, and serve its handlers
      ansible.builtin.include_role:
        name: confidential_containers.runtime.install
      vars:
        coco_payload: "{{ manifest.variables.coco_payload }}"
        coco_handlers: "{{ manifest.variables.coco_handlers | default([]) }}"
"""

RETURN = r"""
_value:
  description: What the manifest says.
  type: dict
  contains:
    variables:
      description:
        - The role variables that the manifest sets. An empty list, mapping or text sets nothing, as in the operator.
        - C(coco_environment_variables) and the hooks can hold secrets.
      type: dict
      sample:
        coco_payload: quay.io/kata-containers/kata-deploy:3.15.0
        coco_handlers: [kata-clh, kata-qemu-tdx]
        coco_handler_overrides: {kata-qemu-tdx: {snapshotter: nydus}}
        coco_install_cmd: [/opt/kata-artifacts/scripts/kata-deploy.sh, install]
        coco_debug: false
    runtime_classes:
      description: The RuntimeClasses, including those of the older C(runtimeClassNames). Each is listed once.
      type: list
      elements: dict
      contains:
        name:
          description: The name of the class, which is also the name of its handler. C(kata) is the class of the default handler.
          type: str
        snapshotter:
          description: The snapshotter of the class, or empty.
          type: str
        pulltype:
          description: How images of the class are pulled, or empty.
          type: str
      sample:
        - {name: kata-clh, snapshotter: "", pulltype: ""}
        - {name: kata-qemu-tdx, snapshotter: nydus, pulltype: guest-pull}
    default_runtime_class:
      description:
        - The class for which the class C(kata) is another name, or empty.
        - If an older manifest lists C(kata) and names no default, this is C(kata-qemu), if the manifest lists it, too.
      type: str
      sample: kata-qemu
    runtime_name:
      description: C(kata) or C(enclave-cc).
      type: str
      sample: kata
    node_selector:
      description: The labels of the nodes that the manifest is for. Empty if the manifest has none.
      type: dict
      sample: {node.kubernetes.io/worker: ""}
    notes:
      description: The fields that have no effect, and why.
      type: list
      elements: str
      sample: ["spec.config.installType is not used: a payload is always an image."]
"""


def ccruntime_variables(manifest: str | Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what a manifest says."""
    try:
        parsed = parse(manifest)
    except Refusal as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal
    # A template in a manifest stays text: the author of the manifest may not be trusted on the controller.
    return t.cast("dict[str, t.Any]", wrap_var(dataclasses.asdict(parsed)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ccruntime_variables": ccruntime_variables}
