# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Payloads that are extracted on the node but not installed yet: where their artifacts are, and what they are."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _artifacts, _files, _state
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State


def staging(prefix: str, digest: str) -> str:
    """Return where a payload's artifacts are staged."""
    return os.path.join(_artifacts.staging(prefix), digest.partition(":")[2][:16])


def begin(state: State, digest: str, staged: str) -> None:
    """Record where a payload is about to be extracted, so that one that is never completed can be removed."""
    remember(state, {"digest": digest, "staged": staged})
    _files.remove_tree(staged)
    _files.make_directories(staged, mode=0o700)


def remember(state: State, payload: t.Mapping[str, t.Any]) -> None:
    """Record a payload as completely extracted and verified.

    Shape: ``digest``, ``digest_kind``, ``chain``, ``architecture``, ``reference``, ``layout``, ``prefix``, ``staged``
    (directory), ``tree``, ``components`` ({needed, unpacked} or None), ``keep`` (it stays when it is installed),
    ``source`` (state of a tarball or directory on the node, or '').
    """
    directory = state.payload(payload["digest"])
    state.create()
    _files.make_directories(directory, mode=0o700)
    _files.write_json(os.path.join(directory, "payload.json"), payload)


def find(state: State, digest: str) -> dict[str, t.Any] | None:
    """Return the record of an extracted payload with this among its digests, whose artifacts are still there."""
    for name in os.listdir(state.payloads) if os.path.isdir(state.payloads) else ():
        payload = _files.read_json(os.path.join(state.payloads, name, "payload.json"))
        if payload and "tree" in payload and digest in payload["chain"] and os.path.isdir(payload["staged"]):
            return t.cast("dict[str, t.Any]", payload)
    return None


def forget(state: State, everything: bool = False) -> None:
    """Remove every payload that is extracted, completely or not, but for those that are kept for what is or was installed."""
    kept = set() if everything else _state.digests(state.receipt())
    for name in os.listdir(state.payloads) if os.path.isdir(state.payloads) else ():
        directory = os.path.join(state.payloads, name)
        payload = _files.read_json(os.path.join(directory, "payload.json"))
        if payload and payload.get("keep") and payload["digest"] in kept:
            continue
        if payload:
            _files.remove_tree(payload["staged"])
            _files.remove_empty_directories([os.path.dirname(payload["staged"])])
        _files.remove_tree(directory)
    _files.remove_empty_directories([state.payloads, state.directory])
