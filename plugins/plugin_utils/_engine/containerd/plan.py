# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner of containerd: from handlers to files. It says which texts change, and how."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.schemas import (
    DROP_IN,
    Target,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import (
    Edit,
    Found,
    Plan,
    Tables,
    Texts,
    Version,
    Wanted,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import (
    documents,
    ours,
    room,
    tables,
)


class Containerd:
    """The :class:`Planner` of containerd."""

    keys: t.Collection[str] = tuple(schemas.KEYS)

    def tables(
        self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version
    ) -> dict[str, dict[str, t.Any]]:
        return tables.of(handlers, overrides, version)

    def links(self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version) -> dict[str, str]:
        return tables.links(handlers, overrides, version)

    def plan(self, found: Found, wanted: Wanted, trial: str) -> Plan:
        return plan(found, wanted, trial)

    def served(self, dump: str) -> list[str]:
        return Dump(dump).served()


def plan(found: Found, wanted: Wanted, trial: str) -> Plan:
    """Plan the edits that bring an engine's files to exactly what is wanted. ``trial`` is the directory of the trial."""
    clean = {path: ours.without(path, found) for path in found.files}
    new: dict[str, str | None] = dict(clean)
    builtin: Tables = {}
    disabled: dict[str, list[str]] = {}
    drop_in = schemas.drop_in_path(found.main)
    place, mode = found.main, ""
    if wanted.handlers:
        read = documents.read_by_engine(found.main, clean)
        target = _target(found, wanted, clean)
        mode = target.mode
        room.make(read, new, wanted, set(Dump(found.dump).handlers()) - set(found.ours))
        disabled = room.enable_cri(read, new, wanted)
        if not target.declared:
            new[found.main] = toml.declare(new[found.main] or "", target.schema, found.main)
        if mode == DROP_IN:
            place = drop_in
            new[place] = new[place] or f"{toml.MARK}\nversion = {target.schema}\n"
        elif target.forgetful:
            place, target = _last_with_cri(found, read, new, target)
        text = new[place] or ""
        builtin = _builtin(toml.parse(text, place), target, found, {*found.ours, *wanted.handlers})
        new[place] = toml.add_tables(
            text, tables.written(target, {**builtin, **wanted.handlers}, wanted, found.version), place
        )
        if mode == DROP_IN and place not in documents.read_by_engine(found.main, new):
            new[found.main] = toml.add_item(
                new[found.main] or "", "imports", schemas.drop_in_glob(found.main), found.main
            )
    back = ours.returned(found, wanted, new)
    edits = [
        Edit(
            path,
            now,
            _unless_same_meaning(path, now, new[path]),
            clean[path],
            builtin if path == place else {},
            disabled.get(path, ()),
        )
        # Files of another coco_engine_config come first. Then the drop-in: it must exist before it is imported.
        for path in [*sorted(set(found.files) - {drop_in, found.main}), drop_in, found.main]
        for now in [found.files[path]]
    ]
    if not wanted.handlers:
        edits.reverse()  # and it must be removed after its import
    changes = tuple(edit for edit in edits if edit.changes)
    if changes and found.version >= (1, 5):
        documents.refuse_missing_imports(found.main, new)
    return Plan(changes, _trial(found, new, changes, trial) if changes else {}, mode, back)


def _target(found: Found, wanted: Wanted, clean: Texts) -> Target:
    document = toml.parse(clean[found.main] or "", found.main)
    schema = documents.schema_of(document)
    if schema == 1 and found.version >= (2, 0) and toml.lookup(document, schemas.V2[:2]):
        raise Refusal(
            f"a version in {found.main} that fits its tables",
            f"no version, which means 1, and {'.'.join(schemas.V2[:2])}, as it is called since version = 2",
            "Put 'version = 2' at the top of the file, restart containerd and check that its pods still start.",
        )
    plain = not set(document) & {"version", "plugins", "proxy_plugins", "timeouts"} and set(
        documents.texts_in(document, "disabled_plugins")
    ) <= set(schemas.CRI_PLUGINS)
    return schemas.decide(found.version, schema, wanted.mode, plain)


def _last_with_cri(found: Found, read: t.Sequence[str], new: Texts, target: Target) -> tuple[str, Target]:
    """Return the file to edit, and how. A forgetful engine takes only the last CRI section, so it is the file with that."""
    values = documents.parsed({path: new[path] for path in read})
    others = [path for path, document in values.items() if path != found.main and documents.has_cri(document)]
    if not others:
        return found.main, target
    place = others[-1]
    schema, main = documents.schema_of(values[place]), documents.schema_of(values.get(found.main, {}))
    if schema != main:
        raise Refusal(
            f"{place} to declare the version of {found.main}, because its CRI section takes the place of that file's",
            f"{schema or 'none'} and {main or 'none'}",
            "Let both files declare the same version.",
        )
    return place, target


def _builtin(
    document: t.Mapping[str, t.Any], target: Target, found: Found, owned: t.Collection[str]
) -> dict[str, dict[str, t.Any]]:
    """Return the handlers that a forgetful engine has from its own defaults. We write them out, so that it keeps them."""
    if not target.forgetful or toml.lookup(document, target.table):
        return {}
    if found.written:
        return {name: dict(table) for name, table in found.written.items()}
    # Whatever the schema of the file: a dump of 1.x is always of schema 2.
    written = toml.lookup(toml.parse(found.dump, "containerd config dump"), schemas.V2)
    written = written or {"runc": {"runtime_type": "io.containerd.runc.v2"}}  # the dump of a disabled CRI has none
    return {
        name: {key: value for key, value in table.items() if value or key == "options"}
        for name, table in written.items()
        if name not in owned
    }


def _unless_same_meaning(path: str, now: str | None, new: str | None) -> str | None:
    """Return the text as it is now, if the new text would only move things around and change no value."""
    if now is None or new is None or now == new:
        return new
    glob = schemas.drop_in_glob(path)

    def meaning(text: str) -> dict[str, t.Any]:
        document = toml.parse(text, path)
        # The place of our import among others does not matter: no other file sets what our drop-in sets.
        imported = sorted(documents.texts_in(document, "imports"), key=glob.__eq__)
        return {**document, "imports": imported} if glob in imported else document

    return now if toml.same(meaning(now), meaning(new)) else new


def _trial(found: Found, new: Texts, changes: t.Sequence[Edit], directory: str) -> dict[str, str]:
    """Return the files of a trial, by name.

    The main file imports, each by its path, all files that the real one will import. Files that change, or that import others,
    are replaced by copies without imports: their imports would bring in the real files once more.
    """
    read = documents.read_by_engine(found.main, new)[1:]
    values = documents.parsed({path: new[path] for path in read})
    changed = {edit.path for edit in changes}
    copied = [path for path in read if path in changed or "imports" in values[path]]
    stand_in = {path: f"{directory}/{number}.toml" for number, path in enumerate(copied)}
    main = toml.with_imports(new[found.main] or "", [stand_in.get(path, path) for path in read], found.main)
    return {
        "config.toml": main,
        **{stand_in[path].rpartition("/")[2]: toml.with_imports(new[path] or "", [], path) for path in copied},
    }
