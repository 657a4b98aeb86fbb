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
  - Reads a payload image, checks its manifest and every layer against their digests, and extracts the artifacts to a directory
    beside the prefix. M(confidential_containers.runtime.payload_artifacts) installs them from there.
  - If the payload is installed and intact, or staged already, nothing is sent or written. Then the module reads only what tells
    the payload's digest.
  - Returns which handlers the payload offers, and why a node cannot run one of them.
options:
  payload:
    description:
      - The payload, in the notation of containers-transports(5).
      - C(docker://[HOST/]REPOSITORY[:TAG][@DIGEST]) is an image in a registry. The node's own containerd pulls it, without
        unpacking it there. A reference without a transport means the same. A tag is resolved once per run of a playbook, for
        all nodes.
      - C(oci-archive:PATH[:IMAGE]) and C(docker-archive:PATH[:IMAGE]) are image archives. C(oci:PATH[:IMAGE]) is a directory
        with an OCI layout.
      - C(docker-daemon:IMAGE) is an image of the controller's Docker engine. The engine pulls the image if it lacks it, and
        saves it.
      - C(tarball:PATH) is a release tarball, plain or compressed with gzip, xz or zstd. C(dir:PATH) is an extracted payload.
      - For a release that comes in several tarballs, give a list of C(tarball:PATH). They go to one prefix. If two of them have
        different contents in the same place, the payload is refused.
    type: raw
    required: true
  payload_on:
    description:
      - Where PATH is. V(controller) sends it to the node. V(node) means that it is on the node already.
      - By default V(node) for C(docker://), which the node pulls, and V(controller) for everything else.
    type: str
    choices: [controller, node]
  digest:
    description:
      - The digest that the payload must have. This is the digest of its index, its manifest or its configuration.
      - For a tarball, it is the digest of the file. For several tarballs, it is what C(sha256sum FILE1 FILE2 | cut -d' ' -f1 |
        sort | sha256sum) prints, with C(sha256:) before it.
    type: str
    default: ""
  prefix:
    description:
      - Where the artifacts will go. By default, the prefix that the payload was built for.
      - For another prefix, paths in configuration files and absolute links are rewritten, and QEMU gets a wrapper that tells it
        where its firmware is.
    type: path
  own_handlers:
    description: Names in O(handlers) that the payload may lack, because they are handlers of the user's own.
    type: list
    elements: str
    default: []
  handlers:
    description: The handlers to choose. By default, every handler that the node can run.
    type: list
    elements: str
    default: []
  candidates:
    description:
      - The handlers to choose from if O(handlers) is empty. By default, all that the payload offers.
      - Handlers that the payload lacks or that the node cannot run are left out, with the reason.
    type: list
    elements: str
    default: []
  edited_config:
    description: With V(replace), a payload does not count as installed if the admin has edited one of its configuration files.
    type: str
    default: keep
    choices: [keep, replace]
  whole:
    description:
      - Keep the whole image on the node, for M(confidential_containers.runtime.payload_command), instead of staging its
        artifacts.
      - The layers of the image are verified, and stay as they are stored until the cleanup.
    type: bool
    default: false
  keep:
    description:
      - When the artifacts are installed, keep a copy of them on the node. A later repair or installation then need not fetch
        them again.
      - The copy is removed when another payload is installed, or by a cleanup.
    type: bool
    default: false
  require_engine:
    description:
      - If the node's engine could not take the payload's handlers, refuse a payload that is not on the node yet, before it is
        sent there or read there. The reasons are those in RV(confidential_containers.runtime.runtime_info#module:problems).
        O(config_mode) and O(enable_cri) are used for this.
      - Has no effect with O(whole).
    type: bool
    default: false
  serve:
    description:
      - C(overrides), C(proxy_plugins) and C(conflicts), as M(confidential_containers.runtime.runtime_handlers) will get them.
      - With this option, some mistakes are refused before a payload is sent or read. These are files of the engine that cannot
        be edited, a handler of the user's own with a name in O(handlers), and a key that no handler's table has.
    type: dict
    default: {}
  look:
    description: Set by the action plugin. Only tell whether the payload is on the node.
    type: bool
    default: false
  registry_username:
    description:
      - The user for C(docker://).
      - User and password are only sent to the registry itself. Mirrors that the engine has configured are not asked.
    type: str
    default: ""
  registry_password:
    description: The password or token of O(registry_username).
    type: str
    default: ""
  registry_ca:
    description:
      - The certificates of the CA that signed the registry's certificate, as text (PEM), or the path of such a file on the
        controller.
      - Certificates that the engine has configured for the registry are used in any case.
    type: str
    default: ""
  identities:
    description: Set by the action plugin. The images of an archive on the controller.
    type: list
    elements: dict
    default: []
  archive:
    description: Set by the action plugin. The path of the archive on the node.
    type: path
  plain:
    description: Set by the action plugin. The layers that it has decompressed, by digest. The values are the digests of the decompressed layers.
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
      - Archives are read where they are. Nothing is sent.
      - A payload in a registry is pulled, to find out what is in it, and removed again.
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

- name: Serve its handlers, and commit the installation
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
    - What RV(digest) is the digest of.
    - V(manifest), or V(config) for archives without a registry manifest. V(file) for one or several tarballs. V(directory) for
      the names, modes, times and contents of an extracted payload.
  returned: success
  type: str
found:
  description: What was on the node when the module began. The payload was V(installed), V(staged), V(kept) as a whole, or V(absent).
  returned: success
  type: str
contract:
  description: For an image that is kept as a whole, the installer that it brings. Empty if the installer is not known.
  returned: with O(whole), if the image is on the node
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
  description: The handlers to serve, for M(confidential_containers.runtime.runtime_handlers).
  returned: success, without O(whole)
  type: list
  elements: dict
excluded:
  description: Handlers of the payload that are left out, by name. The values are the reasons.
  returned: success, without O(whole)
  type: dict
  sample: {kata-qemu-snp: "needs AMD SEV-SNP, which this node does not have"}
edited:
  description: Configuration files that the admin has edited.
  returned: if the payload is installed
  type: list
  elements: str
tree:
  description: In check mode, the artifacts of a payload that is not on the node.
  returned: check mode
  type: dict
recovered:
  description: How an interrupted run was ended, V(finished) or V(rolled back). Empty if there was none.
  returned: success, and failure if there was an interrupted run
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
