# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner of containerd: from handlers to files. It says which texts change, and how."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    DropIn,
    Facts,
    InPlace,
    Place,
    Template,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    rendering,
    schemas,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.schemas import Target
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import kata, toml
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
    template,
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
    sources = Sources.of(found)
    found = sources.found
    clean = {path: ours.without(path, found) for path in found.files}
    new: dict[str, str | None] = dict(clean)
    builtin: Tables = {}
    disabled: dict[str, list[str]] = {}
    place: Place = InPlace(found.main)
    if wanted.handlers:
        read = documents.read_by_engine(found.main, clean)
        facts = _facts(found, wanted.mode, clean)
        target = _target(facts)
        place = FLAVOURS[found.flavour].place(facts)
        room.make(read, new, wanted, set(Dump(found.dump).handlers()) - set(found.ours), sources.generated)
        disabled = room.enable_cri(read, new, wanted, sources.generated)
        if not target.declared:
            new[found.main] = toml.declare(new[found.main] or "", target.schema, found.main)
        if isinstance(place, InPlace) and target.forgetful:
            path, target = _last_with_cri(found, read, new, target)
            place = InPlace(path)
        builtin = _write(place, target, found, wanted, new)
    back = ours.returned(found, wanted, new)
    drop_ins = kata.edits(found, wanted.handlers)
    changes = (
        *drop_ins,
        *_edits(found, wanted, clean, new, sources.generated, {place.path: builtin}, disabled),
    )
    if changes and found.version >= (1, 5):
        documents.refuse_missing_imports(found.main, new)
    mode = place.mode if wanted.handlers else ""
    return Plan(changes, _trial(sources, new, changes, trial) if changes else {}, mode, back)


@dataclass(frozen=True)
class Sources:
    """What we may edit. ``found`` has, as its main file, the file that the admin edits.

    ``rendered`` is the main file that the engine reads, ``generated`` are the files that only the distribution writes.
    """

    found: Found
    rendered: str
    generated: t.Collection[str]

    @classmethod
    def of(cls, found: Found) -> Sources:
        """Tell the files of a node apart, as its flavour has them."""
        flavour = FLAVOURS[found.flavour]
        main = flavour.source(found.main)
        generated = set(flavour.generated(found.main, found.files.get(found.main) or ""))
        return cls(replace(found, main=main), found.main, generated | ({found.main} - {main}))


def _write(place: Place, target: Target, found: Found, wanted: Wanted, new: dict[str, str | None]) -> Tables:
    """Write our tables in the texts of ``new``. Return the engine's own handlers that are written out beside them."""
    rendered = "" if isinstance(place, InPlace) else place.rendered
    reads = rendered or place.path
    if isinstance(place, DropIn):
        new[place.path] = new[place.path] or f"{toml.MARK}\nversion = {target.schema}\n"
    builtin = _builtin(toml.parse(new[reads] or "", reads), target, found, {*found.ours, *wanted.handlers})
    written = tables.written(target, {**builtin, **wanted.handlers}, wanted, found.version)
    if rendered:
        new[rendered] = toml.add_tables(new[rendered] or "", written, rendered)
    if isinstance(place, Template):
        new[place.path] = template.with_tables(new[place.path], place.base, written, place.path)
    else:
        new[place.path] = toml.add_tables(new[place.path] or "", written, place.path)
    importer = place.importer if isinstance(place, DropIn) else ""
    if importer and place.path not in documents.read_by_engine(found.main, new):
        new[importer] = toml.add_item(new[importer] or "", "imports", schemas.drop_in_glob(importer), importer)
    return builtin


def _edits(
    found: Found,
    wanted: Wanted,
    clean: Texts,
    new: Texts,
    generated: t.Collection[str],
    builtin: t.Mapping[str, Tables],
    disabled: t.Mapping[str, t.Sequence[str]],
) -> tuple[Edit, ...]:
    """Return the edits that change something, in a safe order."""
    last = [schemas.drop_in_path(found.main), found.main]
    # Files of another coco_engine_config come first. Then the drop-in: it must exist before it is imported.
    paths = [*sorted(set(found.files) - {*last}), *last]
    edits = [
        Edit(
            path,
            now,
            _unless_same_meaning(path, now, new[path]),
            clean[path],
            builtin.get(path, {}),
            disabled.get(path, ()),
        )
        for path in paths
        if path in found.files and path not in generated and not kata.is_ours(path)
        for now in [found.files[path]]
    ]
    if not wanted.handlers:
        edits.reverse()  # and it must be removed after its import
    return tuple(edit for edit in edits if edit.changes)


def _facts(found: Found, mode: str, clean: Texts) -> Facts:
    text = clean[found.main] or ""
    document = toml.parse(text, found.main)
    plain = not set(document) & {"version", "plugins", "proxy_plugins", "timeouts"} and set(
        documents.texts_in(document, "disabled_plugins")
    ) <= set(schemas.CRI_PLUGINS)
    there = [path for path, content in clean.items() if content is not None]
    schema = documents.schema_of(document)
    return Facts(found.version, found.main, schema, mode, plain, text, found.release, there)


def _target(facts: Facts) -> Target:
    document = toml.parse(facts.text, facts.config)
    if facts.schema == 1 and facts.version >= (2, 0) and toml.lookup(document, schemas.V2[:2]):
        raise Refusal(
            f"a version in {facts.config} that fits its tables",
            f"no version, which means 1, and {'.'.join(schemas.V2[:2])}, as it is called since version = 2",
            "Put 'version = 2' at the top of the file, restart containerd and check that its pods still start.",
        )
    return schemas.decide(facts.version, facts.schema, plain=facts.plain)


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
    if template.is_template(path):
        return now if template.same(now, new, path) else new
    glob = schemas.drop_in_glob(path)

    def meaning(text: str) -> dict[str, t.Any]:
        document = toml.parse(text, path)
        # The place of our import among others does not matter: no other file sets what our drop-in sets.
        imported = sorted(documents.texts_in(document, "imports"), key=glob.__eq__)
        return {**document, "imports": imported} if glob in imported else document

    return now if toml.same(meaning(now), meaning(new)) else new


def _trial(sources: Sources, new: Texts, changes: t.Sequence[Edit], directory: str) -> dict[str, str]:
    """Return the files of a trial, by name.

    The main file imports, each by its path, all files that the real one will import. Files that change, or that import others,
    are replaced by copies without imports: their imports would bring in the real files once more.
    """
    found = sources.found
    read = documents.read_by_engine(found.main, new)[1:]
    values = documents.parsed({path: new[path] for path in read})
    changed = {*(edit.path for edit in changes), *sources.generated}
    copied = [path for path in read if path in changed or "imports" in values[path]]
    stand_in = {path: f"{directory}/{number}.toml" for number, path in enumerate(copied)}
    text = new[found.main] or ""
    if found.main != sources.rendered:
        known = rendering.values(found.files[found.main] or "", found.files[sources.rendered] or "")
        text = rendering.render(text, known)
    main = toml.with_imports(text, [stand_in.get(path, path) for path in read], found.main)
    return {
        "config.toml": main,
        **{stand_in[path].rpartition("/")[2]: toml.with_imports(new[path] or "", [], path) for path in copied},
    }
