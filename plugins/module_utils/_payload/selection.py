# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which of a payload's handlers are taken on one node."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import shims
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layouts import Layout

if t.TYPE_CHECKING:
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import Components
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree


@dataclass(frozen=True)
class Selection:
    """The handlers that the user ``asked`` for, or has ``candidates`` for, those that are the user's ``own``, and what the node is.
    See :func:`._payload.shims.choose`.
    """

    asked: t.Sequence[str]
    own: t.Sequence[str]
    candidates: t.Sequence[str]
    architecture: str
    capabilities: t.Mapping[str, bool]

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any], architecture: str, capabilities: t.Mapping[str, bool]) -> Selection:
        """Return what a module's arguments select."""
        return cls(params["handlers"], params["own_handlers"], params["candidates"], architecture, capabilities)

    def to_unpack(self, offered: t.Iterable[str]) -> list[str]:
        """Return the shims whose components are to be unpacked."""
        return shims.shims_to_unpack(
            offered, self.asked, self.architecture, self.capabilities, self.own, self.candidates
        )

    def has_enough(self, components: Components | None) -> bool:
        """Tell whether all components that are needed were unpacked; None: the payload does not come in components."""
        if components is None:
            return True
        chosen = shims.chosen_shims(
            components.needed, self.asked, self.architecture, self.capabilities, self.candidates
        )
        return components.suffice(chosen)

    def result(self, tree: Tree, layout: Layout, prefix: str, components: Components | None) -> dict[str, t.Any]:
        """Return what payload_extract says of an unpacked payload: where it goes, and which handlers it brings."""
        choice = shims.choose(
            shims.offered(tree, layout, prefix, components),
            self.asked,
            self.architecture,
            self.capabilities,
            self.own,
            self.candidates,
        )
        return {
            "layout": layout.name,
            "prefix": prefix,
            "handlers": [handler.table() for handler in choice.handlers],
            "excluded": dict(choice.excluded),
        }
