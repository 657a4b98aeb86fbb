# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From handlers to an engine's files: which texts change, and into what. Pure: text in, text out."""

from __future__ import annotations

import base64
import difflib
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    dump as dump_module,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.imports import (
    absolute,
    order,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.schemas import (
    DROP_IN,
    Target,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _toml

Tables = t.Mapping[str, t.Mapping[str, t.Any]]
Texts = t.Mapping[str, str | None]
Version = tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """What a node has: the version of its engine, what that makes of its configuration (``dump``), the main file's path, and
    every file concerned: what the engine reads, our drop-in, and all that we have edited.

    ``before`` is the text to go back to of each file that is as we left it (absent from it: edited since, or never ours),
    ``edited`` the paths of the files that we have edited. ``ours`` and ``proxies`` are our handlers and proxy plugins in the
    files now, name → table as we wrote it, ``written`` and ``disabled`` as in :class:`Edit`.
    """

    version: Version
    main: str
    files: Texts
    dump: str
    before: Texts = field(default_factory=dict)
    edited: t.Collection[str] = ()
    ours: Tables = field(default_factory=dict)
    proxies: Tables = field(default_factory=dict)
    written: Tables = field(default_factory=dict)
    disabled: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)

    @property
    def drop_in(self) -> str:
        return schemas.drop_in_path(self.main)

    @classmethod
    def read(cls, found: t.Mapping[str, t.Any]) -> Found:
        """Return what the module engine_config has read on a node."""
        return cls(
            version=tuple(map(int, found["engine"]["version"].split("."))),
            main=found["engine"]["config"],
            files=_texts(found["files"]),
            dump=found["dump"],
            before=_texts(found["before"]),
            edited=found["edited"],
            ours=found["owned"],
            proxies=found["proxy_plugins"],
            written=found["builtin"],
            disabled=found["disabled"],
        )


def _texts(files: t.Mapping[str, str | None]) -> Texts:
    """Return the texts of files whose bytes are in base64."""
    texts: dict[str, str | None] = {}
    for path, content in files.items():
        try:
            texts[path] = None if content is None else base64.b64decode(content).decode()
        except UnicodeDecodeError:
            raise Refusal(f"{path} to be UTF-8 text", "other bytes", "Save it as UTF-8, as TOML has to be.") from None
    return texts


@dataclass(frozen=True)
class Wanted:
    """What the engine is to serve: our handlers and proxy plugins, name → table; and what the user allows for that."""

    handlers: Tables = field(default_factory=dict)
    proxies: Tables = field(default_factory=dict)
    mode: str = "auto"
    keep_aside: bool = False
    enable_cri: bool = False


@dataclass(frozen=True)
class Edit:
    """One file: its text now, as it shall be, and as it is without anything of ours. None: no such file.

    ``builtin`` are handlers of the engine's own defaults that were written out beside ours, ``disabled`` the plugins that
    were taken out of its ``disabled_plugins``.
    """

    path: str
    now: str | None
    wanted: str | None
    without: str | None
    builtin: Tables = field(default_factory=dict)
    disabled: t.Sequence[str] = ()

    @property
    def changes(self) -> bool:
        return self.now != self.wanted


@dataclass(frozen=True)
class Plan:
    """The edits in the order in which they are safe, the files for a trial (see ``_native.transaction``), the mode in which
    handlers are written ('' when none are), and the names of handlers of the user's that come back in the place of ours."""

    edits: tuple[Edit, ...]
    trial: t.Mapping[str, str] = field(default_factory=dict)
    mode: str = ""
    returned: tuple[str, ...] = ()


def handler_tables(
    handlers: t.Sequence[t.Mapping[str, t.Any]],
    overrides: t.Mapping[str, t.Mapping[str, t.Any]],
    version: t.Sequence[int],
) -> dict[str, dict[str, t.Any]]:
    """Return each handler's table as this version of containerd wants it.

    ``handlers`` as the payload offers them (``_payload.shims.Handler``), ``overrides`` by handler name with the same keys, further
    keys of a handler's table, and ``options``, which are merged.
    """
    for name, override in overrides.items():
        _refuse_other_types(override, f"coco_handler_overrides.{name}")
    return {
        handler["name"]: _handler_table(handler, overrides.get(handler["name"], {}), version)
        for handler in _with_own(handlers, overrides)
    }


def check_overrides(overrides: t.Mapping[str, t.Any]) -> None:
    """Refuse ``coco_handler_overrides`` that no node could take; what a node lacks for them is found out there."""
    if not isinstance(overrides, dict):
        raise Refusal("a mapping in coco_handler_overrides", type(overrides).__name__, "Write NAME: {key: value}.")
    known = {*schemas.KEYS, "config_path", "runtime_path"}
    for name, override in overrides.items():
        where = f"coco_handler_overrides.{name}"
        _refuse_other_types(override, where)
        for key in sorted(set(override) - known):
            meant = difflib.get_close_matches(key, known, 1)
            raise Refusal(
                f"keys of a handler in {where}",
                f"{key} (did you mean {meant[0]}?)" if meant else key,
                f"Take it out, or write one of {', '.join(sorted(known))}.",
            )


def refuse_early(found: Found, wanted: Wanted, names: t.Sequence[str], overrides: t.Mapping[str, t.Any]) -> None:
    """Refuse what no payload could be served with, before there is one: ``names`` are the handlers asked for.

    Of overrides, only what holds for any node and payload: those of handlers that this node will not serve do not matter to it.
    """
    check_overrides(overrides)
    own = [name for name, override in overrides.items() if override.get("config_path")]
    # Those that are served now stay, as far as anybody knows yet.
    tables = {name: {"runtime_type": "io.containerd.x.v2"} for name in [*(names or found.ours), *own] or [_ANY]}
    plan(found, replace(wanted, handlers=tables), "/run/trial")


#: Stands for handlers whose names are not known yet. No RuntimeClass could name it.
_ANY = "any_handler"


def _with_own(
    handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: t.Mapping[str, t.Mapping[str, t.Any]]
) -> list[t.Mapping[str, t.Any]]:
    """Add the user's own handlers: what they do not say is as in the first handler of the payload."""
    names = [handler["name"] for handler in handlers]
    own = [name for name in overrides if name not in names]
    unknown = [name for name in own if not overrides[name].get("config_path")]
    if unknown:
        raise Refusal(
            f"handlers of the payload in coco_handler_overrides ({', '.join(names)}), or a config_path for one of your own",
            ", ".join(map(str, unknown)),
            "Write a name of the payload, or give it a config_path to make it a handler of your own.",
        )
    base = dict(handlers[0]) if handlers else {}
    return [*handlers, *({**base, "name": name, "shim": ""} for name in own)]


def _handler_table(
    handler: t.Mapping[str, t.Any], override: t.Mapping[str, t.Any], version: t.Sequence[int]
) -> dict[str, t.Any]:
    values = {**{key: value for key, value in handler.items() if key not in ("name", "shim", "links")}, **override}
    config_path = values.pop("config_path", "")
    options = {**({"ConfigPath": config_path} if config_path else {}), **override.get("options", {})}
    for key in override:
        if key in ("config_path", "runtime_path"):
            continue
        if key not in schemas.KEYS or not schemas.works(key, tuple(version)):
            raise Refusal(
                f"keys that containerd {'.'.join(map(str, version))} acts on in coco_handler_overrides.{handler['name']}",
                key,
                "Take it out for this node; docs/engines.md lists the keys of each version.",
            )
    # A key without effect is left out: an engine that is upgraded one day would suddenly act on it.
    table = {key: value for key, value in values.items() if key != "options" and schemas.works(key, tuple(version))}
    return {**table, "options": options} if options else table


#: Types of keys that are used here; the engine itself checks the others.
_TYPES: t.Mapping[str, type] = {
    **dict.fromkeys(("runtime_type", "runtime_path", "config_path", "snapshotter", "type", "address"), str),
    "options": dict,
}
_NAMES: t.Mapping[type, str] = {str: "text", dict: "a mapping"}


def proxy_tables(proxies: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return ``coco_proxy_plugins`` as the tables that they become, or refuse them."""
    for name, table in proxies.items():
        where = f"coco_proxy_plugins.{name}"
        _refuse_other_types(table, where)
        missing = [key for key in ("type", "address") if not table.get(key)]
        if missing:
            raise Refusal(
                f"type and address in {where}", f"no {' and no '.join(missing)}", "For example: type: snapshot."
            )
    return {name: dict(table) for name, table in proxies.items()}


def _refuse_other_types(override: t.Any, where: str) -> None:
    def refuse(expected: str, where: str, value: t.Any) -> t.NoReturn:
        # Not the value itself: an option can be a secret.
        raise Refusal(
            f"{expected} in {where}",
            "no value" if value is None else f"a value of the type {type(value).__name__}",
            "Write such a value, or take it out.",
        )

    if not isinstance(override, dict):
        refuse("a mapping", where, override)
    for key, value in override.items():
        if value is None or not isinstance(value, _TYPES.get(key, object)):
            refuse(_NAMES.get(_TYPES.get(key, object), "a value"), f"{where}.{key}", value)
    for key, value in override.get("options", {}).items():
        if value is None:
            refuse("a value", f"{where}.options.{key}", value)


def shim_links(
    handlers: t.Sequence[t.Mapping[str, t.Any]],
    overrides: t.Mapping[str, t.Mapping[str, t.Any]],
    version: t.Sequence[int],
) -> dict[str, str]:
    """Return the links (path → target) that shims need, and those to shims, for an engine that does not act on ``runtime_path``."""
    links = {path: target for handler in handlers for path, target in handler.get("links", {}).items()}
    if schemas.works("runtime_path", tuple(version)):
        return links
    for handler in _with_own(handlers, overrides):
        handler = {**handler, **overrides.get(handler["name"], {})}
        path = f"{schemas.SHIM_DIRECTORY}/{schemas.shim_name(handler['runtime_type'])}"
        if links.setdefault(path, handler["runtime_path"]) != handler["runtime_path"]:
            raise Refusal(
                f"a runtime_type of its own for each shim on containerd {'.'.join(map(str, version))}",
                f"{handler['runtime_type']} for {links[path]} and {handler['runtime_path']}",
                "Give one of them another runtime_type in coco_handler_overrides.",
            )
    return links


def plan(found: Found, wanted: Wanted, trial: str) -> Plan:
    """Plan the edits that bring an engine's files to exactly what is wanted. ``trial`` is the directory for a dry run."""
    clean = {path: _without_ours(path, found) for path in found.files}
    new: dict[str, str | None] = dict(clean)
    builtin: Tables = {}
    disabled: dict[str, list[str]] = {}
    place, mode = found.main, ""
    if wanted.handlers:
        read = _read_by_engine(found.main, clean)
        target = _target(found, wanted, clean)
        mode = target.mode
        _make_room(read, new, wanted, set(dump_module.handlers(found.dump)) - set(found.ours))
        disabled = _enable_cri(read, new, wanted)
        if not target.declared:
            new[found.main] = _toml.declare(new[found.main] or "", target.schema, found.main)
        if mode == DROP_IN:
            place = found.drop_in
            new[place] = new[place] or f"{_toml.MARK}\nversion = {target.schema}\n"
        elif target.forgetful:
            place, target = _last_with_cri(found, read, new, target)
        text = new[place] or ""
        builtin = _builtin(_toml.parse(text, place), target, found, {*found.ours, *wanted.handlers})
        new[place] = _toml.add_tables(
            text, _tables(target, {**builtin, **wanted.handlers}, wanted, found.version), place
        )
        if mode == DROP_IN and place not in _read_by_engine(found.main, new):
            new[found.main] = _toml.add_item(
                new[found.main] or "", "imports", schemas.drop_in_glob(found.main), found.main
            )
    returned = _returned(found, wanted, new)
    edits = [
        Edit(
            path,
            now,
            _unless_same_meaning(path, now, new[path]),
            clean[path],
            builtin if path == place else {},
            disabled.get(path, ()),
        )
        # Files of another coco_engine_config first; then, a drop-in appears before it is imported …
        for path in [*sorted(set(found.files) - {found.drop_in, found.main}), found.drop_in, found.main]
        for now in [found.files[path]]
    ]
    if not wanted.handlers:
        edits.reverse()  # … and goes after
    changes = tuple(edit for edit in edits if edit.changes)
    if changes and found.version >= (1, 5):
        _refuse_missing_imports(found.main, new)
    return Plan(changes, _trial(found, new, changes, trial) if changes else {}, mode, returned)


def _documents(texts: Texts) -> dict[str, dict[str, t.Any]]:
    return {path: _toml.parse(text, path) for path, text in texts.items() if text is not None}


def _read_by_engine(main: str, texts: Texts) -> list[str]:
    """Return the files that the engine reads, in its order."""
    documents = _documents(texts)
    return order(main, lambda path: _texts_in(documents.get(path, {}), "imports"), set(documents))


def _texts_in(document: t.Mapping[str, t.Any], key: str) -> list[str]:
    """Return the texts in a list of the top level."""
    known = document.get(key, [])
    return [item for item in known if isinstance(item, str)] if isinstance(known, list) else []


def _refuse_missing_imports(main: str, texts: Texts) -> None:
    """Refuse a restart that the engine would not survive: all but 1.4 stop at a missing file, though a dump may pass."""
    documents = _documents(texts)
    for parent in _read_by_engine(main, texts):
        for pattern in _texts_in(documents.get(parent, {}), "imports"):
            path = absolute(pattern, parent)
            if "*" not in path and path not in documents:
                raise Refusal(
                    f"every file that {parent} imports by its plain name",
                    f"no {path}",
                    "The engine would not start again. Bring the file back, or take it out of the imports.",
                )


def _target(found: Found, wanted: Wanted, clean: Texts) -> Target:
    document = _toml.parse(clean[found.main] or "", found.main)
    schema = schema_of(document)
    if schema == 1 and found.version >= (2, 0) and _toml.lookup(document, schemas.V2[:2]):
        raise Refusal(
            f"a version in {found.main} that fits its tables",
            f"no version, which means 1, and {'.'.join(schemas.V2[:2])}, as it is called since version = 2",
            "Put 'version = 2' at the top of the file, restart containerd and check that its pods still start.",
        )
    plain = not set(document) & {"version", "plugins", "proxy_plugins", "timeouts"} and set(
        _texts_in(document, "disabled_plugins")
    ) <= set(schemas.CRI_PLUGINS)
    return schemas.decide(found.version, schema, wanted.mode, plain)


def schema_of(document: t.Mapping[str, t.Any]) -> int:
    """Return the schema of a file: 1 for one without version, or with 0, 0 for one that says nothing."""
    version = document.get("version", 1 if document else 0)
    if not isinstance(version, int) or isinstance(version, bool):
        raise Refusal(
            "a whole number as the version of a configuration file", repr(version), "Write version = 2, for example."
        )
    return 1 if "version" in document and version == 0 else version


def _tables(target: Target, handlers: Tables, wanted: Wanted, version: Version) -> dict[_toml.Header, t.Any]:
    """Return all tables to write, by header."""
    tables: dict[_toml.Header, t.Any] = {(*schemas.PROXIES, name): table for name, table in wanted.proxies.items()}
    tables.update({(*target.table, name): table for name, table in handlers.items()})
    if version >= (2, 0):
        # No version of containerd derives the one from the other.
        for name, table in wanted.handlers.items():
            if "snapshotter" in table:
                tables[(*schemas.PLATFORMS, name)] = {"snapshotter": table["snapshotter"]}
    return tables


def _headers(handlers: t.Iterable[str], proxies: t.Iterable[str]) -> list[_toml.Header]:
    """Return the headers under which handlers and proxy plugins may stand in any schema: a user may have migrated a file."""
    parents = (*schemas.TABLES, schemas.PLATFORMS)
    headers: list[_toml.Header] = [(*parent, name) for name in handlers for parent in parents]
    return headers + [(*schemas.PROXIES, name) for name in proxies]


def _without_ours(path: str, found: Found) -> str | None:
    """Return a file without what is ours in it: as it was before us, or as its user has edited it since."""
    text = found.files[path]
    if path in found.before:
        return found.before[path]
    if text is None or not (found.ours or found.proxies):
        return text
    if path not in {found.main, found.drop_in, *found.edited}:
        return _without_copies(path, text, found)
    document = _toml.parse(text, path)
    headers = _headers(found.ours, found.proxies)
    for table in schemas.TABLES:
        present = _toml.lookup(document, table)
        if set(present) <= {*found.ours, *found.written}:
            # The engine has them from its defaults again, once there is no table of handlers any more.
            headers += [(*table, name) for name, values in found.written.items() if present.get(name) == values]
    text = _toml.give_back(_toml.remove_tables(text, headers, path))
    for plugin in found.disabled.get(path, ()):
        text = _toml.add_item(text, "disabled_plugins", plugin, path)
    if path == found.main and path in found.edited:  # else the import is the user's own
        return _toml.remove_item(text, "imports", schemas.drop_in_glob(found.main), path)
    if path == found.drop_in and not set(_toml.parse(text, path)) - {"version"}:
        return None
    return text


def _without_copies(path: str, text: str, found: Found) -> str:
    """Return a file of others without copies of our tables: tools write down what a dump says, and ours with it."""
    document = _toml.parse(text, path)
    copies = [
        header
        for header in _present(document, _headers(found.ours, found.proxies))
        if _is_copy(_toml.lookup(document, header[:-1])[header[-1]], _written(header, found))
    ]
    return _toml.remove_tables(text, copies, path) if copies else text


def _present(document: t.Mapping[str, t.Any], headers: t.Iterable[_toml.Header]) -> list[_toml.Header]:
    return [header for header in headers if header[-1] in _toml.lookup(document, header[:-1])]


def _written(header: _toml.Header, found: Found) -> t.Mapping[str, t.Any]:
    """Return what we wrote below a header."""
    *parent, name = header
    if tuple(parent) == schemas.PROXIES:
        return found.proxies[name]
    if tuple(parent) == schemas.PLATFORMS:
        return {key: value for key, value in found.ours[name].items() if key == "snapshotter"}
    return found.ours[name]


def _is_copy(table: t.Any, ours: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a table means what ours does: one out of a dump has every key that the engine knows, with its default."""
    if not isinstance(table, dict):
        return False
    both = table.keys() & ours.keys()
    return all(_toml.same(table[key], ours[key]) for key in both) and all(
        not value or value == schemas.DEFAULTS.get(key) for key, value in {**table, **ours}.items() if key not in both
    )


def _returned(found: Found, wanted: Wanted, new: Texts) -> tuple[str, ...]:
    """Return the names of handlers of the user's that come back where ours go. Refuse a name of ours that would stay without
    being theirs: its pods would start no more.
    """
    headers = _headers(set(found.ours) - set(wanted.handlers), set(found.proxies) - set(wanted.proxies))
    theirs: set[str] = set()
    left: dict[str, set[str]] = {}
    for path in _read_by_engine(found.main, new):
        document = _toml.parse(new[path] or "", path)
        here = set(_present(document, headers))
        back = here if path in found.before else here & _toml.aside(found.files[path] or "")
        # What was kept aside can be a copy, too, that was edited before.
        back = {
            header for header in back if not _needs_ours(_toml.lookup(document, header), found.ours.get(header[-1], {}))
        }
        theirs |= {header[-1] for header in back}
        if here - back:
            left[path] = {header[-1] for header in here - back}
    if left:
        raise Refusal(
            f"the handlers that go ({', '.join(sorted(set().union(*left.values())))}) in no other file that the engine reads",
            "; ".join(f"{', '.join(sorted(names))} in {path}" for path, names in left.items())
            + ", not as this collection wrote them",
            "They would be served without their programs, so nothing is removed. Take their tables out of "
            f"{' and '.join(left)} ([….runtimes.NAME] and what is below it, also in lines that begin with #aside#), or have the "
            "tool do it that wrote them there, and start again.",
        )
    return tuple(sorted(theirs - set(found.proxies)))


def _needs_ours(table: t.Mapping[str, t.Any], ours: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a handler runs with what goes together with a handler of ours."""

    def paths(one: t.Mapping[str, t.Any]) -> set[str]:
        found = (one.get("runtime_path"), _toml.lookup(one, ("options",)).get("ConfigPath"))
        return {path for path in found if isinstance(path, str) and path}

    return bool(paths(table) & paths(ours))


def _make_room(
    read: t.Sequence[str], new: dict[str, str | None], wanted: Wanted, configured: t.Collection[str]
) -> None:
    """Put handlers and proxy plugins of the user's that have a name of ours aside in ``new``, or refuse."""
    headers = _headers(wanted.handlers, wanted.proxies)
    taken: dict[str, list[_toml.Header]] = {}
    for path, document in _documents({path: new[path] for path in read}).items():
        here = _present(document, headers)
        if here:
            taken[path] = here
    known = {header[-1] for here in taken.values() for header in here}
    unknown = sorted(set(wanted.handlers) & set(configured) - known)
    if unknown:
        raise Refusal(
            "handlers with other names than the engine's own",
            ", ".join(unknown),
            "Leave these names out of coco_handlers and coco_handler_overrides.",
        )
    if taken and not wanted.keep_aside:
        raise Refusal(
            "no handler or proxy plugin of your own with the name of one of ours",
            "; ".join(
                f"{', '.join(sorted({header[-1] for header in here}))} in {path}" for path, here in taken.items()
            ),
            "Rename or remove yours, leave these names out of coco_handlers, or set coco_conflicts=keep_aside: yours come "
            "back when ours are uninstalled.",
        )
    for path, here in taken.items():
        new[path] = _toml.set_aside(new[path] or "", here, path)


def _enable_cri(read: t.Sequence[str], new: dict[str, str | None], wanted: Wanted) -> dict[str, list[str]]:
    """Take the CRI out of each file's ``disabled_plugins`` in ``new``, or refuse. Returns what was taken out, by path."""
    disabled: dict[str, list[str]] = {}
    for path, document in _documents({path: new[path] for path in read}).items():
        here = [plugin for plugin in schemas.CRI_PLUGINS if plugin in _texts_in(document, "disabled_plugins")]
        if here:
            disabled[path] = here
    if disabled and not wanted.enable_cri:
        raise Refusal(
            "an engine whose CRI is enabled",
            "; ".join(f"{', '.join(here)} in disabled_plugins of {path}" for path, here in disabled.items()),
            "Kubernetes cannot use this engine as it is. Remove that entry and restart the engine, or set "
            "coco_enable_cri=true: then this collection does it, and takes it back at uninstall.",
        )
    for path, here in disabled.items():
        for plugin in here:
            new[path] = _toml.remove_item(new[path] or "", "disabled_plugins", plugin, path)
    return disabled


def _last_with_cri(found: Found, read: t.Sequence[str], new: Texts, target: Target) -> tuple[str, Target]:
    """Return the file whose CRI section counts to an engine that takes the last one whole, and how it is to be edited."""
    documents = _documents({path: new[path] for path in read})
    others = [path for path, document in documents.items() if path != found.main and _has_cri(document)]
    if not others:
        return found.main, target
    place = others[-1]
    schema, main = schema_of(documents[place]), schema_of(documents.get(found.main, {}))
    if schema != main:
        raise Refusal(
            f"{place} to declare the version of {found.main}, because its CRI section takes the place of that file's",
            f"{schema or 'none'} and {main or 'none'}",
            "Let both files declare the same version.",
        )
    return place, target


def _has_cri(document: t.Mapping[str, t.Any]) -> bool:
    return any(_toml.lookup(document, table[:2]) for table in schemas.TABLES)


def _builtin(
    document: t.Mapping[str, t.Any], target: Target, found: Found, ours: t.Collection[str]
) -> dict[str, dict[str, t.Any]]:
    """Return the handlers that a forgetful engine has from its own defaults, to be written out."""
    if not target.forgetful or _toml.lookup(document, target.table):
        return {}
    if found.written:
        return {name: dict(table) for name, table in found.written.items()}
    # Whatever a file's schema: a dump of 1.x is one of schema 2.
    tables = _toml.lookup(_toml.parse(found.dump, "containerd config dump"), schemas.V2)
    tables = tables or {"runc": {"runtime_type": "io.containerd.runc.v2"}}  # of an engine whose CRI is disabled
    return {
        name: {key: value for key, value in table.items() if value or key == "options"}
        for name, table in tables.items()
        if name not in ours
    }


def _unless_same_meaning(path: str, now: str | None, new: str | None) -> str | None:
    """Keep a file whose user moved things around but changed no value."""
    if now is None or new is None or now == new:
        return new
    glob = schemas.drop_in_glob(path)

    def meaning(text: str) -> dict[str, t.Any]:
        document = _toml.parse(text, path)
        # Where our import stands among others has no meaning: nothing else sets what our drop-in sets.
        imports = sorted(_texts_in(document, "imports"), key=glob.__eq__)
        return {**document, "imports": imports} if glob in imports else document

    return now if _toml.same(meaning(now), meaning(new)) else new


def _trial(found: Found, new: Texts, changes: t.Sequence[Edit], directory: str) -> dict[str, str]:
    """Return the files of a dry run, by name: the main file, which imports by their paths all that the real one will have
    imported, and copies of those that change or import others: these would bring in the real files once more."""
    read = _read_by_engine(found.main, new)[1:]
    documents = _documents({path: new[path] for path in read})
    changed = {edit.path for edit in changes}
    copied = [path for path in read if path in changed or "imports" in documents[path]]
    stand_in = {path: f"{directory}/{number}.toml" for number, path in enumerate(copied)}
    main = _toml.with_imports(new[found.main] or "", [stand_in.get(path, path) for path in read], found.main)
    return {
        "config.toml": main,
        **{stand_in[path].rpartition("/")[2]: _toml.with_imports(new[path] or "", [], path) for path in copied},
    }
