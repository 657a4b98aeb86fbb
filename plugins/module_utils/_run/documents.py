# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Reading the documents of our state. A document of any version is either understood, or refused in words."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files

T = t.TypeVar("T")

#: What ``make`` raises if the document is damaged, or is not of the kind that ``make`` expects.
_NO_SUCH_DOCUMENT = (KeyError, TypeError, AttributeError, ValueError)


def read(
    path: str, what: str, schemas: t.Sequence[int | None], make: t.Callable[[t.Mapping[str, t.Any]], T]
) -> T | None:
    """Return what ``make`` makes of the document at ``path``, None if there is no document.

    ``what`` names the kind of document in messages. ``schemas`` are the schemas that are understood, the present one first.
    None among them stands for documents that do not name their schema.
    """
    plain = files.read_json(path)
    if plain is None:
        return None
    if not isinstance(plain, dict):
        plain = {}
    _refuse_schema(path, what, schemas, plain)
    try:
        return make(plain)
    except _NO_SUCH_DOCUMENT as error:
        raise Refusal(
            f"a {what} in {path} as this collection wrote it", f"{type(error).__name__}: {error}", files.damaged(path)
        ) from error


def _refuse_schema(path: str, what: str, schemas: t.Sequence[int | None], plain: t.Mapping[str, t.Any]) -> None:
    schema, ours = plain.get("schema"), schemas[0]
    if schema in schemas:
        return
    newer = isinstance(schema, int) and ours is not None and schema > ours
    raise Refusal(
        f"a {what} of schema {ours} in {path}",
        f"schema {schema}, written by version {plain.get('collection')} of this collection"
        if newer
        else f"schema {schema!r}, which no version of this collection writes",
        "Use that version of the collection, or a newer one, on this node." if newer else files.damaged(path),
    )
