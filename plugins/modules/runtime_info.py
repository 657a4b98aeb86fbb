#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_info
short_description: Tell what a node serves, what is installed on it, and what stands in the way
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Looks at the container engine (through its CRI), at the capabilities of the node, and at what this collection has installed.
  - Changes nothing, and fails only if a privilege is missing. RV(problems) says what is wrong.
extends_documentation_fragment:
  - confidential_containers.runtime._readiness
  - confidential_containers.runtime._verify
  - confidential_containers.runtime._attributes
  - confidential_containers.runtime._engine
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Look at the node
  confidential_containers.runtime.runtime_info:
  register: node

- name: Stop if handlers cannot be installed
  ansible.builtin.assert:
    that: node.problems | length == 0
    fail_msg: "{{ node.problems | join(' ') }}"
"""

RETURN = r"""
engine:
  description: The engine, its version, unit and paths. Empty if there is no engine that can be configured.
  returned: success
  type: dict
  sample: {name: containerd, version: 1.7.24, unit: containerd.service, config: /etc/containerd/config.toml, active: true}
config_schema:
  description: The schema (C(version)) of the engine's main file. V(0) if there is no file, or if the file does not say it.
  returned: success
  type: int
  sample: 2
config_mode:
  description: How handlers would be written, V(drop_in) or V(in_place). Empty if they could not be written.
  returned: success
  type: str
cri:
  description: Whether the CRI is ready. If not, C(reason) is V(disabled), or what the engine says.
  returned: success
  type: dict
  sample: {ready: true, reason: ""}
served:
  description: The handlers that the running engine serves.
  returned: success
  type: list
  elements: str
  sample: [kata-qemu, runc]
pods:
  description: The running pods of each handler, as namespace/name. The name of the default handler is empty.
  returned: success
  type: dict
  sample: {kata-qemu: [default/demo]}
architecture:
  description: The node's architecture, as image manifests spell it.
  returned: success
  type: str
  sample: amd64
capabilities:
  description:
    - What shims can need and what can be seen on a node.
    - C(kvm), C(mshv) (Microsoft's hypervisor), C(sev), C(snp), C(tdx), C(se), C(sgx), and C(gpu), which is an NVIDIA GPU that a
      virtual machine can get because it is bound to vfio-pci.
  returned: success
  type: dict
  sample: {kvm: true, mshv: false, sev: false, snp: false, tdx: false, se: false, sgx: false, gpu: false}
installed:
  description: Whether anything of this collection is installed.
  returned: success
  type: bool
receipt:
  description:
    - What is installed. The payload, the prefix, the handlers, the number of files, the version of the collection, and the
      times.
    - C(installer) is V(native) or V(payload). C(commands) are the commands of payloads that were run.
  returned: success
  type: dict
drift:
  description: Artifacts that are not as they were installed, by path. The values are V(missing), V(changed), or V(edited) by the admin.
  returned: success
  type: dict
excluded:
  description: Handlers that the installed payload offers and this node does not serve, by name. The values are the reasons.
  returned: success
  type: dict
  sample: {kata-qemu-snp: "needs AMD SEV-SNP, which this node does not have"}
remembers:
  description: Whether something is installed, or was installed and no cleanup has followed.
  returned: success
  type: bool
left_behind:
  description:
    - What commands of a payload have left behind on a node on which nothing is installed, by path. The values are V(added),
      V(changed) or V(removed).
    - A cleanup puts it back.
  returned: success
  type: dict
stays:
  description:
    - Files of the user's own that stay, although nothing of this collection has a place there any more. These are configuration
      files of a payload that the user edited, and files that were kept aside and could not come back because of these.
  returned: success
  type: list
  elements: str
waiting:
  description:
    - Payloads that are on the node and not installed, from runs that failed or were interrupted, by digest. The values say
      where they are, and how many bytes they take.
    - The next installation uses or removes them. A cleanup removes them.
  returned: success
  type: dict
  sample: {"sha256:2f18...": {path: /opt/.confidential-containers/2f18, bytes: 851443712}}
remarks:
  description: What an admin has to know about handlers of this collection on this engine, for example before an upgrade.
  returned: success
  type: list
  elements: str
interrupted:
  description: Whether a run was interrupted, so that the next run must roll it back or finish it.
  returned: success
  type: bool
problems:
  description: What stands in the way of installing handlers.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import readiness
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.plugins.module_utils._status import status


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=_arguments.RUNTIME_INFO,
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        params = module.params
        engine, stand = readiness.look(_module.overrides(params), params["config_mode"], params["enable_cri"])
        installation, wrong = status(State(), params["verify"])
        return {
            "changed": False,
            **engine,
            "architecture": hardware.architecture(),
            "capabilities": hardware.capabilities(),
            **installation,
            "problems": [*map(str, stand), *wrong],
        }

    _module.enter(module, act)


if __name__ == "__main__":
    main()
