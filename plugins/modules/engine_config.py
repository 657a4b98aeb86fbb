#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_config
short_description: Read or replace a container engine's configuration as one transaction
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - This is the node's half of M(confidential_containers.runtime.runtime_handlers). Playbooks call that module, which edits the
    texts on the controller, where a TOML library is.
  - With O(state=applied), the engine's own C(config dump) tries the new files first. Then the change is written to the journal,
    the files are replaced atomically, the engine is restarted once, and its CRI is asked what it serves. If anything fails, the
    previous bytes come back.
options:
  state:
    description:
      - V(read) returns the engine's files.
      - V(applied) replaces them.
      - V(restored) ends the open run that O(run) names, including its artifacts. The run is rolled back, unless it was
        committed already.
    type: str
    required: true
    choices: [read, applied, restored]
  files:
    description: The files to replace, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path of the file.
        type: path
        required: true
      expected:
        description: The digest (C(sha256:)) of the file when it was read. Empty if there was no file.
        type: str
        default: ""
      content:
        description: The new content, in base64. Without this option, the file is removed.
        type: str
      before:
        description: The content without anything of this collection, in base64. It comes back when the handlers are removed.
        type: str
      builtin:
        description: Handlers of the engine's own defaults that O(files[].content) writes out, by name. The values are their tables.
        type: dict
        default: {}
      disabled:
        description: Plugins that O(files[].content) enables, with their names in the file's C(disabled_plugins).
        type: list
        elements: str
        default: []
  trial:
    description: Files for a trial run of the engine, by name. The values are their contents, in base64.
    type: dict
    default: {}
  handlers:
    description: The handlers of this collection that the engine serves afterwards, by name. The values are their tables.
    type: dict
    default: {}
  proxy_plugins:
    description: The proxy plugins of this collection that the engine knows afterwards, by name. The values are their tables.
    type: dict
    default: {}
  links:
    description: Links to shims, by path. The values are their targets.
    type: dict
    default: {}
  returned:
    description: Handlers of the user's own that come back when those of this collection are removed.
    type: list
    elements: str
    default: []
  run:
    description: The run of M(confidential_containers.runtime.payload_artifacts) to commit together with the handlers.
    type: str
    default: ""
  ignore_running_pods:
    description: Remove handlers although pods use them.
    type: bool
    default: false
extends_documentation_fragment:
  - confidential_containers.runtime._restart
  - confidential_containers.runtime._attributes
  - confidential_containers.runtime._engine
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The action plugin of M(confidential_containers.runtime.runtime_handlers) makes the diff.
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.runtime_handlers
"""

EXAMPLES = r"""
- name: Read the configuration of this node's engine
  confidential_containers.runtime.engine_config:
    state: read
  register: engine
  no_log: true # the text can hold registry passwords
"""

RETURN = r"""
engine:
  description: The engine, its version, unit and paths.
  returned: success, unless O(state=restored)
  type: dict
  sample: {name: containerd, version: 1.7.24, unit: containerd.service, config: /etc/containerd/config.toml}
files:
  description:
    - All files that the engine reads and that this collection writes, by path. The values are their contents, in base64, or
      null if there is no such file.
  returned: O(state=read)
  type: dict
before:
  description:
    - The previous contents of the files that are still as this collection left them, by path, in base64. The value is null if
      there was no file.
  returned: O(state=read)
  type: dict
edited:
  description: The files in which this collection has made edits.
  returned: O(state=read)
  type: list
  elements: str
builtin:
  description: Handlers of the engine's own defaults that were written out, by name. The values are their tables.
  returned: O(state=read)
  type: dict
disabled:
  description: Plugins that were enabled, by the path of the file whose C(disabled_plugins) named them.
  returned: O(state=read)
  type: dict
owned:
  description: This collection's handlers in the files, by name. The values are their tables as they were written.
  returned: O(state=read)
  type: dict
proxy_plugins:
  description: This collection's proxy plugins in the files, by name. The values are their tables as they were written.
  returned: O(state=read)
  type: dict
dead:
  description:
    - Handlers that are still configured, although what they need was removed with this collection's artifacts, by name. The
      values are the paths that are missing.
  returned: O(state=read)
  type: dict
unstartable:
  description:
    - Shims of this collection's handlers on file systems from which nothing can be started any more, by path. The values have
      C(found) and C(remedy).
  returned: O(state=read)
  type: dict
dump:
  description: What the engine makes of its configuration.
  returned: O(state=read)
  type: str
served:
  description: The handlers that the running engine serves. Empty if its CRI is disabled.
  returned: success, unless O(state=restored)
  type: list
  elements: str
kubelet:
  description: The directory of the node's kubelet.
  returned: O(state=read)
  type: str
remarks:
  description: What an admin has to know about handlers of this collection on this engine.
  returned: O(state=read)
  type: list
  elements: str
restarted:
  description: Whether the engine was (or would be) restarted.
  returned: O(state=applied)
  type: bool
links:
  description:
    - With O(state=applied), the links that were (or would be) set, by path. The values are their targets, or null for links
      that are removed.
    - With O(state=read), the links of this collection, by path. The values are their targets.
  returned: success, unless O(state=restored)
  type: dict
recovered:
  description: How an interrupted run was ended, V(finished) or V(rolled back). Empty if there was none.
  returned: success, and failure if there was an interrupted run
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import Change
from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import Request, Task
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import reading, transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.begin import opened


def _plan(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: params[key] for key in ("files", "trial", "handlers", "proxy_plugins", "links", "returned")}


def _result(outcome: transaction.ChangeOutcome) -> dict[str, t.Any]:
    return {
        "changed": outcome.changed,
        "restarted": outcome.restarted,
        "served": list(outcome.served),
        "links": dict(outcome.links),
    }


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=_arguments.ENGINE_CONFIG,
        supports_check_mode=True,
    )
    params = module.params

    def act() -> dict[str, t.Any]:
        result: dict[str, t.Any] = {"changed": False}
        journal = None
        with _module.session(module, params["run"]) as (state, recovered):
            if params["state"] == "restored":
                recovered, told = _handover.recover(state)
                for words in told:
                    module.warn(words)
                return {"changed": bool(recovered), "recovered": recovered}
            driver = flavours.detect(_module.overrides(params), restarting=params["state"] == "applied")
            result["engine"] = driver.engine.facts()
            if params["state"] == "read":
                result.update(reading.read(state, driver))
            elif module.check_mode:
                change = Change.from_plain(params)
                outcome, _present = transaction.check(
                    state, driver, change, None, params["ignore_running_pods"], dry=True
                )
                result.update(_result(outcome))
            else:
                journal = opened(state, params["run"])
                how = (params["engine_timeout"], params["ignore_running_pods"])
                request = Request(journal.run, driver.engine, Task.CHANGE, _plan(params), *how)
                _handover.leave_request(state, journal, request)
        # The unit takes the lock itself, so it must be free here.
        if journal:
            result.update(_result(transaction.ChangeOutcome(**_handover.carried_out(journal.run))))
        return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
