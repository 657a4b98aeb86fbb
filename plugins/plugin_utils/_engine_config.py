# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From handlers to an engine's files: which texts change, and into what. Pure: text in, text out."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _dump, _engines
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engines import DROP_IN, Target
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _toml

Tables = t.Mapping[str, t.Mapping[str, t.Any]]


@dataclass(frozen=True)
class Edit:
    """One file: its text now, as it shall be, and as it is without anything of ours. None: no such file.

    ``builtin`` are handlers of the engine's own defaults that were written out beside ours.
    """

    path: str
    now: str | None
    wanted: str | None
    without: str | None
    builtin: Tables = field(default_factory=dict)

    @property
    def changes(self) -> bool:
        return self.now != self.wanted


@dataclass(frozen=True)
class Plan:
    """The edits in the order in which they are safe, and the files for a trial (see ``_transaction``)."""

    edits: tuple[Edit, ...]
    trial: t.Mapping[str, str] = field(default_factory=dict)


def handler_tables(
    handlers: t.Sequence[t.Mapping[str, t.Any]],
    overrides: t.Mapping[str, t.Mapping[str, t.Any]],
    version: t.Sequence[int],
) -> dict[str, dict[str, t.Any]]:
    """Return each handler's table as this version of containerd wants it.

    ``handlers`` as the payload offers them (``_shims.Handler``), ``overrides`` by handler name with the same keys, further
    keys of a handler's table, and ``options``, which are merged.
    """
    names = [handler["name"] for handler in handlers]
    unknown = [name for name in overrides if name not in names]
    if unknown:
        raise Refusal(
            f"handlers of the payload in coco_handler_overrides ({', '.join(names)})",
            ", ".join(map(str, unknown)),
            "Correct the name, or take it out.",
        )
    for name, override in overrides.items():
        _refuse_other_types(override, f"coco_handler_overrides.{name}")
    return {
        handler["name"]: _handler_table(handler, overrides.get(handler["name"], {}), version) for handler in handlers
    }


def _handler_table(
    handler: t.Mapping[str, t.Any], override: t.Mapping[str, t.Any], version: t.Sequence[int]
) -> dict[str, t.Any]:
    values = {**{key: value for key, value in handler.items() if key not in ("name", "shim")}, **override}
    config_path = values.pop("config_path", "")
    options = {**({"ConfigPath": config_path} if config_path else {}), **override.get("options", {})}
    for key in override:
        if key in ("config_path", "runtime_path"):
            continue
        if key not in _engines.KEYS or not _engines.works(key, tuple(version)):
            raise Refusal(
                f"keys that containerd {'.'.join(map(str, version))} acts on in coco_handler_overrides.{handler['name']}",
                key,
                "Take it out for this node; docs/engines.md lists the keys of each version.",
            )
    if "snapshotter" in override and tuple(version) >= (2, 0):
        raise Refusal(
            "no snapshotter for a single handler on containerd 2.x",
            f"coco_handler_overrides.{handler['name']}.snapshotter",
            "This version of the collection cannot set it there yet: take it out.",
        )
    # A key without effect is left out: an engine that is upgraded one day would suddenly act on it.
    table = {key: value for key, value in values.items() if key != "options" and _engines.works(key, tuple(version))}
    return {**table, "options": options} if options else table


#: Types of keys that are used here; the engine itself checks the others.
_TYPES: t.Mapping[str, type] = {"runtime_type": str, "runtime_path": str, "config_path": str, "options": dict}


def _refuse_other_types(override: t.Any, where: str) -> None:
    def refuse(expected: str, where: str, value: t.Any) -> t.NoReturn:
        raise Refusal(f"{expected} in {where}", repr(value), "Correct it, or take it out.")

    if not isinstance(override, dict):
        refuse("a mapping", where, override)
    for key, value in override.items():
        if value is None or not isinstance(value, _TYPES.get(key, object)):
            refuse(_TYPES[key].__name__ if key in _TYPES else "a value", f"{where}.{key}", value)
    if None in override.get("options", {}).values():
        refuse("values", f"{where}.options", override["options"])


def shim_links(
    handlers: t.Sequence[t.Mapping[str, t.Any]],
    overrides: t.Mapping[str, t.Mapping[str, t.Any]],
    version: t.Sequence[int],
) -> dict[str, str]:
    """Return the links to shims (path → target) for an engine that does not act on ``runtime_path``."""
    if _engines.works("runtime_path", tuple(version)):
        return {}
    links: dict[str, str] = {}
    for handler in ({**handler, **overrides.get(handler["name"], {})} for handler in handlers):
        path = f"{_engines.SHIM_DIRECTORY}/{_engines.shim_name(handler['runtime_type'])}"
        if links.setdefault(path, handler["runtime_path"]) != handler["runtime_path"]:
            raise Refusal(
                f"a runtime_type of its own for each shim on containerd {'.'.join(map(str, version))}",
                f"{handler['runtime_type']} for {links[path]} and {handler['runtime_path']}",
                "Correct coco_handler_overrides.",
            )
    return links


def plan(
    target: Target,
    main: str,
    files: t.Mapping[str, str | None],
    before: t.Mapping[str, str | None],
    ours: t.Collection[str],
    wanted: Tables,
    dump: str,
    trial_glob: str,
    written: Tables | None = None,
) -> Plan:
    """Plan the edits that bring an engine's files to exactly the ``wanted`` handlers.

    ``main`` is the main file's path, ``files`` the text of every file concerned: the main file, our drop-in, and all that
    we have edited. ``before`` is the text to go back to of each file that is as we left it (absent from it: edited since,
    or never ours), ``ours`` the names of our handlers in the files now, ``written`` the engine's own handlers that we wrote
    out (:class:`Edit`), ``dump`` what the engine makes of its configuration.
    """
    drop_in = _engines.drop_in_path(main)
    clean = {
        path: before[path] if path in before else _without_ours(path, text, target, ours, main, written or {})
        for path, text in files.items()
    }
    new: dict[str, str | None] = dict(clean)
    text = clean[main]
    if text is None:
        raise Refusal(f"a configuration file at {main}", "none", "Write one: containerd config default prints it.")
    document = _toml.parse(text, main)
    _refuse_foreign(set(wanted) & (set(_dump.handlers(dump)) - set(ours)), main)
    headers = {(*target.table, name): table for name, table in wanted.items()}
    trial = text
    builtin: Tables = {}
    if not wanted:
        pass
    elif target.mode == DROP_IN:
        new[drop_in] = _toml.add_tables(
            clean[drop_in] or f"{_toml.MARK}\nversion = {target.schema}\n", headers, drop_in
        )
        if not _toml.imports(document, drop_in):
            new[main] = _toml.add_import(text, _engines.drop_in_glob(main), main)
        trial = _toml.add_import(text, trial_glob, main)
    else:
        builtin = _builtin(document, target, dump, ours)
        engines_own = {(*target.table, name): table for name, table in builtin.items()}
        new[main] = trial = _toml.add_tables(text, {**engines_own, **headers}, main)
    edits = [
        Edit(
            path,
            files[path],
            _unless_same_meaning(path, files[path], new[path]),
            clean[path],
            builtin if path == main else {},
        )
        # Files of another coco_engine_config first; then, a drop-in appears before it is imported …
        for path in [*sorted(set(files) - {drop_in, main}), drop_in, main]
    ]
    if not wanted:
        edits.reverse()  # … and goes after
    trials = {"config.toml": trial, **({os.path.basename(drop_in): new[drop_in] or ""} if new.get(drop_in) else {})}
    return Plan(tuple(edit for edit in edits if edit.changes), trials)


def _without_ours(
    path: str, text: str | None, target: Target, ours: t.Collection[str], main: str, written: Tables
) -> str | None:
    """Return a file that was edited after us without what is ours in it."""
    if text is None or not ours:
        return text
    present = _toml.lookup(_toml.parse(text, path), target.table)
    names = list(ours)
    if set(present) <= {*ours, *written}:
        # The engine has them from its defaults again, once there is no table of handlers any more.
        names += [name for name, table in written.items() if present.get(name) == table]
    stripped = _toml.remove_tables(text, [(*target.table, name) for name in names], path)
    if path == main:
        return _toml.remove_import(stripped, _engines.drop_in_glob(main), path)
    rest = {key: value for key, value in _toml.parse(stripped, path).items() if key != "version"}
    return stripped if rest else None


def _refuse_foreign(taken: t.Collection[str], main: str) -> None:
    if taken:
        raise Refusal(
            f"no handler of your own with the name of one of ours in {main} and what it imports",
            ", ".join(sorted(taken)),
            "Rename or remove yours, or leave these names out of coco_handlers.",
        )


def _builtin(
    document: t.Mapping[str, t.Any], target: Target, dump: str, ours: t.Collection[str]
) -> dict[str, dict[str, t.Any]]:
    """Return the handlers that a forgetful engine has from its own defaults, to be written out."""
    if not target.forgetful or _toml.lookup(document, target.table):
        return {}
    tables = _toml.lookup(_toml.parse(dump, "containerd config dump"), target.table)
    return {
        name: {key: value for key, value in table.items() if value or key == "options"}
        for name, table in tables.items()
        if name not in ours
    }


def _unless_same_meaning(path: str, now: str | None, new: str | None) -> str | None:
    """Keep a file whose user moved things around but changed no value."""
    if now is None or new is None or now == new:
        return new
    return now if _toml.parse(now, path) == _toml.parse(new, path) else new
