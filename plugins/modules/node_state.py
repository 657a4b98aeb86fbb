#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_state
short_description: Remove what this collection remembers on a node
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - The last step of a cleanup. Removes staged payloads, what a pull that was killed left in the engine's content store, and
    the state directory C(/var/lib/confidential-containers) of a node on which nothing is installed.
options:
  state:
    description: Only V(absent); the directory comes by itself with the first installation.
    type: str
    default: absent
    choices: [absent]
extends_documentation_fragment:
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
- name: Forget an installation that was removed
  confidential_containers.runtime.node_state:
    state: absent
"""

RETURN = r"""
recovered:
  description: What was done about an interrupted run, V(finished) or V(rolled back); empty when there was none.
  returned: success
  type: str
"""

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _containerd,
    _files,
    _module,
    _payloads,
    _registry,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import is_installed


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "absent", "choices": ["absent"]},
            **_module.ENGINE_OPTIONS,
        },
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        with _module.session(module) as (state, recovered):
            receipt = state.receipt()
            if is_installed(receipt):
                raise Refusal(
                    "a node on which nothing of this collection is installed",
                    f"payload {receipt.get('payload', {}).get('digest', 'of an unknown digest')} "
                    f"below {receipt.get('prefix')}",
                    "Uninstall first: ansible-playbook confidential_containers.runtime.uninstall.",
                )
            changed = os.path.isdir(state.directory)
            if not module.check_mode:
                _payloads.forget(state)
                with contextlib.suppress(
                    Refusal
                ):  # without an engine there is nothing that a pull could have left in it
                    _registry.clean(_containerd.detect(_module.overrides(module.params)))
                _files.remove_tree(state.directory)
            return {"changed": bool(changed or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
