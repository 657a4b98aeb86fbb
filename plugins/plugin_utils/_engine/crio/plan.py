# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner of CRI-O: from handlers to files. All that is ours stands in one file, since CRI-O reads every file of a directory."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import DropIn
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import keys
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.dump import Dump
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
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.crio import tables


class Crio:
    """The :class:`Planner` of CRI-O."""

    keys: t.Collection[str] = (*keys.KEYS, *tables.ANNOTATIONS)

    def tables(
        self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version
    ) -> dict[str, dict[str, t.Any]]:
        return tables.of(handlers, overrides, version)

    def links(self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version) -> dict[str, str]:
        return {path: target for handler in handlers for path, target in handler.get("links", {}).items()}

    def plan(self, found: Found, wanted: Wanted, trial: str) -> Plan:
        return plan(found, wanted)

    def served(self, dump: str) -> list[str]:
        return Dump(dump).served()


def plan(found: Found, wanted: Wanted) -> Plan:
    """Plan the edits that bring CRI-O's files to exactly what is wanted."""
    own = keys.drop_in_path(found.main, found.drop_ins)
    clean = {path: _without(path, own, found) for path in found.files}
    new: dict[str, str | None] = {own: None, **clean}
    if wanted.handlers:
        keys.decide(found.version, wanted.mode)
        _refuse_proxies(wanted)
        _make_room(found, new, wanted)
        new[own] = toml.add_tables(
            new[own] or "", {(*keys.RUNTIMES, name): table for name, table in wanted.handlers.items()}, own
        )
    back = _returned(found, wanted, new)
    edits = [
        Edit(path, found.files.get(path), _unless_same_meaning(path, found.files.get(path), new[path]), clean.get(path))
        for path in [*sorted(set(new) - {own}), own]
    ]
    changes = tuple(edit for edit in edits if edit.changes)
    return Plan(changes, _trial(found, new) if changes else {}, DropIn.mode if wanted.handlers else "", back)


def _without(path: str, own: str, found: Found) -> str | None:
    """Return a file without anything of ours: as it was before us, or with the user's edits since then."""
    text = found.files[path]
    if path in found.before:
        return found.before[path]
    if text is None or not found.ours or path not in {own, *found.edited}:
        return text
    text = toml.give_back(toml.remove_tables(text, _headers(found.ours), path))
    return None if path == own and not toml.parse(text, path) else text


def _headers(names: t.Iterable[str]) -> list[toml.Header]:
    return [(*keys.RUNTIMES, name) for name in names]


def _present(text: str | None, path: str, names: t.Iterable[str]) -> set[str]:
    """Return those of the handlers that a file has."""
    return set(names) & set(toml.lookup(toml.parse(text or "", path), keys.RUNTIMES))


def _read(found: Found, texts: Texts) -> list[str]:
    """Return the files that the engine reads, in its order."""
    directory = keys.directory(found.main, found.drop_ins) + "/"
    there = [path for path, text in texts.items() if text is not None]
    below = sorted((path for path in there if path.startswith(directory)), key=lambda path: path.split("/"))
    return [*(path for path in there if path == found.main), *below]


def _refuse_proxies(wanted: Wanted) -> None:
    if wanted.proxies:
        raise Refusal(
            "no coco_proxy_plugins on a node with CRI-O, which has no snapshotters",
            ", ".join(sorted(wanted.proxies)),
            "Leave them out for this node. Where the guest is to pull images, set runtime_pull_image in coco_handler_overrides.",
        )


def _make_room(found: Found, new: dict[str, str | None], wanted: Wanted) -> None:
    """Set aside the user's handlers that have a name of ours, or refuse them."""
    here = {path: _present(new[path], path, wanted.handlers) for path in _read(found, new)}
    taken = {path: names for path, names in here.items() if names}
    builtin = set(wanted.handlers) & set(Dump(found.dump).handlers()) - set(found.ours) - set().union(*taken.values())
    if builtin:
        raise Refusal(
            "handlers with other names than the engine's own",
            ", ".join(sorted(builtin)),
            "Leave these names out of coco_handlers and coco_handler_overrides.",
        )
    if taken and not wanted.keep_aside:
        raise Refusal(
            "no handler of your own with the name of one of ours",
            "; ".join(f"{', '.join(sorted(names))} in {path}" for path, names in taken.items()),
            "Rename or remove yours (CRI-O reads every file there, also one that is a backup), leave these names out of coco_handlers, "
            "or set coco_conflicts=keep_aside: yours come back when ours are uninstalled.",
        )
    for path, names in taken.items():
        new[path] = toml.set_aside(new[path] or "", _headers(names), path)


def _returned(found: Found, wanted: Wanted, new: Texts) -> tuple[str, ...]:
    """Return the names of the user's handlers that come back where ours are removed.

    Refuse a handler of ours that would stay in a file without being the user's: its pods would no longer start.
    """
    gone = set(found.ours) - set(wanted.handlers)
    theirs: set[str] = set()
    left: dict[str, set[str]] = {}
    for path in _read(found, new):
        here = _present(new[path], path, gone)
        aside = {header[-1] for header in toml.aside(found.files.get(path) or "")}
        back = here if path in found.before else here & aside
        theirs |= back
        if here - back:
            left[path] = here - back
    if left:
        raise Refusal(
            f"the handlers that go ({', '.join(sorted(set().union(*left.values())))}) in no other file that CRI-O reads",
            "; ".join(f"{', '.join(sorted(names))} in {path}" for path, names in left.items()),
            f"They would be left without their programs, so nothing is removed. Take their tables out of {' and '.join(left)}, and run "
            "the playbook again.",
        )
    return tuple(sorted(theirs))


def _unless_same_meaning(path: str, now: str | None, new: str | None) -> str | None:
    """Return the text as it is now, if the new text would only move things around and change no value."""
    if now is None or new is None or now == new:
        return new
    return now if toml.same(toml.parse(now, path), toml.parse(new, path)) else new


def _trial(found: Found, new: Texts) -> dict[str, str]:
    """Return the files of a trial, by name: the main file, and the others below a directory as they lie below the real one."""
    directory = keys.directory(found.main, found.drop_ins)
    below = [path for path in _read(found, new) if path != found.main]
    return {
        "config.toml": new.get(found.main) or "",
        **{f"{keys.DIRECTORY}{path[len(directory) :]}": new[path] or "" for path in below},
    }
