# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What payload_extract does on a node: find out which payload it is, look whether it is there, and read it when it is not.

``Extraction`` decides. ``_extraction.present`` knows what is there, ``_extraction.staging`` reads a payload.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours, readiness
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.place import Place
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.present import (
    Present,
    digests,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import (
    Identity,
    Request,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.staging import (
    Progress,
    Staging,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import kept
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, streams, tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import (
    Archive,
    require_digest,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import REGISTRY
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import commands
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

if t.TYPE_CHECKING:
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source

#: The result for a payload that nobody has read, so that its digest is unknown.
_ABSENT = {"changed": False, "found": "absent"}


class Extraction:
    """One call of the module, for one request."""

    def __init__(self, request: Request, state: State, progress: Progress) -> None:
        self._request = request
        self._state = state
        self._receipt = state.receipt()
        self._progress = progress
        self._place = Place(request, self._receipt)
        self._present = Present(request, state, self._receipt, self._place)
        #: The state of the files on the node that the payload comes from: see ``_payload.tarball.state_of``.
        self._origin = ""
        #: Whether the engine was looked at already. Before an archive is sent, the controller has the node look.
        self._looked = bool(request.archive)

    def run(self) -> dict[str, t.Any]:
        """Return the module's result."""
        request = self._request
        self._refuse()
        if request.reference.transport == REGISTRY:
            return self._from_registry()
        if request.on_node:
            return self._from_node()
        if request.archive:
            return self._from_archive()
        # The node may know more of the payload than the controller, which has not read it yet.
        known = [self._present.identity(one["digest"]) or one for one in request.identities]
        return self._look(request.select(known))

    def _refuse(self) -> None:
        """Refuse a request that is wrong whatever the payload is."""
        request = self._request
        if request.whole and request.reference.transport == "tarball":
            raise Refusal(
                "a payload with an installer of its own, for coco_installer=payload",
                f"a release tarball, {request.reference}",
                "Name an image, or leave coco_installer out: a tarball is installed natively.",
            )
        if not request.whole:
            commands.refuse_installed(self._receipt)
        if request.prefix:
            layouts.check_prefix(request.prefix)

    def _from_registry(self) -> dict[str, t.Any]:
        request = self._request
        reference, digest = request.reference, request.reference.digest
        known = self._present.identity(digest) if digest else None
        if known:
            result = self._look(request.select([known]))
            if result["found"] != "absent":
                return result
        else:
            self._require_engine()
        if request.look:
            return dict(_ABSENT)
        driver = flavours.detect(request.engine)
        if not digest:  # then the action plugin asks only for the digest
            return {"changed": False, "digest": driver.registry(reference.image_name, request.access).resolve()}
        registry = driver.registry(reference.pinned(digest).image_name, request.access)
        with registry.pulled(hardware.architecture(), self._pulling) as store, Archive(
            reference, store, digest
        ) as source:
            return self._from(source)

    def _pulling(self, arrived: int) -> None:
        self._progress("pulled" if arrived else "the registry has sent nothing yet", arrived, 0)

    def _from_node(self) -> dict[str, t.Any]:
        """Read files that are on the node. Files that have not changed since an earlier run are known, and are not read."""
        request, reference = self._request, self._request.reference
        relative = [path for path in reference.paths if not os.path.isabs(path)]
        if relative:
            raise Refusal(
                "an absolute path in coco_payload, for a file on the node", relative[0], "Write it from / on."
            )
        known, unread = "", False
        if reference.transport in ("tarball", "dir") and all(map(os.path.exists, reference.paths)):
            known = self._known_digests()
            if not known:
                self._require_engine()
                if request.look:
                    return dict(_ABSENT)
                # Unpacking at once spares reading it twice. But if it may be what is installed, its digest may be enough.
                unread = not request.whole and not self._present.may_be_installed()
        with tarball.open_source(reference, "", known, request.plain, request.whole, unread) as source:
            return self._from(source)

    def _known_digests(self) -> str:
        """Return the digests of tarballs or a directory on the node if they are known without reading them; else ''."""
        if self._request.whole:
            return ""
        self._origin = tarball.state_of(*self._request.reference.paths)
        return "" if self._request.verify else self._present.digests_of(self._origin)

    def _from_archive(self) -> dict[str, t.Any]:
        """Read what the controller has sent. It knows the digests already."""
        request = self._request
        first: Identity = request.identities[0] if request.identities else {"digest_kind": ""}
        known = digests(first) if first["digest_kind"] in ("file", "directory") else ""
        with tarball.open_source(request.reference, request.archive, known, request.plain, request.whole) as source:
            return self._from(source)

    def _from(self, source: Source) -> dict[str, t.Any]:
        images = source.images()
        staging = Staging(self._request, self._state, self._place, self._present, self._progress, self._origin)
        if not images[0].digest:
            require_digest(self._request.digest)
            self._place.require(0)
            return staging.stage(source, images[0], images[0].identity())
        identity = self._request.select([image.identity() for image in images])
        result = self._look(identity)
        if result["found"] != "absent" or self._request.look:
            return result
        image = next(image for image in images if image.digest == identity["digest"])
        if self._request.whole:
            return {**result, **staging.keep(source, image)}
        return staging.stage(source, image, identity)

    def _look(self, identity: Identity) -> dict[str, t.Any]:
        """Say what is on the node, without reading the payload. Refuse a payload that the node could not take."""
        digest = identity["digest"]
        absent = {
            **_ABSENT,
            "digest": digest,
            "digest_kind": identity["digest_kind"],
            "architecture": self._request.selection.architecture,
            "capabilities": self._request.selection.capabilities,
            "zstd": streams.has_zstd(),
        }
        if self._request.whole:
            whole = kept.find(self._state, digest)
            return {**absent, "found": "kept", "contract": whole.contract_name} if whole else absent
        there = self._present.find(digest, self._origin)
        if there:
            return there
        self._require_engine()
        self._place.require(identity.get("size", 0))
        return absent

    def _require_engine(self) -> None:
        """Refuse an engine that could not take the handlers, before a payload is read for nothing."""
        request = self._request
        if request.require_engine and not request.whole and not self._looked:
            self._looked = True
            readiness.require(request.engine, request.config_mode, request.enable_cri)
