# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading a payload that is not on the node yet: its artifacts are staged, or its whole image is kept.

Staged artifacts are for ``_native``, which renames them to the prefix. Kept images are for ``_installer``.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict

from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.place import MAKE_ROOM, Place
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.present import Present, result
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import (
    Identity,
    Request,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import kept
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import (
    extract,
    layers,
    layouts,
    tarball,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Payload
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

if t.TYPE_CHECKING:
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source

#: A function that shows progress: it gets what is being done, the bytes done, and the bytes in all (0: unknown).
Progress = t.Callable[[str, int, int], None]


class Staging:
    """Reads one image. ``origin`` is the state of the files that it comes from: see ``_payload.tarball.state_of``."""

    def __init__(
        self, request: Request, state: State, place: Place, present: Present, progress: Progress, origin: str
    ) -> None:
        self._request = request
        self._state = state
        self._place = place
        self._present = present
        self._progress = progress
        self._origin = origin

    def keep(self, source: Source, image: Image) -> dict[str, t.Any]:
        """Keep a whole image for its own installer. Return what is to be added to the module's result."""
        if self._request.check_mode:
            return {"changed": True}
        self._state.create()
        _require_room(self._state.directory, image, "Make room there.")
        limits, reference = layers.limits_of(self._request.limits), str(self._request.reference)
        try:
            whole = kept.keep(self._state, source, image, reference, limits, self._reading(image, "kept"))
        except BaseException:
            files.remove_tree(kept.directory_of(self._state, image.digest))
            staged.forget(self._state)
            raise
        return {"changed": True, "contract": whole.contract_name}

    def stage(self, source: Source, image: Image, identity: Identity) -> dict[str, t.Any]:
        """Unpack the artifacts of an image to a directory beside the prefix. Return the module's result."""
        if self._request.check_mode:
            return self._foresee(source, image, identity)
        name = identity["digest"] or f"sha256:{self._origin}"

        def begin(layout: layouts.Layout) -> str:
            prefix = self._place.prefix(layout)
            self._place.require_one_mount(prefix)
            directory = staged.staging(prefix, name)
            staged.begin(self._state, name, directory)
            _require_room(directory, image, MAKE_ROOM)
            return directory

        try:
            found = extract.unpack(source, image, begin, self._how(image))
            identity, there = self._identified(identity, found)
            if there:
                staged.discard(self._state, name)
                return there
            payload = self._payload(found, identity)
            told = result(self._request, self._place, "absent", payload, found.tree)
            directory = staged.staging(told["prefix"], name)
            files.sync_filesystem(directory)
        except BaseException:
            staged.forget(self._state)
            raise
        complete = staged.Staged(payload, directory, told["prefix"], found.tree, self._request.keep)
        if name == payload.digest:
            staged.remember(self._state, complete)
        else:
            staged.complete(self._state, name, complete)
        return {**told, "changed": True}

    def _foresee(self, source: Source, image: Image, identity: Identity) -> dict[str, t.Any]:
        """Read an image as :meth:`stage` does, and write nothing."""
        self._place.require_room(_least(image))
        found = extract.unpack(source, image, None, self._how(image))
        identity, there = self._identified(identity, found)
        if there:
            return there
        payload = self._payload(found, identity)
        told = result(self._request, self._place, "absent", payload, found.tree)
        return {**told, "changed": True, "tree": found.tree}

    def _how(self, image: Image) -> extract.How:
        return extract.How(
            prefix=self._request.prefix,
            architecture=self._request.selection.architecture,
            limits=layers.limits_of(self._request.limits),
            choose=self._request.selection.to_unpack,
            progress=self._reading(image, "unpacked"),
        )

    def _identified(self, identity: Identity, found: extract.Unpacked) -> tuple[Identity, dict[str, t.Any] | None]:
        """Return the identity of a payload that was unpacked, and the module's result when that is on the node already, else None.

        Before it was unpacked, a payload may have had no digest to look for.
        """
        if identity["digest"]:
            return identity, None
        reference = self._request.reference
        tarball.require_unchanged(reference.paths, self._origin)
        with tarball.open_source(reference, digest=" ".join(found.digests)) as source:
            identity = self._request.select([image.identity() for image in source.images()])
        return identity, self._present.find(identity["digest"], self._origin)

    def _reading(self, image: Image, what: str) -> t.Callable[[int], None]:
        total = _least(image)
        return lambda done: self._progress(what, done, total)

    def _payload(self, found: extract.Unpacked, identity: Identity) -> Payload:
        layout = t.cast(layouts.Layout, found.layout)
        return Payload(
            **{key: identity[key] for key in ("digest", "digest_kind", "chain", "architecture")},
            parts=identity.get("parts", ()),
            reference=str(self._request.reference),
            layout=layout.name,
            components=asdict(found.components) if found.components else None,
            source=self._origin,
        )


def _require_room(directory: str, image: Image, remedy: str) -> None:
    """Refuse a payload that cannot fit, before a byte is written: it takes at least the sizes of its layers."""
    files.require_room(directory, _least(image), "the payload", remedy)


def _least(image: Image) -> int:
    return sum(layer.size or 0 for layer in image.layers)
