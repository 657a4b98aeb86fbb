# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which payloads are on the node already. Nothing is read but the receipt and the records of staged and kept payloads."""

from __future__ import annotations

import os
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.place import Place
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import (
    Identity,
    Request,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import kept
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import of
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Payload, Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

if t.TYPE_CHECKING:
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree


class Present:
    """The payloads that are installed, staged, or kept as a whole."""

    def __init__(self, request: Request, state: State, receipt: Receipt, place: Place) -> None:
        self._request = request
        self._state = state
        self._receipt = receipt
        self._place = place

    def identity(self, digest: str) -> Identity | None:
        """Return the payload that has this digest among its own; None where there is none."""
        if self._request.whole:
            whole = kept.find(self._state, digest)
            return whole.images()[0].identity() if whole else None
        installed = self._receipt.payload
        if self._receipt.tree and digest in installed.chain:
            return installed.plain()
        found = staged.find(self._state, digest)
        return found.payload.plain() if found else None

    def digests_of(self, origin: str) -> str:
        """Return the digests of the files with the state ``origin`` (see ``_payload.tarball.state_of``); '' when unknown.

        They are known if the files had the same state when they were installed or staged.
        """
        installed = self._receipt.payload
        if installed.digest and installed.source == origin:
            return digests(installed.plain())
        found = staged.of_source(self._state, origin)
        return digests(found.payload.plain()) if found else ""

    def may_be_installed(self) -> bool:
        """Tell whether the files may be what is installed although their state differs, because that came from the same path."""
        return self._receipt.payload.reference == str(self._request.reference)

    def find(self, digest: str, origin: str) -> dict[str, t.Any] | None:
        """Return the module's result for an installed or staged payload that can be used as it is; None where there is none.

        ``origin`` is the state of the files that were read to know the digest; '' for none.
        """
        return self._installed(digest, origin) or self._staged(digest)

    def _installed(self, digest: str, origin: str) -> dict[str, t.Any] | None:
        payload, tree, prefix = self._receipt.payload, self._receipt.tree, self._receipt.prefix
        if not tree or digest not in payload.chain:
            return None
        drifted = artifacts.drift(prefix, tree, self._request.verify)
        tolerated = {"edited"} if self._request.keep_edited else set()
        if not (set(drifted.values()) <= tolerated and self._has_enough(payload)):
            return None
        if not self._request.check_mode:
            if origin not in ("", payload.source):
                # The files were read just now. Noting their state spares the next run the same.
                self._state.write_receipt(replace(self._receipt, payload=replace(payload, source=origin)))
            staged.forget(self._state)  # failed runs may have left some
        edited = [os.path.join(prefix, path) for path in drifted]
        return {**result(self._request, self._place, "installed", payload, tree), "edited": edited}

    def _staged(self, digest: str) -> dict[str, t.Any] | None:
        found = staged.find(self._state, digest)
        if not (
            found
            and found.prefix == self._place.prefix(layouts.by_name(found.payload.layout))
            and self._has_enough(found.payload)
        ):
            return None
        if found.keep != self._request.keep and not self._request.check_mode:
            staged.remember(self._state, replace(found, keep=self._request.keep))
        return result(self._request, self._place, "staged", found.payload, found.tree or {})

    def _has_enough(self, payload: Payload) -> bool:
        return self._request.selection.has_enough(of(payload.plain()))


def digests(payload: Identity) -> str:
    """Return the digests of a payload's files, separated by spaces, as ``_payload.tarball.open_source`` takes them."""
    return " ".join(payload.get("parts") or [payload["digest"]])


def result(request: Request, place: Place, found: str, payload: Payload, tree: Tree) -> dict[str, t.Any]:
    """Return the module's result for a payload whose artifacts are known. ``found`` says where it was when the module began."""
    layout = layouts.by_name(payload.layout)
    told = request.selection.result(tree, layout, place.prefix(layout), of(payload.plain()))
    return {"changed": False, "found": found, "digest": payload.digest, "digest_kind": payload.digest_kind, **told}
