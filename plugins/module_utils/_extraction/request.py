# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The arguments of payload_extract as one typed object, with what the node itself adds to them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access, Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import select
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference, parse
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.selection import Selection

#: What identifies an image: see ``_payload.archive.Image.identity``.
Identity = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Request:
    """The module's arguments, which its documentation explains.

    ``prefix`` is '' for the payload's own. ``engine`` is what the user said about the engine.
    """

    reference: Reference
    selection: Selection
    engine: Overrides = field(default_factory=Overrides)
    access: Access = field(default_factory=Access)
    on_node: bool = False
    digest: str = ""
    prefix: str = ""
    limits: t.Mapping[str, int] | None = None
    keep_edited: bool = True
    verify: bool = False
    keep: bool = False
    whole: bool = False
    look: bool = False
    require_engine: bool = False
    config_mode: str = "auto"
    enable_cri: bool = False
    identities: t.Sequence[Identity] = ()
    archive: str = ""
    plain: t.Mapping[str, str] = field(default_factory=dict)
    check_mode: bool = False

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any], engine: Overrides, check_mode: bool) -> Request:
        """Return the request that a module's arguments make on this node."""
        same = ("digest", "limits", "verify", "keep", "whole", "look", "require_engine", "config_mode", "enable_cri")
        return cls(
            reference=parse(params["payload"]),
            selection=Selection.of(params, hardware.architecture(), hardware.capabilities()),
            engine=engine,
            access=Access(*(params[f"registry_{part}"] for part in ("username", "password", "ca"))),
            on_node=params["payload_on"] == "node",
            prefix=params["prefix"] or "",
            keep_edited=params["edited_config"] == "keep",
            identities=params["identities"],
            archive=params["archive"] or "",
            plain=params["plain"],
            check_mode=check_mode,
            **{name: params[name] for name in same},
        )

    def select(self, identities: t.Sequence[Identity]) -> Identity:
        """Return the image for this node, or refuse one with another digest than expected."""
        return select(identities, self.selection.architecture, self.digest)
