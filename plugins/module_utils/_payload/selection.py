# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the user selects of a payload's handlers for one node, as one object. The rules are those of ``_payload.shims``."""

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
    """The handlers that the user ``asked`` for, the ``candidates``, those that are the user's ``own``, and what the node has.

    :func:`._payload.shims.choose` says what each of them means.
    """

    asked: t.Sequence[str]
    own: t.Sequence[str]
    candidates: t.Sequence[str]
    architecture: str
    capabilities: t.Mapping[str, bool]

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any], architecture: str, capabilities: t.Mapping[str, bool]) -> Selection:
        """Return the selection that a module's arguments make."""
        return cls(params["handlers"], params["own_handlers"], params["candidates"], architecture, capabilities)

    def to_unpack(self, offered: t.Iterable[str]) -> list[str]:
        """Return the shims whose components are to be unpacked."""
        return shims.shims_to_unpack(
            offered, self.asked, self.architecture, self.capabilities, self.own, self.candidates
        )

    def has_enough(self, components: Components | None) -> bool:
        """Tell whether all components that are needed were unpacked. None: the payload does not come in components."""
        if components is None:
            return True
        chosen = shims.chosen_shims(
            components.needed, self.asked, self.architecture, self.capabilities, self.candidates
        )
        return components.suffice(chosen)

    def result(self, tree: Tree, layout: Layout, prefix: str, components: Components | None) -> dict[str, t.Any]:
        """Return the part of payload_extract's result that says where an unpacked payload goes and which handlers it brings."""
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
