# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handlers and proxy plugins in containerd's dialect: their tables, the headers of the tables, and the links to shims."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.schemas import Target
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import handlers, toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Tables, Version, Wanted


def of(
    offered: t.Sequence[t.Mapping[str, t.Any]],
    overrides: Tables,
    version: Version,
) -> dict[str, dict[str, t.Any]]:
    """Return each handler's table as this version of containerd wants it.

    For ``offered`` and ``overrides`` see ``Planner.tables``.
    """
    for name, override in overrides.items():
        handlers.refuse_other_types(override, f"coco_handler_overrides.{name}")
    return {
        handler["name"]: _handler_table(handler, overrides.get(handler["name"], {}), version)
        for handler in handlers.with_own(offered, overrides)
    }


def _handler_table(
    handler: t.Mapping[str, t.Any], override: t.Mapping[str, t.Any], version: Version
) -> dict[str, t.Any]:
    values = {**{key: value for key, value in handler.items() if key not in ("name", "shim", "links")}, **override}
    config_path = values.pop("config_path", "")
    options = {**({"ConfigPath": config_path} if config_path else {}), **override.get("options", {})}
    for key in override:
        if key in ("config_path", "runtime_path"):
            continue
        if key not in schemas.KEYS or not schemas.works(key, version):
            raise Refusal(
                f"keys that containerd {'.'.join(map(str, version))} acts on in coco_handler_overrides.{handler['name']}",
                key,
                "Remove it for this node; docs/engines.md lists the keys of each version.",
            )
    # A key without effect is left out: after an upgrade, the engine would suddenly act on it.
    table = {key: value for key, value in values.items() if key != "options" and schemas.works(key, version)}
    return {**table, "options": options} if options else table


def links(
    offered: t.Sequence[t.Mapping[str, t.Any]],
    overrides: Tables,
    version: Version,
) -> dict[str, str]:
    """Return the links that shims need, path → target.

    For an engine that ignores ``runtime_path``, these include links to shims.
    """
    found = {path: target for handler in offered for path, target in handler.get("links", {}).items()}
    if schemas.works("runtime_path", version):
        return found
    for handler in handlers.with_own(offered, overrides):
        handler = {**handler, **overrides.get(handler["name"], {})}
        path = f"{schemas.SHIM_DIRECTORY}/{schemas.shim_name(handler['runtime_type'])}"
        if found.setdefault(path, handler["runtime_path"]) != handler["runtime_path"]:
            raise Refusal(
                f"a runtime_type of its own for each shim on containerd {'.'.join(map(str, version))}",
                f"{handler['runtime_type']} for {found[path]} and {handler['runtime_path']}",
                "Give one of them another runtime_type in coco_handler_overrides.",
            )
    return found


def written(target: Target, served: Tables, wanted: Wanted, version: Version) -> dict[toml.Header, t.Any]:
    """Return all tables to write, by header."""
    tables: dict[toml.Header, t.Any] = {(*schemas.PROXIES, name): table for name, table in wanted.proxies.items()}
    tables.update({(*target.table, name): table for name, table in served.items()})
    if version >= (2, 0):
        # The snapshotter has to stand in both tables: no version of containerd derives the one from the other.
        for name, table in wanted.handlers.items():
            if "snapshotter" in table:
                tables[(*schemas.PLATFORMS, name)] = {"snapshotter": table["snapshotter"]}
    return tables


def headers(names: t.Iterable[str], proxies: t.Iterable[str]) -> list[toml.Header]:
    """Return the headers of handlers and proxy plugins in every schema: a user may have migrated a file."""
    parents = (*schemas.TABLES, schemas.PLATFORMS)
    found: list[toml.Header] = [(*parent, name) for name in names for parent in parents]
    return found + [(*schemas.PROXIES, name) for name in proxies]


def present(document: t.Mapping[str, t.Any], wanted: t.Iterable[toml.Header]) -> list[toml.Header]:
    """Return those of the wanted headers that a file has."""
    return [header for header in wanted if header[-1] in toml.lookup(document, header[:-1])]
