# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Payloads that are extracted on the node but not installed yet: where their artifacts are, and what they are."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _artifacts,
    _files,
    _mounts,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State


def staging(prefix: str, digest: str) -> str:
    """Return where a payload's artifacts are staged."""
    return os.path.join(_artifacts.staging(prefix), digest.partition(":")[2][:16])


def begin(state: State, digest: str, staged: str) -> None:
    """Record where a payload is about to be extracted, so that one that is never completed can be removed."""
    before = _read(state.payload(digest))
    if before:  # perhaps of another prefix, and somewhere else
        _remove_staged(before)
    remember(state, {"digest": digest, "staged": staged})
    _files.remove_tree(staged)
    _files.make_directories(staged, mode=0o700)


def remember(state: State, payload: t.Mapping[str, t.Any]) -> None:
    """Record a payload as completely extracted and verified.

    Shape: ``digest``, ``digest_kind``, ``chain``, ``parts`` (digests of its tarballs, if it comes in several), ``architecture``,
    ``reference``, ``layout``, ``prefix``, ``staged`` (directory), ``tree``, ``components`` ({needed, unpacked} or None),
    ``keep`` (it stays when it is installed), ``source`` (state of a tarball or directory on the node, or '').
    """
    directory = state.payload(payload["digest"])
    state.create()
    _files.make_directories(directory, mode=0o700)
    _files.write_json(os.path.join(directory, "payload.json"), payload)


def find(state: State, digest: str) -> dict[str, t.Any] | None:
    """Return the record of an extracted payload with this among its digests, whose artifacts are still there and can be renamed
    to their prefix.
    """
    for directory in _directories(state):
        payload = _read(directory)
        if payload and "tree" in payload and digest in payload["chain"] and _is_usable(payload):
            return payload
    return None


def _is_usable(payload: t.Mapping[str, t.Any]) -> bool:
    staged, prefix = payload["staged"], payload["prefix"]
    return os.path.isdir(staged) and _mounts.of(staged) == _mounts.of(prefix)


def forget(state: State, everything: bool = False) -> None:
    """Remove every payload that is extracted, completely or not, but for those that are kept for what is or was installed."""
    kept = set() if everything else state.receipt().digests
    for directory in _directories(state):
        payload = _read(directory)
        if payload and _is_kept(payload, kept):
            continue
        if payload:
            _remove_staged(payload)
        _files.remove_tree(directory)
    _files.remove_empty_directories([state.payloads, state.directory])


def waiting(state: State) -> dict[str, dict[str, t.Any]]:
    """Return the payloads that :func:`forget` would remove, by digest: ``path`` and ``bytes`` on the disk."""
    kept = state.receipt().digests
    found = {}
    for directory in _directories(state):
        payload = _read(directory)
        if payload and not _is_kept(payload, kept):
            place = payload["staged"] or directory
            found[payload["digest"]] = {"path": place, "bytes": _files.disk_usage(place)}
    return found


def _is_kept(payload: t.Mapping[str, t.Any], installed: t.Collection[str]) -> bool:
    return bool(payload.get("keep")) and payload["digest"] in installed


def _directories(state: State) -> list[str]:
    names = os.listdir(state.payloads) if os.path.isdir(state.payloads) else ()
    return [os.path.join(state.payloads, name) for name in names]


def _read(directory: str) -> dict[str, t.Any] | None:
    return t.cast("dict[str, t.Any] | None", _files.read_json(os.path.join(directory, "payload.json")))


def _remove_staged(payload: t.Mapping[str, t.Any]) -> None:
    gone = _files.remove_tree(payload["staged"])
    _files.remove_empty_directories([os.path.dirname(payload["staged"])])
    if gone:
        # Before the record of it goes: nobody would know whose it is.
        _files.sync([payload["staged"]])
