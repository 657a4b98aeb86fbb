# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one CcRuntime in what a user gives: a YAML stream or a mapping, of a size that can be handled."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import loader
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.crd import KIND
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.kinds import described, short

#: The most characters of a manifest, both as it is written and with its aliases written out.
LIMIT = 1 << 20


def read(source: str | Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the one CcRuntime in a YAML stream, or a mapping that is one, as a copy made of dict and list.

    Only its kind is checked.
    """
    if isinstance(source, str) and len(source) > LIMIT:
        raise _too_large(f"{len(source)} characters")
    found = _only(loader.load(source) if isinstance(source, str) else [source])
    try:
        if _weight(found, {}) > LIMIT:
            raise _too_large("more, or one that holds itself")
        return t.cast("dict[str, t.Any]", _copied(found))
    except RecursionError:
        raise _too_large("lists or mappings within each other without end") from None


def _only(documents: Iterable[t.Any]) -> t.Any:
    """Return the one CcRuntime among documents. It may be in a list, as in the output of "kubectl get"."""
    found: list[t.Any] = []
    for document in documents:
        items = document.get("items") if isinstance(document, Mapping) else None
        found += items if isinstance(items, list) and _kind(document).endswith("List") else [document]
    wanted = [document for document in found if _kind(document) == KIND]
    if len(wanted) == 1:
        return wanted[0]
    raise _too_many(wanted) if wanted else _none(found)


def _too_many(resources: list[t.Any]) -> Refusal:
    return Refusal(
        f"one {KIND} in the manifest",
        f"{len(resources)}: {_some([short(_name(resource)) for resource in resources])}",
        "Keep only the one for these nodes; another group of nodes may have the other one.",
    )


def _none(documents: list[t.Any]) -> Refusal:
    others = sorted({short(_kind(document)) or described(document) for document in documents if document is not None})
    return Refusal(
        f"one {KIND} in the manifest",
        f"none, but {_some(others)}" if others else "nothing",
        "The operator's samples are kustomizations: render them first, with kubectl kustomize DIRECTORY."
        if "Kustomization" in others
        else f"Give a manifest with kind: {KIND}, as kubectl get -o yaml prints it.",
    )


def _too_large(found: str) -> Refusal:
    return Refusal(
        f"a manifest of at most {LIMIT} characters, its aliases written out",
        found,
        f"Keep the {KIND} only.",
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")


def _kind(document: t.Any) -> str:
    kind = document.get("kind") if isinstance(document, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _name(document: Mapping[str, t.Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else "one without a name"


def _weight(value: t.Any, known: dict[int, tuple[int, t.Any]]) -> int:
    """Return about how many characters a value has with its aliases written out, because a few aliases can stand for billions.

    A value that contains itself weighs more than the limit.
    """
    if isinstance(value, str):
        return len(value) + 1
    if not isinstance(value, (Mapping, list, tuple)):
        return 1
    if id(value) not in known:
        # The value is kept, too: if it were freed, another object could get its id.
        known[id(value)] = (LIMIT, value)
        parts = [part for pair in value.items() for part in pair] if isinstance(value, Mapping) else value
        known[id(value)] = (1 + sum(_weight(part, known) for part in parts), value)
    return known[id(value)][0]


def _copied(value: t.Any) -> t.Any:
    """Return a copy in which every mapping is a dict, and every list or tuple a list."""
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, (list, tuple)) else value
