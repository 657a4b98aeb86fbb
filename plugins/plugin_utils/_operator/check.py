# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The comparison of what a user wrote with the CRD: it refuses what the CRD does not allow, and notes what has no effect here.

The CRD is the table in ``_operator.crd``.
"""

from __future__ import annotations

import difflib
import typing as t
from collections.abc import Hashable, Mapping

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import crd, kinds
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.schema import Field, below, text


def check(value: t.Any, expected: Field, place: str) -> list[str]:
    """Refuse a value that the CRD does not allow in its ``place`` ('' for a whole manifest).

    Returns notes: a sentence about each field that has no effect.
    """
    if value is None and expected.nullable:
        return []
    _require(value, expected, place)
    notes = [f"{place} is not used: {expected.unused}."] if expected.unused and value else []
    if expected.fields:
        notes += _check_fields(value, expected, place)
    elif expected.item and expected.kind is kinds.MAPPING:
        notes += _check_values(value, expected.item, place)
    elif expected.item:
        for number, part in enumerate(value):
            notes += check(part, expected.item, f"{place}[{number}]")
    return notes


def _require(value: t.Any, expected: Field, place: str) -> None:
    """Refuse a value of a wrong kind, or one that is not among the choices. What is in it is not looked at."""
    if expected.refused:
        raise Refusal("what a node can do without Kubernetes", place, expected.instead)
    if not expected.kind.has(value):
        raise Refusal(
            f"{place or 'the manifest'} to be {expected.kind.name}",
            kinds.described(value),
            "Leave it out, or give it a value." if value is None else expected.kind.remedy,
        )
    if expected.choices and value not in expected.choices:
        choices = " or ".join(choice or '""' for choice in expected.choices)
        remedy = expected.instead or "Write it like that" + ("." if expected.required else ", or leave it out.")
        raise Refusal(f"{place} to be {choices}", f'"{kinds.short(value)}"', remedy)


def _check_values(value: Mapping[Hashable, t.Any], item: Field, place: str) -> list[str]:
    """Check a mapping that may have any keys."""
    notes = []
    for key, part in value.items():
        _require(key, text(), f"a key of {place}")
        notes += check(part, item, below(place, kinds.short(str(key))))
    return notes


def _check_fields(value: Mapping[Hashable, t.Any], expected: Field, place: str) -> list[str]:
    """Check a mapping that may have only the fields of the CRD."""
    notes = []
    for name, part in value.items():
        where = below(place, kinds.short(str(name)))
        if not isinstance(name, str) or name not in expected.fields:
            raise Refusal(f"{place or 'the manifest'} to have fields of the CRD", where, _advice(str(name), expected))
        notes += check(part, expected.fields[name], where)
    for name, field in expected.fields.items():
        if field.required and name not in value:
            raise Refusal(f"{below(place, name)} in the manifest", "nothing", "Add the field: the CRD requires it.")
    if "hostPath" in value and "emptyDir" in value:
        raise Refusal(f"{place} to have one source", "hostPath and emptyDir", "Keep only one of them.")
    if value.get("value") and "valueFrom" in value:
        raise Refusal(f"{place} to have one source", "value and valueFrom", "Keep only one of them.")
    return notes


def _advice(name: str, expected: Field) -> str:
    """Return the remedy for an unknown field."""
    places = [place or "the top of the manifest" for place in _places(crd.MANIFEST, name, "")]
    if places:
        return f"It belongs in {' or '.join(places[:3])}: move it there."
    allowed = expected.allowed()
    close = difflib.get_close_matches(name.lower(), [known.lower() for known in allowed], 1)
    meant = [known for known in allowed if known.lower() in close]
    return f"Write {meant[0]}." if meant else f"Remove it, or write one of {', '.join(allowed)}."


def _places(within: Field, name: str, place: str) -> list[str]:
    """Return the places below ``place`` in which the schema has a field of this name."""
    found = [place] if name in within.allowed() else []
    for known, part in within.fields.items():
        found += _places(part, name, below(place, known))
    return found + (_places(within.item, name, f"{place}[]") if within.item else [])
