# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""See the filter's documentation."""

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
  - Checks a manifest of the operator's custom resource C(CcRuntime) (C(confidentialcontainers.org/v1beta1)) against its CRD and
    returns the variables of this collection's roles that it stands for.
  - What the CRD would refuse is an error that names its place, and so is what only Kubernetes can do, for example a volume with a
    secret in it. The spellings of older versions are accepted, and fields that nothing becomes of are reported.
positional: _input
options:
  _input:
    description:
      - The text of a YAML stream with exactly one C(CcRuntime) in it, as C(kubectl kustomize) and C(kubectl get -o yaml) print it,
        or a mapping that is one.
      - At most 1 MiB.
    type: raw
    required: true
seealso:
  - plugin: confidential_containers.runtime.installer_environment
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Install what a manifest of the operator stands for
  hosts: coco_nodes
  vars:
    manifest: "{{ lookup('ansible.builtin.file', 'ccruntime.yaml') | confidential_containers.runtime.ccruntime_variables }}"
  tasks:
    - name: Show what nothing becomes of
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
        - They can hold secrets, in C(coco_environment_variables) and in the hooks.
      type: dict
      sample:
        coco_payload: quay.io/kata-containers/kata-deploy:3.15.0
        coco_handlers: [kata-clh, kata-qemu-tdx]
        coco_handler_overrides: {kata-qemu-tdx: {snapshotter: nydus}}
        coco_install_cmd: [/opt/kata-artifacts/scripts/kata-deploy.sh, install]
        coco_debug: false
    runtime_classes:
      description: The RuntimeClasses, each once, those of the old C(runtimeClassNames) included.
      type: list
      elements: dict
      contains:
        name:
          description: The class, which has the name of its handler. C(kata) is the class of the default handler.
          type: str
        snapshotter:
          description: Its snapshotter, or nothing.
          type: str
        pulltype:
          description: How its images are pulled, or nothing.
          type: str
      sample:
        - {name: kata-clh, snapshotter: "", pulltype: ""}
        - {name: kata-qemu-tdx, snapshotter: nydus, pulltype: guest-pull}
    default_runtime_class:
      description:
        - The class that the class C(kata) is another name of, or nothing. Where an older manifest lists C(kata) without saying so,
          that is C(kata-qemu), if it is there.
      type: str
      sample: kata-qemu
    runtime_name:
      description: C(kata) or C(enclave-cc).
      type: str
      sample: kata
    node_selector:
      description: The labels of the nodes that the manifest means. Empty if it does not say.
      type: dict
      sample: {node.kubernetes.io/worker: ""}
    notes:
      description: What nothing becomes of, and why.
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
    # Templates in a manifest are text: whoever wrote it may not be trusted on the controller.
    return t.cast("dict[str, t.Any]", wrap_var(dataclasses.asdict(parsed)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"ccruntime_variables": ccruntime_variables}
