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

import dataclasses
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours, readiness
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.kept import (
    directory_of,
    find,
    keep,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.progress import Progress
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import (
    extract,
    layers,
    layouts,
    shims,
    streams,
    tarball,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import (
    Archive,
    Image,
    require_digest,
    select,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import of
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import REGISTRY, parse
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged as staged_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.commands import refuse_installed
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Payload
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

Identity = t.Mapping[str, t.Any]

_MAKE_ROOM = "Make room, or set coco_prefix to a directory of a larger file system."


class Extraction:
    """One call: find out what is there, extract what is not."""

    def __init__(self, module: AnsibleModule, state: State) -> None:
        self.params = module.params
        self.check_mode = module.check_mode
        self.state = state
        self.receipt = state.receipt()
        self.reference = parse(self.params["payload"])
        self.progress = Progress()
        #: See ``_payload.tarball.state_of``.
        self.source = ""
        #: Whether the engine has been looked at; for an archive that was sent, it was before.
        self.looked = bool(self.params["archive"])

    def run(self) -> dict[str, t.Any]:
        if self.params["whole"] and self.reference.transport == "tarball":
            raise Refusal(
                "a payload with an installer of its own, for coco_installer=payload",
                f"a release tarball, {self.reference}",
                "Name an image, or leave coco_installer out: a tarball is installed natively.",
            )
        if not self.params["whole"]:
            refuse_installed(self.receipt)
        if self.params["prefix"]:
            layouts.check_prefix(self.params["prefix"])
        if self.reference.transport == REGISTRY:
            return self._from_registry()
        on_node = self.params["payload_on"] == "node"
        relative = [path for path in self.reference.paths if not os.path.isabs(path)]
        if on_node and relative:
            raise Refusal(
                "an absolute path in coco_payload, for a file on the node", relative[0], "Write it from / on."
            )
        path = self.params["archive"] or ""
        identities = self.params["identities"]
        if not path and not on_node:
            # What is known here of the payload may be more than the controller knows before it has read it.
            return self._look(self._select([self._known(one["digest"]) or one for one in identities]))
        unread = False
        known = (
            _read_before(identities[0]) if identities and identities[0]["digest_kind"] in ("file", "directory") else ""
        )
        if (
            on_node
            and self.reference.transport in ("tarball", "dir")
            and all(map(os.path.exists, self.reference.paths))
        ):
            known = self._remembered()
            unread = not known and self._is_new()
            if not known:
                self._require_engine()
                if self.params["look"]:
                    return {"changed": False, "found": "absent"}
        plain, whole = self.params["plain"], self.params["whole"]
        with tarball.open_source(self.reference, path, known, plain, whole, unread) as source:
            return self._from(source)

    def _is_new(self) -> bool:
        """Tell whether tarballs or a directory may be unpacked before their digest is known. What was installed from the same path
        may be the same: to read it is enough then."""
        return not self.params["whole"] and self.receipt.payload.reference != str(self.reference)

    def _remembered(self) -> str:
        """Return the digest of what is on the node without reading it, if it is as it was when it was installed or staged; else ''."""
        if self.params["whole"]:
            return ""
        self.source = tarball.state_of(*self.reference.paths)
        if self.params["verify"]:
            return ""
        known = self.receipt.payload
        if not known.digest or known.source != self.source:
            staged = staged_module.of_source(self.state, self.source)
            return _read_before(staged.payload.plain()) if staged else ""
        return _read_before(known.plain())

    def _from_registry(self) -> dict[str, t.Any]:
        access = Access(*(self.params[f"registry_{part}"] for part in ("username", "password", "ca")))
        digest = self.reference.digest
        known = self._known(digest) if digest else None
        if known:
            result = self._look(self._select([known]))
            if result["found"] != "absent":
                return result
        else:
            self._require_engine()
        if self.params["look"]:
            return {"changed": False, "found": "absent"}
        driver = flavours.detect(_module.overrides(self.params))
        if not digest:  # the action plugin asks for nothing else then
            return {"changed": False, "digest": driver.registry(self.reference.image_name, access).resolve()}
        registry = driver.registry(self.reference.pinned(digest).image_name, access)
        with registry.pulled(hardware.architecture(), self._pulling) as store, Archive(
            self.reference, store, digest
        ) as source:
            return self._from(source)

    def _known(self, digest: str) -> Identity | None:
        """Return the payload with this among its digests that is installed, staged or kept as a whole."""
        if self.params["whole"]:
            kept = find(self.state, digest)
            return kept.images()[0].identity() if kept else None
        installed = self.receipt.payload
        if self.receipt.tree and digest in installed.chain:
            return installed.plain()
        staged = staged_module.find(self.state, digest)
        return staged.payload.plain() if staged else None

    def _pulling(self, arrived: int) -> None:
        self.progress.tell("pulled" if arrived else "the registry has sent nothing yet", arrived)

    def _from(self, source: Source) -> dict[str, t.Any]:
        images = source.images()
        if not images[0].digest:
            require_digest(self.params["digest"])
            self._require_place(0)
            return self._stage(source, images[0], images[0].identity())
        identity = self._select([image.identity() for image in images])
        result = self._look(identity)
        if result["found"] != "absent" or self.params["look"]:
            return result
        image = next(image for image in images if image.digest == identity["digest"])
        return self._keep(source, image, result) if self.params["whole"] else self._stage(source, image, identity)

    def _select(self, identities: t.Sequence[Identity]) -> Identity:
        return select(identities, hardware.architecture(), self.params["digest"])

    def _look(self, identity: Identity, unpacked: bool = False) -> dict[str, t.Any]:
        """Say what is on the node, without reading the payload. ``unpacked``: as it was already, to know its digest."""
        digest = identity["digest"]
        absent = {
            "changed": False,
            "found": "absent",
            "digest": digest,
            "digest_kind": identity["digest_kind"],
            "architecture": hardware.architecture(),
            "capabilities": hardware.capabilities(),
            "zstd": streams.has_zstd(),
        }
        if self.params["whole"]:
            kept = find(self.state, digest)
            return {**absent, "found": "kept", "contract": kept.contract_name} if kept else absent
        installed = self.receipt.payload
        if digest in installed.chain and self.receipt.tree:
            drifted = artifacts.drift(self.receipt.prefix, self.receipt.tree, self.params["verify"])
            if set(drifted.values()) <= ({"edited"} if self.params["edited_config"] == "keep" else set()):
                prefix = self.receipt.prefix
                if self._suffices(installed):
                    if self.source not in ("", installed.source) and not self.check_mode:
                        # It was read, and need not be read again.
                        self.state.write_receipt(
                            dataclasses.replace(
                                self.receipt, payload=dataclasses.replace(installed, source=self.source)
                            )
                        )
                    if not self.check_mode:
                        staged_module.forget(self.state)  # what runs that failed have left
                    edited = [os.path.join(prefix, path) for path in drifted]
                    return {**self._result("installed", installed, self.receipt.tree), "edited": edited}
        staged = staged_module.find(self.state, digest)
        if (
            staged
            and staged.prefix == self._prefix(layouts.by_name(staged.payload.layout))
            and self._suffices(staged.payload)
        ):
            if staged.keep != self.params["keep"] and not self.check_mode:
                staged_module.remember(self.state, dataclasses.replace(staged, keep=self.params["keep"]))
            return self._result("staged", staged.payload, staged.tree or {})
        if not unpacked:
            self._require_engine()
            self._require_place(identity.get("size", 0))
        return absent

    def _require_place(self, least: int) -> None:
        """Refuse a payload that has no room, or no way to its place."""
        self._require_room(least)
        if self.params["prefix"]:
            self._require_one_mount(os.path.normpath(self.params["prefix"]))

    def _require_one_mount(self, prefix: str) -> None:
        """Refuse what could not be renamed into its place. Where nothing is installed it is unknown what goes where."""
        installed = self.receipt.tree if self.receipt.prefix == prefix else {}
        artifacts.refuse_mounts(prefix, installed or None)

    def _require_room(self, least: int) -> None:
        """Refuse what cannot fit in any place that it may go to: the layout of a payload is not known before it is read."""
        prefixes = [self.params["prefix"]] if self.params["prefix"] else [one.prefix for one in layouts.LAYOUTS]
        places = [(files.missing_directories(prefix) or [f"{prefix}/x"])[0] for prefix in prefixes]
        parents = {os.path.dirname(place) for place in places}
        largest = max(parents, key=lambda path: os.statvfs(path).f_bavail * os.statvfs(path).f_frsize)
        files.require_room(largest, least, "the payload", _MAKE_ROOM)

    def _require_engine(self) -> None:
        """Refuse an engine that could not take the handlers: a payload would be read for nothing."""
        if self.params["require_engine"] and not self.params["whole"] and not self.looked:
            self.looked = True
            engine = _module.overrides(self.params)
            readiness.require(engine, self.params["config_mode"], self.params["enable_cri"])

    def _suffices(self, payload: Payload) -> bool:
        """Tell whether all components that are needed now were unpacked."""
        components = of(payload.plain())
        if components is None:
            return True
        asked, candidates = self.params["handlers"], self.params["candidates"]
        node = (hardware.architecture(), hardware.capabilities())
        return components.suffice(shims.chosen_shims(components.needed, asked, *node, candidates))

    def _shims_to_unpack(self, offered: t.Iterable[str]) -> list[str]:
        node = (hardware.architecture(), hardware.capabilities())
        asked, own, candidates = (self.params[name] for name in ("handlers", "own_handlers", "candidates"))
        return shims.shims_to_unpack(offered, asked, *node, own, candidates)

    def _keep(self, source: Source, image: Image, result: dict[str, t.Any]) -> dict[str, t.Any]:
        if self.check_mode:
            return {**result, "changed": True}
        self.state.create()
        require_room(self.state.directory, image, "Make room there.")
        limits, reference = layers.limits_of(self.params["limits"]), str(self.reference)
        try:
            kept = keep(self.state, source, image, reference, limits, self._reading(image, "kept"))
        except BaseException:
            files.remove_tree(directory_of(self.state, image.digest))
            staged_module.forget(self.state)
            raise
        return {**result, "changed": True, "contract": kept.contract_name}

    def _stage(self, source: Source, image: Image, identity: Identity) -> dict[str, t.Any]:
        how = extract.How(
            prefix=self.params["prefix"],
            architecture=hardware.architecture(),
            limits=layers.limits_of(self.params["limits"]),
            choose=self._shims_to_unpack,
            progress=self._reading(image, "unpacked"),
        )
        name = identity["digest"] or f"sha256:{self.source}"
        if self.check_mode:
            self._require_room(_least(image))
            found = extract.unpack(source, image, None, how)
            identity, there = self._identified(identity, found)
            if there:
                return there
            payload = self._payload(found, identity)
            return {**self._result("absent", payload, found.tree), "changed": True, "tree": found.tree}
        prefix = staged = ""

        def begin(layout: layouts.Layout) -> str:
            nonlocal prefix, staged
            prefix = self._prefix(layout)
            self._require_one_mount(prefix)
            staged = staged_module.staging(prefix, name)
            staged_module.begin(self.state, name, staged)
            require_room(staged, image, _MAKE_ROOM)
            return staged

        try:
            found = extract.unpack(source, image, begin, how)
            identity, there = self._identified(identity, found)
            if there:
                staged_module.discard(self.state, name)
                return there
            payload = self._payload(found, identity)
            result = self._result("absent", payload, found.tree)
            files.sync_filesystem(staged)
        except BaseException:
            staged_module.forget(self.state)
            raise
        complete = staged_module.Staged(payload, staged, prefix, found.tree, self.params["keep"])
        if name == identity["digest"]:
            staged_module.remember(self.state, complete)
        else:
            staged_module.complete(self.state, name, complete)
        return {**result, "changed": True}

    def _identified(self, identity: Identity, found: extract.Unpacked) -> tuple[Identity, dict[str, t.Any] | None]:
        """Return what a payload is now that it was unpacked; and what is to say of it when that is on the node already."""
        if identity["digest"]:
            return identity, None
        tarball.require_unchanged(self.reference.paths, self.source)
        with tarball.open_source(self.reference, digest=" ".join(found.digests)) as source:
            identity = self._select([image.identity() for image in source.images()])
        there = self._look(identity, unpacked=True)
        return identity, there if there["found"] != "absent" else None

    def _reading(self, image: Image, what: str) -> t.Callable[[int], None]:
        total = sum(layer.size or 0 for layer in image.layers)
        return lambda done: self.progress.tell(what, done, total)

    def _payload(self, found: extract.Unpacked, identity: Identity) -> Payload:
        layout = t.cast(layouts.Layout, found.layout)
        return Payload(
            **{key: identity[key] for key in ("digest", "digest_kind", "chain", "architecture")},
            parts=identity.get("parts", ()),
            reference=str(self.reference),
            layout=layout.name,
            components=dataclasses.asdict(found.components) if found.components else None,
            source=self.source,
        )

    def _prefix(self, layout: layouts.Layout) -> str:
        """Return where a payload goes, or refuse a second place."""
        prefix = os.path.normpath(self.params["prefix"] or layout.prefix)
        if self.receipt.tree and self.receipt.prefix != prefix:
            raise Refusal(
                f"an installation below {prefix}, or none",
                f"one below {self.receipt.prefix}",
                "Uninstall that one first, or set coco_prefix to that.",
            )
        return prefix

    def _result(self, found: str, payload: Payload, tree: Tree) -> dict[str, t.Any]:
        layout = layouts.by_name(payload.layout)
        prefix = self._prefix(layout)
        offered = shims.offered(tree, layout, prefix, of(payload.plain()))
        choice = shims.choose(
            offered,
            self.params["handlers"],
            hardware.architecture(),
            hardware.capabilities(),
            self.params["own_handlers"],
            self.params["candidates"],
        )
        return {
            "changed": False,
            "found": found,
            "digest": payload.digest,
            "digest_kind": payload.digest_kind,
            "layout": layout.name,
            "prefix": prefix,
            "handlers": [handler.table() for handler in choice.handlers],
            "excluded": dict(choice.excluded),
        }


def _read_before(payload: Identity) -> str:
    """Return the digests of a payload's files, for what opens them again."""
    return " ".join(payload.get("parts") or [payload["digest"]])


def require_room(directory: str, image: Image, remedy: str) -> None:
    """Refuse a payload that cannot fit: before a byte is written, its layers' sizes are the least that it takes."""
    files.require_room(directory, _least(image), "the payload", remedy)


def _least(image: Image) -> int:
    return sum(layer.size or 0 for layer in image.layers)


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec=_arguments.PAYLOAD_EXTRACT,
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        with _module.session(module) as (state, recovered):
            extraction = Extraction(module, state)
            try:
                result = extraction.run()
            finally:
                extraction.progress.end()
            return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
