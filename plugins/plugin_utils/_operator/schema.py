# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words in which the schema of a manifest is written."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import kinds
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.kinds import Kind


@dataclass(frozen=True)
class Field:
    """What is allowed in a place.

    ``fields`` are those of a mapping; ``item`` is for the elements of a list, or for the values of a mapping with any keys.
    """

    kind: Kind
    fields: t.Mapping[str, Field] = field(default_factory=dict)
    item: Field | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    nullable: bool = False
    #: Why nothing becomes of it: a note.
    unused: str = ""
    #: What to do instead of what only Kubernetes can do: a value that is none of ``choices``, or any.
    instead: str = ""

    @property
    def refused(self) -> bool:
        """Whether only Kubernetes can act on it, whatever its value."""
        return bool(self.instead) and not self.choices

    def allowed(self) -> list[str]:
        """Return the names of the fields that may be there."""
        return [name for name, part in self.fields.items() if not part.refused]


def text(*choices: str, required: bool = False, unused: str = "", instead: str = "") -> Field:
    return Field(kinds.TEXT, choices=choices, required=required, unused=unused, instead=instead)


def flag() -> Field:
    return Field(kinds.FLAG)


def number() -> Field:
    return Field(kinds.NUMBER)


def anything() -> Field:
    return Field(kinds.ANYTHING)


def list_of(item: Field, unused: str = "") -> Field:
    return Field(kinds.LIST, item=item, unused=unused)


def labels() -> Field:
    """Return a mapping with any keys, whose values are text."""
    return Field(kinds.MAPPING, item=text())


def mapping(
    beyond: t.Mapping[str, Field] | None = None,
    *,
    required: bool = False,
    nullable: bool = False,
    unused: str = "",
    **fields: Field,
) -> Field:
    fields.update(beyond or {})
    return Field(kinds.MAPPING, fields=fields, required=required, nullable=nullable, unused=unused)


def beyond(instead: str, *names: str) -> dict[str, Field]:
    """Return the fields of a mapping that only Kubernetes can act on."""
    return dict.fromkeys(names, Field(kinds.ANYTHING, instead=instead))


def below(place: str, name: str) -> str:
    """Return the place of a field in a mapping; '' is the place of the whole manifest."""
    return f"{place}.{name}" if place else name
