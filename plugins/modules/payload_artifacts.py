#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: payload_artifacts
short_description: Install or remove the artifacts of a payload
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Installs the artifacts that M(confidential_containers.runtime.payload_extract) has staged. Files are renamed into place, so
    that running sandboxes keep the files that they have open. Only files that differ are replaced.
  - A change opens a run. M(confidential_containers.runtime.runtime_handlers) then commits the run, and the old files are
    removed. Or it rolls the run back, and the old files come back. If a run is never committed, the next run rolls it back.
  - Files that this collection did not put there are never overwritten, see O(conflicts). Configuration files that the admin
    edited are kept, see O(edited_config).
options:
  state:
    description: V(present) installs the artifacts of the payload, V(absent) removes all artifacts of this collection.
    type: str
    default: present
    choices: [present, absent]
  digest:
    description: The payload's digest, as M(confidential_containers.runtime.payload_extract) returned it. Required with O(state=present).
    type: str
  prefix:
    description: Where the artifacts go. Required with O(state=present).
    type: path
  tree:
    description:
      - For check mode, the artifacts of a payload that is not on the node yet, as
        M(confidential_containers.runtime.payload_extract) returned them.
    type: dict
    default: {}
  conflicts:
    description:
      - What to do if files of the user's own are in the place of artifacts.
      - V(refuse) fails before anything is changed. V(keep_aside) appends C(.kept) to their names until the artifacts are
        removed.
    type: str
    default: refuse
    choices: [refuse, keep_aside]
  edited_config:
    description:
      - What to do about configuration files that the admin has edited.
      - V(keep) leaves them as they are and reports them. V(replace) puts the payload's own files in their place.
      - After a cleanup, nobody remembers which files a payload brought. A file that is found in the place of a configuration
        file is then treated in the same way. With V(replace) or O(conflicts=keep_aside), it is kept aside.
    type: str
    default: keep
    choices: [keep, replace]
extends_documentation_fragment:
  - confidential_containers.runtime._verify
  - confidential_containers.runtime._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the names of files, not their contents.
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.payload_extract
  - module: confidential_containers.runtime.runtime_handlers
"""

EXAMPLES = r"""
- name: Stage a payload
  confidential_containers.runtime.payload_extract:
    payload: oci-archive:/srv/payloads/runtime-payload.oci.tar
  register: payload

- name: Install its artifacts
  confidential_containers.runtime.payload_artifacts:
    digest: "{{ payload.digest }}"
    prefix: "{{ payload.prefix }}"
    tree: "{{ payload.tree | default({}) }}"
  register: artifacts

- name: Serve its handlers, and commit the artifacts
  confidential_containers.runtime.runtime_handlers:
    handlers: "{{ payload.handlers }}"
    run: "{{ artifacts.run }}"

- name: Remove the handlers
  confidential_containers.runtime.runtime_handlers:
    handlers: []

- name: Remove the artifacts
  confidential_containers.runtime.payload_artifacts:
    state: absent
"""

RETURN = r"""
run:
  description: The run that was opened, for M(confidential_containers.runtime.runtime_handlers). Empty if nothing changed.
  returned: success
  type: str
files:
  description: How many files were added, replaced, removed and kept. Files are removed only when the run is committed.
  returned: success
  type: dict
  sample: {added: 12, replaced: 0, removed: 0, kept: 0}
edited:
  description:
    - Configuration files that the admin has edited and that stay as they are. If no installation of this collection is known to
      have brought a file, it counts as edited.
    - With O(state=absent), all files of the user's own that stay, whenever the artifacts were removed.
  returned: success
  type: list
  elements: str
recovered:
  description: How an interrupted run was ended, V(finished) or V(rolled back). Empty if there was none.
  returned: success, and failure if there was an interrupted run
  type: str
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import installation


def _wanted(params: t.Mapping[str, t.Any]) -> installation.Wanted:
    return installation.Wanted(
        digest=params["digest"],
        prefix=os.path.normpath(params["prefix"]),
        tree=params["tree"],
        keep_aside=params["conflicts"] == "keep_aside",
        keep_edited=params["edited_config"] == "keep",
        verify=params["verify"],
    )


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=_arguments.PAYLOAD_ARTIFACTS,
        required_if=[("state", "present", ("digest", "prefix"))],
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        with _module.session(module) as (state, recovered):
            if module.params["state"] == "present":
                result = installation.present(state, _wanted(module.params), module.check_mode, module.warn)
            else:
                result = installation.absent(state, module.check_mode, module.warn)
            return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
