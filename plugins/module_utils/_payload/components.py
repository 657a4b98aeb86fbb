# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Payloads in components: which tarballs each shim needs. Their manifest ``shim-components.json`` says it."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts

#: Maps each shim to the components that it needs on one architecture.
Needed = t.Dict[str, t.List[str]]

#: Maps the architectures of images to the machine names of the manifest.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_KINDS = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
_TARBALL = re.compile(r"kata-static-(?P<component>[a-z0-9][a-z0-9.-]*)\.tar\.(zst|xz|gz)")


@dataclass(frozen=True)
class Components:
    """The components of a payload: those that each shim ``needed``, and those that are ``unpacked``."""

    needed: Needed
    unpacked: tuple[str, ...]

    def suffice(self, shims: t.Iterable[str]) -> bool:
        """Tell whether all components that these shims need are unpacked."""
        return set(wanted(self.needed, shims)) <= set(self.unpacked)


def of(payload: t.Mapping[str, t.Any]) -> Components | None:
    """Return what the record of a payload says about its components; None when the payload has none."""
    components = payload.get("components")
    return Components(**components) if components else None


def component_of(name: str) -> str:
    """Return the component that a tarball of this name holds; '' for another file."""
    match = _TARBALL.fullmatch(name)
    return match.group("component") if match else ""


def parse(data: bytes, architecture: str) -> Needed:
    """Parse a manifest. Its ``shims`` maps each shim to machines, and each machine to names of components; ``requiredComponents``
    maps machines to the components that all shims need.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _wrong("the whole document", "JSON", str(error)) from error
    machine = _MACHINES.get(architecture, architecture)
    common = _names(_mapping(document, "the whole document").get("requiredComponents"), "requiredComponents", machine)
    needed = {}
    for shim, of in _mapping(document.get("shims"), "shims").items():
        own = _names(of, f"shims.{shim}", machine)
        if own:
            needed[shim] = [*common, *own]
    return needed


def _mapping(value: t.Any, where: str) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "an object", _KINDS.get(type(value), "a number"))
    return value


def _names(machines: t.Any, where: str, machine: str) -> list[str]:
    """Return the names of the components for a machine; none when the manifest does not name the machine."""
    names = _mapping({} if machines is None else machines, where).get(machine) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _wrong(f"{where}.{machine}", "a list of names of components", json.dumps(names)[:200])
    return names


def _wrong(where: str, expected: str, found: str) -> Refusal:
    return Refusal(
        f"{expected} at {where} in /{layouts.COMPONENTS_MANIFEST} of the payload",
        found,
        "Use a payload of a version that this collection knows (Kata 3.32 to 4.1), or a newer version of the collection.",
    )


def wanted(needed: Needed, shims: t.Iterable[str]) -> list[str]:
    """Return all components that these shims need."""
    return sorted({component for shim in shims for component in needed.get(shim, ())})
