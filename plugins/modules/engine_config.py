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
  - The node's half of M(confidential_containers.runtime.runtime_handlers), which is what playbooks call. It edits the
    texts on the controller, where a TOML library is.
  - With O(state=applied) the new files are tried with the engine's own C(config dump), journalled, written atomically,
    the engine is restarted once and its CRI is asked what it serves. Whatever fails, the bytes of before come back.
options:
  state:
    description:
      - V(read) returns the engine's files, V(applied) replaces them.
      - V(restored) ends the open run named in O(run), artifacts included - rolled back, unless it was committed already.
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
        description: Absolute path.
        type: path
        required: true
      expected:
        description: Digest (C(sha256:)) of the file when it was read; empty when it was not there.
        type: str
        default: ""
      content:
        description: New content, base64. The file is removed without it.
        type: str
      before:
        description: Content without anything of this collection, base64, which comes back when the handlers go.
        type: str
      builtin:
        description: Handlers of the engine's own defaults that O(files[].content) writes out, name to table.
        type: dict
        default: {}
      disabled:
        description: Plugins that O(files[].content) enables, as the file's C(disabled_plugins) named them.
        type: list
        elements: str
        default: []
  trial:
    description: Files for a trial run of the engine, name to content (base64).
    type: dict
    default: {}
  handlers:
    description: The handlers of this collection that the engine serves afterwards, name to table.
    type: dict
    default: {}
  proxy_plugins:
    description: The proxy plugins of this collection that the engine knows afterwards, name to table.
    type: dict
    default: {}
  links:
    description: Links to shims, path to target.
    type: dict
    default: {}
  returned:
    description: Handlers of the user's that come back where those of this collection go.
    type: list
    elements: str
    default: []
  run:
    description: The run of M(confidential_containers.runtime.payload_artifacts) to commit together with the handlers.
    type: str
    default: ""
  ignore_running_pods:
    description: Drop handlers although pods use them.
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
- name: Read what the engine of this node is configured with
  confidential_containers.runtime.engine_config:
    state: read
  register: engine
  no_log: true # registry passwords can be in the text
"""

RETURN = r"""
engine:
  description: The engine, its version, unit and paths.
  returned: success, unless O(state=restored)
  type: dict
  sample: {name: containerd, version: 1.7.24, unit: containerd.service, config: /etc/containerd/config.toml}
files:
  description: All that the engine reads and we write, path to content (base64), null where there is no such file.
  returned: O(state=read)
  type: dict
before:
  description: Of each file that is as this collection left it, the content of before (base64, null for no file).
  returned: O(state=read)
  type: dict
edited:
  description: The files that this collection has edited.
  returned: O(state=read)
  type: list
  elements: str
builtin:
  description: Handlers of the engine's own defaults that were written out, name to table.
  returned: O(state=read)
  type: dict
disabled:
  description: Plugins that were enabled, by the file whose C(disabled_plugins) named them.
  returned: O(state=read)
  type: dict
owned:
  description: This collection's handlers in the files, name to table as it was written.
  returned: O(state=read)
  type: dict
proxy_plugins:
  description: This collection's proxy plugins in the files, name to table as it was written.
  returned: O(state=read)
  type: dict
dead:
  description:
    - Handlers that are configured although what they need was removed with this collection's artifacts, name to the path that
      is missing.
  returned: O(state=read)
  type: dict
unstartable:
  description: Shims of this collection's handlers on file systems from which nothing can be started any more, path to C(found) and C(remedy).
  returned: O(state=read)
  type: dict
dump:
  description: What the engine makes of its configuration.
  returned: O(state=read)
  type: str
served:
  description: The handlers that the running engine serves; none where its CRI is disabled.
  returned: success, unless O(state=restored)
  type: list
  elements: str
restarted:
  description: Whether the engine was (or would be) restarted.
  returned: O(state=applied)
  type: bool
links:
  description:
    - With O(state=applied), the links that were (or would be) set, path to target, null for those that go.
    - With O(state=read), those that are ours, path to target.
  returned: success, unless O(state=restored)
  type: dict
recovered:
  description: What was done about an interrupted run, V(finished) or V(rolled back); empty when there was none.
  returned: success, and on failure where there was one
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
        # The unit takes the lock itself.
        if journal:
            result.update(_result(transaction.ChangeOutcome(**_handover.carried_out(journal.run))))
        return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
