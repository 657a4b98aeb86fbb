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
  - Nothing is sent, read or written when the payload is installed and intact, or staged already.
  - Says which runtime handlers the payload offers, and why a node cannot run one.
options:
  payload:
    description: The payload, C(oci-archive:PATH[:IMAGE]) or C(docker-archive:PATH[:IMAGE]).
    type: str
    required: true
  payload_on:
    description: Where PATH is - on the V(controller), from which it is sent, or on the V(node) already.
    type: str
    default: controller
    choices: [controller, node]
  digest:
    description: The digest that the payload must have (of its index, its manifest or its configuration).
    type: str
    default: ""
  prefix:
    description: Where the artifacts will go. The prefix that the payload was built for by default.
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
  identities:
    description: Set by the action plugin - the images of an archive on the controller.
    type: list
    elements: dict
    default: []
  archive:
    description: Set by the action plugin - where it has put the archive on the node.
    type: path
extends_documentation_fragment:
  - confidential_containers.runtime._attributes
attributes:
  check_mode:
    support: full
    details: The archive is read where it lies; nothing is sent.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.payload_artifacts
"""

EXAMPLES = r"""
- name: Stage a payload from an archive on the controller
  confidential_containers.runtime.payload_extract:
    payload: oci-archive:/srv/payloads/runtime-payload.oci.tar
    digest: "{{ payload_digest | default('') }}"
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
  description: What V(RV(digest)) is the digest of, V(manifest), or V(config) for archives without a registry manifest.
  returned: success
  type: str
found:
  description: Whether the payload was V(installed), V(staged) or V(absent) when the module began.
  returned: success
  type: str
layout:
  description: The payload's layout.
  returned: success
  type: str
prefix:
  description: Where the artifacts go.
  returned: success
  type: str
handlers:
  description: The handlers to serve, as M(confidential_containers.runtime.runtime_handlers) takes them.
  returned: success
  type: list
  elements: dict
excluded:
  description: Handlers of the payload that are left out, with the reason.
  returned: success
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
  returned: success
  type: str
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _artifacts,
    _extract,
    _files,
    _layouts,
    _module,
    _node,
    _payloads,
    _shims,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._archive import Archive, select
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State


class Extraction:
    """One call: find out what is there, extract what is not."""

    def __init__(self, module: AnsibleModule, state: State) -> None:
        self.params = module.params
        self.check_mode = module.check_mode
        self.state = state
        self.receipt = state.receipt()

    def run(self) -> dict[str, t.Any]:
        if self.params["prefix"]:
            _layouts.check_prefix(self.params["prefix"], _layouts.LAYOUTS)
        _transport, _colon, rest = self.params["payload"].partition(":")
        path, _colon, image = rest.partition(":")
        if self.params["payload_on"] == "node" and not os.path.isabs(path):
            raise Refusal("an absolute path in coco_payload, for a file on the node", path, "Write it from / on.")
        archive = self.params["archive"] or (path if self.params["payload_on"] == "node" else "")
        identities = self.params["identities"]
        if not archive:
            return self._look(select(identities, _node.architecture(), self.params["digest"]))
        with Archive(archive, image) as opened:
            images = opened.images()
            identity = select([one.identity() for one in images], _node.architecture(), self.params["digest"])
            result = self._look(identity)
            if result["found"] != "absent":
                return result
            chosen = next(one for one in images if one.digest == identity["digest"])
            return self._stage(opened, chosen, identity)

    def _look(self, identity: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Say what is on the node, without reading the payload."""
        digest = identity["digest"]
        installed = self.receipt.get("payload", {})
        if installed.get("digest") == digest and self.receipt.get("tree"):
            drifted = _artifacts.drift(self.receipt["prefix"], self.receipt["tree"])
            if set(drifted.values()) <= {"edited"}:
                prefix = self.receipt["prefix"]
                result = self._result("installed", {**installed, "prefix": prefix, "tree": self.receipt["tree"]})
                return {**result, "edited": [os.path.join(prefix, path) for path in drifted]}
        staged = _payloads.find(self.state, digest)
        if staged:
            return self._result("staged", staged)
        return {
            "changed": False,
            "found": "absent",
            "digest": digest,
            "digest_kind": identity["digest_kind"],
            "architecture": _node.architecture(),
            "capabilities": _node.capabilities(),
        }

    def _stage(self, archive: Archive, image: t.Any, identity: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        if self.check_mode:
            found = _extract.unpack(archive, image, None)
            payload = self._payload(found, identity, staged="")
            return {**self._result("absent", payload), "changed": True, "tree": found.tree}
        # The prefix that is asked for may differ from the payload's own, which is refused once that is known.
        staged = _payloads.staging(self.params["prefix"] or _layouts.LAYOUTS[0].prefix, identity["digest"])
        _payloads.begin(self.state, identity["digest"], staged)
        try:
            found = _extract.unpack(archive, image, staged)
            payload = self._payload(found, identity, staged)
            result = self._result("absent", payload)
            _files.sync_filesystem(staged)
        except BaseException:
            _payloads.forget(self.state)
            raise
        _payloads.remember(self.state, payload)
        return {**result, "changed": True}

    def _payload(self, found: _extract.Unpacked, identity: t.Mapping[str, t.Any], staged: str) -> dict[str, t.Any]:
        layout = t.cast(_layouts.Layout, found.layout)
        return {
            **{key: identity[key] for key in ("digest", "digest_kind", "chain")},
            "reference": self.params["payload"],
            "layout": layout.name,
            "prefix": prefix_of(layout, self.params["prefix"], self.receipt),
            "staged": staged,
            "tree": found.tree,
        }

    def _result(self, found: str, payload: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        layout = _layouts.by_name(payload["layout"])
        prefix = prefix_of(layout, self.params["prefix"], self.receipt)
        offered = _shims.offered(payload["tree"], layout, prefix)
        choice = _shims.choose(
            offered, self.params["handlers"], _node.architecture(), _node.capabilities(), self.params["own_handlers"]
        )
        return {
            "changed": False,
            "found": found,
            "digest": payload["digest"],
            "digest_kind": payload["digest_kind"],
            "layout": layout.name,
            "prefix": prefix,
            "handlers": [handler.table() for handler in choice.handlers],
            "excluded": dict(choice.excluded),
        }


def prefix_of(layout: _layouts.Layout, asked: str | None, receipt: t.Mapping[str, t.Any]) -> str:
    """Return where a payload goes, or refuse a place where it would not work."""
    _layouts.check_prefix(asked or layout.prefix, [layout])
    if receipt.get("tree") and receipt["prefix"] != layout.prefix:
        raise Refusal(
            f"an installation below {layout.prefix}, or none",
            f"one below {receipt['prefix']}",
            "Uninstall that one first.",
        )
    return layout.prefix


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "payload": {"type": "str", "required": True},
            "payload_on": {"type": "str", "default": "controller", "choices": ["controller", "node"]},
            "digest": {"type": "str", "default": ""},
            "prefix": {"type": "path"},
            "handlers": {"type": "list", "elements": "str", "default": []},
            "own_handlers": {"type": "list", "elements": "str", "default": []},
            "identities": {"type": "list", "elements": "dict", "default": []},
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        with _module.session(module) as (state, recovered):
            result = Extraction(module, state).run()
            return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
