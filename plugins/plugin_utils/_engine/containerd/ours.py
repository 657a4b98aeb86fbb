# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is ours in containerd's files, and what stays when ours is removed."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Found, Texts, Wanted
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import (
    documents,
    tables,
    template,
)


def without(path: str, found: Found) -> str | None:
    """Return a file without anything of ours: as it was before us, or with the user's edits since then."""
    text = found.files[path]
    if path in found.before:
        return found.before[path]
    if text is None or not (found.ours or found.proxies):
        return text
    if template.is_template(path):
        return template.without(text, path)
    is_drop_in = os.path.basename(path) == schemas.DROP_IN_NAME
    if not is_drop_in and path not in {found.main, *found.edited}:
        return _without_copies(path, text, found)
    document = toml.parse(text, path)
    headers = tables.headers(found.ours, found.proxies)
    for table in schemas.TABLES:
        present = toml.lookup(document, table)
        if set(present) <= {*found.ours, *found.written}:
            # Without a table of handlers, the engine takes its built-in handlers from its defaults again.
            headers += [(*table, name) for name, values in found.written.items() if present.get(name) == values]
    text = toml.give_back(toml.remove_tables(text, headers, path))
    for plugin in found.disabled.get(path, ()):
        text = toml.add_item(text, "disabled_plugins", plugin, path)
    if path == found.main and path in found.edited:  # in any other file, the import is the user's own
        return toml.remove_item(text, "imports", schemas.drop_in_glob(found.main), path)
    if is_drop_in and not set(toml.parse(text, path)) - {"version"}:
        return None
    return text


def _without_copies(path: str, text: str, found: Found) -> str:
    """Return somebody else's file without copies of our tables: some tools write a whole dump to a file, ours included."""
    document = toml.parse(text, path)
    copies = [
        header
        for header in tables.present(document, tables.headers(found.ours, found.proxies))
        if _is_copy(toml.lookup(document, header[:-1])[header[-1]], _written(header, found))
    ]
    return toml.remove_tables(text, copies, path) if copies else text


def _written(header: toml.Header, found: Found) -> t.Mapping[str, t.Any]:
    """Return what we wrote below a header."""
    *parent, name = header
    if tuple(parent) == schemas.PROXIES:
        return found.proxies[name]
    if tuple(parent) == schemas.PLATFORMS:
        return {key: value for key, value in found.ours[name].items() if key == "snapshotter"}
    return found.ours[name]


def _is_copy(table: t.Any, ours: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a table means the same as ours. A table from a dump also has all other keys, with their defaults."""
    if not isinstance(table, dict):
        return False
    both = table.keys() & ours.keys()
    return all(toml.same(table[key], ours[key]) for key in both) and all(
        not value or value == schemas.DEFAULTS.get(key) for key, value in {**table, **ours}.items() if key not in both
    )


def returned(found: Found, wanted: Wanted, new: Texts) -> tuple[str, ...]:
    """Return the names of the user's handlers that come back where ours are removed.

    Refuse a handler of ours that would stay in a file without being the user's: its pods would no longer start.
    """
    headers = tables.headers(set(found.ours) - set(wanted.handlers), set(found.proxies) - set(wanted.proxies))
    theirs: set[str] = set()
    left: dict[str, set[str]] = {}
    for path in documents.read_by_engine(found.main, new):
        document = toml.parse(new[path] or "", path)
        here = set(tables.present(document, headers))
        back = here if path in found.before else here & toml.aside(found.files[path] or "")
        # A table that was kept aside can also be an edited copy of ours.
        back = {
            header for header in back if not _needs_ours(toml.lookup(document, header), found.ours.get(header[-1], {}))
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
            "tool do it that wrote them there, and run the playbook again.",
        )
    return tuple(sorted(theirs - set(found.proxies)))


def _needs_ours(table: t.Mapping[str, t.Any], ours: t.Mapping[str, t.Any]) -> bool:
    """Tell whether a handler needs a shim or a configuration of our handler, which are removed together with it."""

    def paths(one: t.Mapping[str, t.Any]) -> set[str]:
        found = (one.get("runtime_path"), toml.lookup(one, ("options",)).get("ConfigPath"))
        return {path for path in found if isinstance(path, str) and path}

    return bool(paths(table) & paths(ours))
