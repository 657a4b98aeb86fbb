# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The words in which the schema of a manifest is written: ``_operator.crd`` is made of these functions."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import kinds
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.kinds import Kind


@dataclass(frozen=True)
class Field:
    """What is allowed in one place of a manifest.

    ``fields`` are those of a mapping. ``item`` is for each element of a list, or for each value of a mapping with any keys.
    """

    kind: Kind
    fields: t.Mapping[str, Field] = field(default_factory=dict)
    item: Field | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    nullable: bool = False
    #: A note that says why it has no effect; '' when it has one.
    unused: str = ""
    #: The remedy for a value on which only Kubernetes can act: one that is not among ``choices``, or any if there are none.
    instead: str = ""

    @property
    def refused(self) -> bool:
        """Whether only Kubernetes can act on it, whatever its value."""
        return bool(self.instead) and not self.choices

    def allowed(self) -> list[str]:
        """Return the names of the fields that a mapping may have."""
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
    """Return a field for a mapping with any keys and with text as values."""
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
    """Return fields of a mapping on which only Kubernetes can act. ``instead`` is the remedy."""
    return dict.fromkeys(names, Field(kinds.ANYTHING, instead=instead))


def below(place: str, name: str) -> str:
    """Return the place of a field in a mapping; '' is the place of the whole manifest."""
    return f"{place}.{name}" if place else name
