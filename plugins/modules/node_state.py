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
  - This is the last step of a cleanup. It is for a node on which nothing is installed.
  - Puts back what commands of a payload have left changed, see M(confidential_containers.runtime.payload_command). Then makes
    the engine serve what it is configured with.
  - Removes staged payloads, the remains of a killed pull in the engine's content store, and the state directory
    C(/var/lib/confidential-containers).
options:
  state:
    description: Only V(absent). The first installation creates the state directory.
    type: str
    default: absent
    choices: [absent]
extends_documentation_fragment:
  - confidential_containers.runtime._restart
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
- name: Remove what is remembered about an installation that was removed
  confidential_containers.runtime.node_state:
    state: absent
"""

RETURN = r"""
edited:
  description:
    - Files that a payload brought, or that its commands left behind, and that somebody has edited since. They stay. What was
      kept aside for them stays, too.
  returned: success
  type: list
  elements: str
recovered:
  description: How an interrupted run was ended, V(finished) or V(rolled back). Empty if there was none.
  returned: success, and failure if there was an interrupted run
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._cleanup import Cleanup


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=_arguments.NODE_STATE,
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        how = (_module.overrides(module.params), module.params["engine_timeout"])
        with _module.session(module) as (state, recovered):
            cleanup = Cleanup(state, *how)
            cleanup.refuse_installed()
            changed = cleanup.is_needed() or bool(recovered)
            result = {"changed": changed, "recovered": recovered, "edited": cleanup.staying()}
            if module.check_mode:
                return result
            run = cleanup.bring_back()
            if not run:
                cleanup.forget()
                return result
        _handover.carried_out(run)  # outside of the session, because the unit takes the lock itself
        with _module.session(module) as (state, again):
            cleanup = Cleanup(state, *how)
            # The lock was free meanwhile, so another run may have installed something.
            cleanup.refuse_installed()
            cleanup.forget()
        return {**result, "recovered": recovered or again}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
