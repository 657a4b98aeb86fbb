# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that containerd reads, parsed: their values, their order and their imports."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import imports, schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Texts
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import template


def parsed(texts: Texts) -> dict[str, dict[str, t.Any]]:
    """Return the values of those files that exist, by path. Templates are no TOML yet."""
    return {
        path: toml.parse(text, path)
        for path, text in texts.items()
        if text is not None and not template.is_template(path)
    }


def texts_in(document: t.Mapping[str, t.Any], key: str) -> list[str]:
    """Return the texts in the list of a top-level ``key``."""
    known = document.get(key, [])
    return [item for item in known if isinstance(item, str)] if isinstance(known, list) else []


def read_by_engine(main: str, texts: Texts) -> list[str]:
    """Return the files that the engine reads, in its order."""
    documents = parsed(texts)
    return imports.order(main, lambda path: texts_in(documents.get(path, {}), "imports"), set(documents))


def refuse_missing_imports(main: str, texts: Texts) -> None:
    """Refuse a file with a missing import. All versions but 1.4 would not start with it, although their dump may succeed."""
    documents = parsed(texts)
    for parent in read_by_engine(main, texts):
        for pattern in texts_in(documents.get(parent, {}), "imports"):
            path = imports.absolute(pattern, parent)
            if "*" not in path and path not in documents:
                raise Refusal(
                    f"every file that {parent} imports by its plain name",
                    f"no {path}",
                    "The engine would not start again. Bring the file back, or take it out of the imports.",
                )


def schema_of(document: t.Mapping[str, t.Any]) -> int:
    """Return the schema of a file: its version, 1 if it has none or 0, and 0 if the file sets nothing at all."""
    version = document.get("version", 1 if document else 0)
    if not isinstance(version, int) or isinstance(version, bool):
        raise Refusal(
            "a whole number as the version of a configuration file", repr(version), "Write version = 2, for example."
        )
    return 1 if "version" in document and version == 0 else version


def has_cri(document: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a file sets anything for the CRI."""
    return any(toml.lookup(document, table[:2]) for table in schemas.TABLES)
