#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: payload_extract
short_description: Verify a runtime payload image and stage its artifacts on the node
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Reads a payload image, checks its manifest and every layer against their digests, and extracts the artifacts to a
    directory beside the prefix, from which M(confidential_containers.runtime.payload_artifacts) installs them.
  - Nothing is sent or written when the payload is installed and intact, or staged already, and nothing read but what tells its digest.
  - Says which runtime handlers the payload offers, and why a node cannot run one.
options:
  payload:
    description:
      - The payload, in the notation of containers-transports(5).
      - C(docker://[HOST/]REPOSITORY[:TAG][@DIGEST]) is pulled by the node's own containerd, without unpacking it there. What
        names no transport is such a reference. A tag is resolved once per run of a playbook, for all nodes.
      - C(oci-archive:PATH[:IMAGE]) and C(docker-archive:PATH[:IMAGE]) are image archives, C(oci:PATH[:IMAGE]) is a directory
        with an OCI layout.
      - C(docker-daemon:IMAGE) is an image of a Docker engine on the controller, which is pulled there if it lacks it, and saved.
      - C(tarball:PATH) is a release tarball, plain or compressed with gzip, xz or zstd; C(dir:PATH) an extracted payload.
      - A release that comes in several tarballs is a list of C(tarball:PATH). They go to one prefix, and none of them may have another
        content than the others in the same place.
    type: raw
    required: true
  payload_on:
    description:
      - Where PATH is - on the V(controller), from which it is sent, or on the V(node) already.
      - V(node) for C(docker://), which the node pulls, otherwise V(controller).
    type: str
    choices: [controller, node]
  digest:
    description:
      - The digest that the payload must have, of its index, its manifest or its configuration; of a tarball, that of the file; of
        several ones, what C(sha256sum FILE1 FILE2 | cut -d' ' -f1 | sort | sha256sum) prints, with C(sha256:) before it.
    type: str
    default: ""
  prefix:
    description:
      - Where the artifacts will go. The prefix that the payload was built for by default.
      - For another one, paths in configuration files and absolute links are rewritten, and QEMU gets a wrapper that tells it
        where its firmware is.
    type: path
  own_handlers:
    description: Names in O(handlers) that may be missing from the payload, because they are handlers of the user's own.
    type: list
    elements: str
    default: []
  handlers:
    description: The handlers to choose. Every handler that the node can run by default.
    type: list
    elements: str
    default: []
  candidates:
    description:
      - The handlers to choose from when O(handlers) is empty. Those of them that the payload lacks or the node cannot run are left
        out, with the reason. All that the payload offers by default.
    type: list
    elements: str
    default: []
  edited_config:
    description: With V(replace), a payload with a configuration file that the admin has edited is not taken for installed.
    type: str
    default: keep
    choices: [keep, replace]
  whole:
    description:
      - Keep the whole image on the node, for M(confidential_containers.runtime.payload_command), instead of staging its artifacts.
        Its layers are verified and stay as they are stored, until the cleanup.
    type: bool
    default: false
  keep:
    description:
      - Keep the payload's artifacts on the node when they are installed, as a copy, so that a later repair or installation need
        not fetch them again. They go when another payload is installed, or with a cleanup.
    type: bool
    default: false
  require_engine:
    description:
      - Refuse a payload that is not on the node yet, before it is sent there or read there, when the node's engine could not take
        its handlers, see RV(confidential_containers.runtime.runtime_info#module:problems). O(config_mode) and O(enable_cri) are for that.
      - Not for O(whole).
    type: bool
    default: false
  serve:
    description:
      - What M(confidential_containers.runtime.runtime_handlers) will be told - C(overrides), C(proxy_plugins), C(conflicts). With it,
        what needs no payload to be refused is refused before one is sent or read - an engine's files that cannot be edited, a
        handler of the user's with a name of O(handlers), a key that no handler's table has.
    type: dict
    default: {}
  look:
    description: Set by the action plugin - whether to tell only if the payload is on the node.
    type: bool
    default: false
  registry_username:
    description:
      - The user for C(docker://). User and password go to the registry itself only; mirrors that the engine has configured are
        not asked then.
    type: str
    default: ""
  registry_password:
    description: The password or token of O(registry_username).
    type: str
    default: ""
  registry_ca:
    description:
      - The certificates of the CA that the registry's own is signed by, as text (PEM), or the path of such a file on the
        controller. Those that the engine has configured for the registry are known anyway.
    type: str
    default: ""
  identities:
    description: Set by the action plugin - the images of an archive on the controller.
    type: list
    elements: dict
    default: []
  archive:
    description: Set by the action plugin - where it has put the archive on the node.
    type: path
  plain:
    description: Set by the action plugin - layers that it has decompressed, by their digests the digests of what they are now.
    type: dict
    default: {}
extends_documentation_fragment:
  - confidential_containers.runtime._readiness
  - confidential_containers.runtime._verify
  - confidential_containers.runtime._limits
  - confidential_containers.runtime._attributes
  - confidential_containers.runtime._engine
attributes:
  check_mode:
    support: full
    details:
      - Archives are read where they lie; nothing is sent.
      - A payload in a registry is pulled, to know what is in it; nothing of it stays.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.payload_artifacts
"""

EXAMPLES = r"""
- name: Stage a payload from a registry
  confidential_containers.runtime.payload_extract:
    payload: docker://registry.example.org/kata-deploy:3.25.0
    registry_username: robot
    registry_password: "{{ vault_registry_password }}"
    registry_ca: /etc/ssl/certs/example-ca.pem

- name: Stage a payload from an archive on the controller
  confidential_containers.runtime.payload_extract:
    payload: oci-archive:/srv/payloads/runtime-payload.oci.tar
    digest: "{{ payload_digest | default('') }}"
  register: payload

- name: Stage a release that comes in two tarballs
  confidential_containers.runtime.payload_extract:
    payload:
      - tarball:/srv/payloads/kata-static-4.1.0-amd64.tar.zst
      - tarball:/srv/payloads/kata-go-static-4.1.0-amd64.tar.zst
  register: payload

- name: Install it
  confidential_containers.runtime.payload_artifacts:
    digest: "{{ payload.digest }}"
    prefix: "{{ payload.prefix }}"
    tree: "{{ payload.tree | default({}) }}"
  register: artifacts

- name: Serve its handlers, which commits the installation
  confidential_containers.runtime.runtime_handlers:
    handlers: "{{ payload.handlers }}"
    run: "{{ artifacts.run }}"
"""

RETURN = r"""
digest:
  description: The digest that identifies the payload.
  returned: success
  type: str
  sample: sha256:2f18...
digest_kind:
  description:
    - What V(RV(digest)) is the digest of, V(manifest), or V(config) for archives without a registry manifest; V(file) for a
      tarball or several ones, and V(directory) for the names, modes, times and contents of an extracted payload.
  returned: success
  type: str
found:
  description: Whether the payload was V(installed), V(staged), V(kept) as a whole, or V(absent) when the module began.
  returned: success
  type: str
contract:
  description: Of an image that is kept as a whole, which installer it brings; empty for one that nobody knows.
  returned: with O(whole), when the image is on the node
  type: str
  sample: confidential-containers
layout:
  description: The payload's layout.
  returned: success, without O(whole)
  type: str
prefix:
  description: Where the artifacts go.
  returned: success, without O(whole)
  type: str
handlers:
  description: The handlers to serve, as M(confidential_containers.runtime.runtime_handlers) takes them.
  returned: success, without O(whole)
  type: list
  elements: dict
excluded:
  description: Handlers of the payload that are left out, with the reason.
  returned: success, without O(whole)
  type: dict
  sample: {kata-qemu-snp: "needs AMD SEV-SNP, which this node does not have"}
edited:
  description: Configuration files that the admin has edited.
  returned: when the payload is installed
  type: list
  elements: str
tree:
  description: In check mode, the artifacts of a payload that is not on the node.
  returned: check mode
  type: dict
recovered:
  description: What was done about an interrupted run, V(finished) or V(rolled back); empty when there was none.
  returned: success, and on failure where there was one
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.extraction import Extraction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import Request
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.progress import Progress


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=_arguments.PAYLOAD_EXTRACT, supports_check_mode=True)
    progress = Progress()

    def act() -> dict[str, t.Any]:
        with _module.session(module) as (state, recovered):
            request = Request.of(module.params, _module.overrides(module.params), module.check_mode)
            try:
                result = Extraction(request, state, progress.tell).run()
            finally:
                progress.end()
            return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
