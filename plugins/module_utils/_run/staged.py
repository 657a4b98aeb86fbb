# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Payloads that are extracted on the node but not installed yet. A record in the state directory says where each one lies."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, mounts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import documents
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Payload
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

SCHEMA = 1
#: Records of the version before have no schema, nor have those of kept images (see ``_installer.kept``).
_UNDERSTOOD = (SCHEMA, None)
#: The name of our working directory.
_WORKING = ".confidential-containers"


@dataclass(frozen=True)
class Staged:
    """A payload whose artifacts lie in the directory ``staged`` ('': nowhere), or are just being unpacked there.

    ``tree`` is None until the payload is unpacked completely. ``prefix`` is where the artifacts will go. ``keep``: the staged
    artifacts stay after the installation.
    """

    payload: Payload
    staged: str
    prefix: str = ""
    tree: Tree | None = None
    keep: bool = False

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Staged:
        """Return what a record says. The record may be of a kept image, of which nothing is staged."""
        return cls(
            payload=Payload.from_plain(plain),
            staged=plain["staged"],
            prefix=plain.get("prefix", ""),
            tree=plain.get("tree"),
            keep=plain.get("keep", False),
        )

    def plain(self) -> dict[str, t.Any]:
        document = {"schema": SCHEMA, **self.payload.plain(), "staged": self.staged}
        if self.tree is None:
            return document
        return {**document, "prefix": self.prefix, "tree": self.tree, "keep": self.keep}


def working_directory(prefix: str) -> str:
    """Return our working directory for a prefix. It is on the prefix's mount, so that artifacts arrive by rename.

    It lies beside the prefix, or inside of a prefix that is a mount of its own.
    """
    anchor = os.path.dirname(prefix)
    while not os.path.isdir(anchor):
        anchor = os.path.dirname(anchor)
    places = [os.path.join(directory, _WORKING) for directory in (anchor, prefix) if os.path.isdir(directory)]
    for place in places:
        if mounts.of(place) == mounts.of(prefix):
            return place
    raise Refusal(
        f"a working directory on the mount of {prefix}, from which artifacts get there by rename",
        f"other mounts at {' and '.join(places)}",
        f"Unmount {places[0]}, or set coco_prefix to a directory on that mount.",
    )


def staging(prefix: str, digest: str) -> str:
    """Return where a payload's artifacts are staged."""
    return os.path.join(working_directory(prefix), digest.partition(":")[2][:16])


def begin(state: State, digest: str, staged: str) -> None:
    """Record where a payload is about to be extracted. So it can be removed even if it is never completed."""
    before = _read(state.payload(digest))
    if before:  # perhaps for another prefix, and so in another place
        _remove_staged(before)
    remember(state, Staged(Payload(digest), staged))
    files.remove_tree(staged)
    files.make_directories(staged, mode=0o700)


def remember(state: State, payload: Staged) -> None:
    """Record a payload. With its tree, it counts as completely extracted and verified."""
    directory = state.payload(payload.payload.digest)
    state.create()
    files.make_directories(directory, mode=0o700)
    files.write_json(os.path.join(directory, "payload.json"), payload.plain())


def complete(state: State, name: str, payload: Staged) -> None:
    """Record as complete a payload that was begun under another ``name``, because its digest was not known then.

    A kill at any point leaves one record of what is staged.
    """
    digest = payload.payload.digest
    discard(state, digest)  # perhaps for another prefix, and so in another place
    files.write_json(os.path.join(state.payload(name), "payload.json"), payload.plain())
    os.rename(state.payload(name), state.payload(digest))
    files.fsync_directory(state.payloads)


def discard(state: State, name: str) -> None:
    """Remove one payload, if there is one."""
    payload = _read(state.payload(name))
    if payload:
        _remove_staged(payload)
    files.remove_tree(state.payload(name))


def find(state: State, digest: str) -> Staged | None:
    """Return the record of an extracted payload that has ``digest`` among its digests.

    Its artifacts are still there, and can be renamed to their prefix.
    """
    return next((payload for payload in _usable(state) if digest in payload.payload.chain), None)


def of_source(state: State, source: str) -> Staged | None:
    """Return the record of an extracted payload that came from tarballs or a directory in exactly this state."""
    return next((payload for payload in _usable(state) if payload.payload.source == source), None)


def _usable(state: State) -> t.Iterator[Staged]:
    for directory in _directories(state):
        payload = _read(directory)
        if payload and payload.tree is not None and _is_usable(payload):
            yield payload


def _is_usable(payload: Staged) -> bool:
    return os.path.isdir(payload.staged) and mounts.of(payload.staged) == mounts.of(payload.prefix)


def forget(state: State, everything: bool = False) -> None:
    """Remove every extracted payload, complete or not, but keep those marked ``keep`` that the receipt still names.

    ``everything``: remove those, too.
    """
    kept = set() if everything else state.receipt().digests
    for directory in _directories(state):
        payload = _read(directory)
        if payload and _is_kept(payload, kept):
            continue
        if payload:
            _remove_staged(payload)
        files.remove_tree(directory)
    files.remove_empty_directories([state.payloads, state.directory])


def waiting(state: State) -> dict[str, dict[str, t.Any]]:
    """Return the payloads that :func:`forget` would remove, by digest: ``path`` and ``bytes`` on the disk."""
    kept = state.receipt().digests
    found = {}
    for directory in _directories(state):
        payload = _read(directory)
        if payload and not _is_kept(payload, kept):
            place = payload.staged or directory
            found[payload.payload.digest] = {"path": place, "bytes": files.disk_usage(place)}
    return found


def _is_kept(payload: Staged, installed: t.Collection[str]) -> bool:
    return payload.keep and payload.payload.digest in installed


def _directories(state: State) -> list[str]:
    names = os.listdir(state.payloads) if os.path.isdir(state.payloads) else ()
    return [os.path.join(state.payloads, name) for name in names]


def _read(directory: str) -> Staged | None:
    path = os.path.join(directory, "payload.json")
    return documents.read(path, "record of a payload", _UNDERSTOOD, Staged.from_plain)


def _remove_staged(payload: Staged) -> None:
    gone = files.remove_tree(payload.staged)
    files.remove_empty_directories([os.path.dirname(payload.staged)])
    if gone:
        # Durable before the record goes. Otherwise files could come back after a power cut, and nobody would know whose.
        files.sync([payload.staged])
