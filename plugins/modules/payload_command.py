#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: payload_command
short_description: Run a command that a payload brings, as the operator would, and undo it if it breaks the node
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Runs the installer of a payload image that M(confidential_containers.runtime.payload_extract) keeps on the node as a whole.
    The installer runs as root, as a service of the node's systemd. The image is its root file system, and the volumes of the
    contract are mounted. Both C(nsenter) and C(systemctl) over the mounted bus reach the node's systemd.
  - On nodes of k3s, RKE2, k0s, MicroK8s and CRI-O, the known installers find the directory of the engine's configuration where
    they look for it, and the stub of C(kubectl) tells them the engine. An installer that could not configure the engine is
    refused.
  - Before the command runs, the module records the engine's configuration, the prefixes of payloads, C(/etc/systemd/system),
    and the writable volumes in C(/etc), C(/opt) and C(/usr/local). Everything that changes there while the command runs counts
    as changed by the command.
  - Afterwards, the module asks the engine whether it serves. If it does not, or if the command fails, the module puts
    everything back, and restarts the engine with it.
  - If the engine does not serve what it is configured with in the end, it is restarted once more.
  - A command that never exits is ended when its work is done. That is when it only waits (C(sleep infinity)), when the engine
    was restarted and serves the handlers, or when O(done) appears.
  - If the same command was run in the same way before, and what it has installed is there and served, nothing happens.
options:
  command:
    description: The command of the contract to run.
    type: str
    required: true
    choices: [pre_install, install, uninstall, post_uninstall, cleanup]
  digest:
    description:
      - The payload's digest, as M(confidential_containers.runtime.payload_extract) returned it.
      - By default, the digest of the installed payload.
    type: str
  commands:
    description:
      - Programs and arguments, by command, if they differ from those that are known for the payload's layout.
      - What is given with V(install) is remembered for the other commands.
    type: dict
    default: {}
  volumes:
    description:
      - Volumes, as C(installerVolumes) in a C(CcRuntime). This is a list of mappings with C(name), and C(hostPath) or
        C(emptyDir).
      - By default, those that were given with V(install), or those that are known for the payload's layout.
    type: list
    elements: dict
  volume_mounts:
    description: Where the volumes are mounted, as C(installerVolumeMounts) in a C(CcRuntime).
    type: list
    elements: dict
  environment:
    description:
      - Environment variables, by name. Their values are not shown. If a variable has a name like a secret, its value is masked
        in the output of the command.
    type: json
  kubectl:
    description:
      - What the command gets when it calls C(kubectl).
      - V(none) is the image's own C(kubectl), without a kubeconfig. V(stub) is a program that answers what installers ask, and
        does nothing. A path is that of a kubeconfig on the node, for the image's own C(kubectl).
      - By default, what was given with V(install), or V(none).
    type: str
  done:
    description: A path on the node that appears when the command's work is done, for a command that goes on running.
    type: path
    default: ""
  handlers:
    description: The handlers that the engine must serve after V(install). By default, at least one handler that it did not serve before.
    type: list
    elements: str
    default: []
  timeout:
    description: The seconds that the command may take.
    type: int
    default: 600
  ignore_running_pods:
    description: Run V(uninstall) although pods use the handlers.
    type: bool
    default: false
extends_documentation_fragment:
  - confidential_containers.runtime._limits
  - confidential_containers.runtime._restart
  - confidential_containers.runtime._attributes
  - confidential_containers.runtime._engine
attributes:
  check_mode:
    support: partial
    details:
      - Nobody can know what a stranger's program would do. Check mode shows its arguments, its mounts, and the names of its
        environment variables.
  diff_mode:
    support: full
    details:
      - Shows the paths that were added, changed and removed, not their contents.
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.payload_extract
"""

EXAMPLES = r"""
- name: Keep a payload image with an installer of its own
  confidential_containers.runtime.payload_extract:
    payload: oci-archive:/srv/payloads/runtime-payload.oci.tar
    whole: true
  register: payload

- name: Run its installer
  confidential_containers.runtime.payload_command:
    command: install
    digest: "{{ payload.digest }}"
    environment:
      NODE_NAME: "{{ inventory_hostname }}"
    kubectl: stub

- name: Run its uninstaller
  confidential_containers.runtime.payload_command:
    command: uninstall
"""

RETURN = r"""
argv:
  description:
    - The program and its arguments, as they were given. C($(NAME\)) in them stands for the value of an environment variable,
      which only the started process gets.
  returned: if it is known
  type: list
  elements: str
handlers:
  description: The handlers that the engine serves because of the payload.
  returned: if the command was run
  type: list
  elements: str
served:
  description: All handlers that the engine serves.
  returned: if the command was run
  type: list
  elements: str
restarted:
  description: Whether the engine was restarted, by the command or after it.
  returned: if the command was run
  type: bool
files:
  description: The paths that the command has V(added), V(changed) or V(removed).
  returned: if the command was run
  type: dict
output:
  description: The last lines that the command printed. The node's log has all lines.
  returned: if the command was run
  type: list
  elements: str
status:
  description: The exit status of the command. V(0) if the command was ended because its work was done.
  returned: if the command was run
  type: int
warning:
  description: What went wrong after the work was done. Empty if nothing went wrong.
  returned: if the command was run
  type: str
recovered:
  description: How an interrupted run was ended, V(finished) or V(rolled back). Empty if there was none.
  returned: success, and failure if there was an interrupted run
  type: str
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import Request, Task
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import command, transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Kind


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=_arguments.PAYLOAD_COMMAND,
        supports_check_mode=True,
    )
    params = module.params

    if params["timeout"] < 1:
        module.fail_json(
            msg=f"Expected coco_installer_timeout to be at least 1 second. Found {params['timeout']}. "
            "Leave it out: 600 seconds are enough for most installers."
        )

    def act() -> dict[str, t.Any]:
        result: dict[str, t.Any] = {"changed": False}
        journal = None
        with _module.session(module) as (state, recovered):
            driver = flavours.detect(_module.overrides(params))
            missing = command.missing(params, state)
            if missing:
                module.warn(missing)
                return {"changed": bool(recovered), "recovered": recovered}
            requested = command.requested(params, state, driver.engine)
            if not transaction.is_done(state.receipt(), requested, driver):
                transaction.check(state, driver, requested, params["ignore_running_pods"])
                result.update(command.foreseen(requested))
                if not module.check_mode:
                    journal = Journal(state, Kind.INSTALLER)
                    how = (params["engine_timeout"], params["ignore_running_pods"])
                    request = Request(journal.run, driver.engine, Task.COMMAND, dataclasses.asdict(requested), *how)
                    _handover.leave_request(state, journal, request)
        # The unit takes the lock itself, so it must be free here.
        if journal:
            outcome = _handover.carried_out(journal.run)
            lines = [f"{word} {path}\n" for path, word in outcome["files"].items()]
            result.update({**outcome, "diff": {"prepared": "".join(lines)}})
            if outcome["warning"]:
                module.warn(outcome["warning"])
        return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
