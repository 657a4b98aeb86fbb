# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check what users say about handlers and proxy plugins (``coco_handler_overrides``, ``coco_proxy_plugins``), for any engine."""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import (
    Found,
    Planner,
    Tables,
    Wanted,
)

#: Types of keys that are used here; the engine itself checks the others.
_TYPES: t.Mapping[str, type] = {
    **dict.fromkeys(("runtime_type", "runtime_path", "config_path", "snapshotter", "type", "address"), str),
    "options": dict,
}
_NAMES: t.Mapping[type, str] = {str: "text", dict: "a mapping"}
#: Stands for handlers whose names we do not know yet. No RuntimeClass can have this name.
_ANY = "any_handler"


def check_overrides(overrides: t.Mapping[str, t.Any], keys: t.Collection[str]) -> None:
    """Refuse ``coco_handler_overrides`` that no node could use. The node itself finds out what it lacks for them.

    ``keys``: the keys of a handler's table that an engine knows.
    """
    if not isinstance(overrides, dict):
        raise Refusal("a mapping in coco_handler_overrides", type(overrides).__name__, "Write NAME: {key: value}.")
    known = {*keys, "config_path", "runtime_path"}
    for name, override in overrides.items():
        where = f"coco_handler_overrides.{name}"
        refuse_other_types(override, where)
        for key in sorted(set(override) - known):
            meant = difflib.get_close_matches(key, known, 1)
            raise Refusal(
                f"keys of a handler in {where}",
                f"{key} (did you mean {meant[0]}?)" if meant else key,
                f"Remove it, or write one of {', '.join(sorted(known))}.",
            )


def refuse_early(planner: Planner, found: Found, wanted: Wanted, names: t.Sequence[str], overrides: Tables) -> None:
    """Refuse, before there is a payload, what would keep the engine from serving any payload.

    ``names`` are the handlers that the user asks for. Of the overrides, we check only what holds for every node and payload:
    overrides of handlers that this node will not serve do not matter here.
    """
    check_overrides(overrides, planner.keys)
    own = [name for name, override in overrides.items() if override.get("config_path")]
    # As far as we know yet, the handlers that are served now stay.
    tables = {name: {"runtime_type": _ANY} for name in [*(names or found.ours), *own] or [_ANY]}
    planner.plan(found, replace(wanted, handlers=tables), "/run/trial")


def with_own(
    handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: t.Mapping[str, t.Mapping[str, t.Any]]
) -> list[t.Mapping[str, t.Any]]:
    """Add the user's own handlers. What they leave out is taken from the first handler of the payload."""
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


def proxy_tables(proxies: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the tables that ``coco_proxy_plugins`` become, or refuse them."""
    for name, table in proxies.items():
        where = f"coco_proxy_plugins.{name}"
        refuse_other_types(table, where)
        missing = [key for key in ("type", "address") if not table.get(key)]
        if missing:
            raise Refusal(
                f"type and address in {where}", f"no {' and no '.join(missing)}", "For example: type: snapshot."
            )
    return {name: dict(table) for name, table in proxies.items()}


def refuse_other_types(override: t.Any, where: str) -> None:
    def refuse(expected: str, where: str, value: t.Any) -> t.NoReturn:
        # The value itself is not shown: an option can be a secret.
        raise Refusal(
            f"{expected} in {where}",
            "no value" if value is None else f"a value of the type {type(value).__name__}",
            "Write such a value, or remove the key.",
        )

    if not isinstance(override, dict):
        refuse("a mapping", where, override)
    for key, value in override.items():
        if value is None or not isinstance(value, _TYPES.get(key, object)):
            refuse(_NAMES.get(_TYPES.get(key, object), "a value"), f"{where}.{key}", value)
    for key, value in override.get("options", {}).items():
        if value is None:
            refuse("a value", f"{where}.options.{key}", value)
