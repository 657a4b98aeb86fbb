#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: payload_command
short_description: Run a command that a payload brings, as the operator would, and undo it when it breaks the node
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Runs the installer of a payload image that M(confidential_containers.runtime.payload_extract) keeps on the node as a whole. The
    image is the root file system; the command runs in it as root, as a service of the node's systemd, with the volumes of the
    contract mounted. Both C(nsenter) and C(systemctl) over the mounted bus reach the node's systemd.
  - What the engine's configuration, the prefixes of payloads, C(/etc/systemd/system), and the writable volumes in C(/etc), C(/opt) and
    C(/usr/local) hold is recorded before. What changes there while the command is at work counts as changed by it.
  - Afterwards the engine is asked whether it serves. If it does not, or the command fails, all is put back, and the engine is
    restarted with it.
  - An engine that does not serve what it is configured with in the end is restarted once more.
  - A command that never exits is ended when its work is done - when it only waits (C(sleep infinity)), when the engine was
    restarted and serves the handlers, or when O(done) appears.
  - Nothing happens when the same command was run in the same way before, and what it has installed is there and served.
options:
  command:
    description: Which command of the contract to run.
    type: str
    required: true
    choices: [pre_install, install, uninstall, post_uninstall, cleanup]
  digest:
    description:
      - The payload's digest, as M(confidential_containers.runtime.payload_extract) returned it. By default, the one that was
        installed.
    type: str
  commands:
    description:
      - The programs and arguments, by command, where they differ from those that the payload's layout is known for. Those that are
        given with V(install) are remembered for the other commands.
    type: dict
    default: {}
  volumes:
    description:
      - Volumes, as a C(CcRuntime) has them in C(installerVolumes) - a list of mappings with C(name), and C(hostPath) or C(emptyDir).
        By default those that were given with V(install), or those that the payload's layout is known for.
    type: list
    elements: dict
  volume_mounts:
    description: Where the volumes are mounted, as a C(CcRuntime) has it in C(installerVolumeMounts).
    type: list
    elements: dict
  environment:
    description:
      - Variables, by name. They are not shown, and what a command prints of those that are called like a secret is masked.
    type: json
  kubectl:
    description:
      - What a command finds that calls C(kubectl) - V(none), its own one without a configuration; V(stub), one that answers what
        installers ask, and does nothing; or the path of a kubeconfig on the node.
      - By default what was said with V(install), or V(none).
    type: str
  done:
    description: A path on the node that appears when the command's work is done, although it goes on running.
    type: path
    default: ""
  handlers:
    description: The handlers that the engine is to serve after V(install). By default at least one that it did not serve before.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that the command may take.
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
      - What a stranger's program would do is unknown. Its arguments, mounts and the names of its variables are shown.
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

- name: Let it install itself
  confidential_containers.runtime.payload_command:
    command: install
    digest: "{{ payload.digest }}"
    environment:
      NODE_NAME: "{{ inventory_hostname }}"
    kubectl: stub

- name: Let it remove itself again
  confidential_containers.runtime.payload_command:
    command: uninstall
"""

RETURN = r"""
argv:
  description:
    - The program and its arguments, as they were given. C($(NAME)) in them stands for the value of a variable, which only the
      started process gets.
  returned: when it is known
  type: list
  elements: str
handlers:
  description: The handlers that the engine serves because of the payload.
  returned: when the command was run
  type: list
  elements: str
served:
  description: All handlers that the engine serves.
  returned: when the command was run
  type: list
  elements: str
restarted:
  description: Whether the engine was restarted, by the command or after it.
  returned: when the command was run
  type: bool
files:
  description: The paths that the command has V(added), V(changed) or V(removed).
  returned: when the command was run
  type: dict
output:
  description: The last lines that the command has printed. All of them are in the node's journal.
  returned: when the command was run
  type: list
  elements: str
status:
  description: Its exit status; 0 for a command that was ended when its work was done.
  returned: when the command was run
  type: int
warning:
  description: What went wrong after the work was done; empty when nothing did.
  returned: when the command was run
  type: str
recovered:
  description: What was done about an interrupted run, V(finished) or V(rolled back); empty when there was none.
  returned: success, and on failure where there was one
  type: str
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import Request, Task
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import command, transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.commands import UNDOES
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
            requested = command.requested(params, state)
            if not transaction.is_done(state.receipt(), requested, driver):
                transaction.check(state, driver, requested, params["ignore_running_pods"])
                result.update(command.foreseen(requested))
                if not module.check_mode:
                    journal = Journal(state, Kind.INSTALLER)
                    how = (params["engine_timeout"], params["ignore_running_pods"])
                    request = Request(journal.run, driver.engine, Task.COMMAND, dataclasses.asdict(requested), *how)
                    _handover.leave_request(state, journal, request)
        # The unit takes the lock itself.
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
