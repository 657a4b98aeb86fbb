# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Payloads in components: which tarballs each shim needs, as their ``shim-components.json`` says."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass

#: By shim: the components that it needs on one architecture.
Needed = t.Dict[str, t.List[str]]

#: The machine names of the manifest, by those of images.
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_TARBALL = re.compile(r"kata-static-(?P<component>[a-z0-9][a-z0-9.-]*)\.tar\.(zst|xz|gz)")


@dataclass(frozen=True)
class Components:
    """What a payload has in components: what its shims need, and which are unpacked."""

    needed: Needed
    unpacked: tuple[str, ...]

    def suffice(self, shims: t.Iterable[str]) -> bool:
        """Tell whether all that these shims need is unpacked."""
        return set(wanted(self.needed, shims)) <= set(self.unpacked)


def of(payload: t.Mapping[str, t.Any]) -> Components | None:
    """Return what the record of a payload says about its components; None: it is not in components."""
    components = payload.get("components")
    return Components(**components) if components else None


def component_of(name: str) -> str:
    """Return the component that a tarball of this name holds, '' for another file."""
    match = _TARBALL.fullmatch(name)
    return match.group("component") if match else ""


def parse(data: bytes, architecture: str) -> Needed:
    """Parse a manifest. Raises ValueError when it does not have the shape that it should have."""
    document = json.loads(data)
    machine = _MACHINES.get(architecture, architecture)
    try:
        common = (document.get("requiredComponents") or {}).get(machine) or []
        needed = {shim: [*common, *of[machine]] for shim, of in document["shims"].items() if of.get(machine)}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"a manifest of components of another shape ({error!r})") from error
    for shim, components in needed.items():
        if not all(isinstance(name, str) for name in (shim, *components)):
            raise ValueError(f"no names of components for {shim!r}")
    return needed


def wanted(needed: Needed, shims: t.Iterable[str]) -> list[str]:
    """Return all components that these shims need."""
    return sorted({component for shim in shims for component in needed.get(shim, ())})
