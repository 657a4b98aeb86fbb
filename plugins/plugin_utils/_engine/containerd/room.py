# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make room for our handlers: handlers of the same name and a disabled CRI stand in their way."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Wanted
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import (
    documents,
    tables,
)


def make(
    read: t.Sequence[str],
    new: dict[str, str | None],
    wanted: Wanted,
    configured: t.Collection[str],
    generated: t.Collection[str],
) -> None:
    """Set aside, in the texts of ``new``, the user's handlers and proxy plugins that have a name of ours; or refuse them.

    Those in files that the distribution has ``generated`` can only be refused.
    """
    headers = tables.headers(wanted.handlers, wanted.proxies)
    taken: dict[str, list[toml.Header]] = {}
    for path, document in documents.parsed({path: new[path] for path in read}).items():
        here = tables.present(document, headers)
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
    fixed = {path: here for path, here in taken.items() if path in generated}
    if fixed:
        raise Refusal(
            "no handler or proxy plugin with the name of one of ours in what the distribution renders",
            _shown(fixed),
            "Rename or remove yours where it is rendered from (a template, or a drop-in of your own), or leave these names out of "
            "coco_handlers. coco_conflicts=keep_aside cannot change such a file.",
        )
    if taken and not wanted.keep_aside:
        raise Refusal(
            "no handler or proxy plugin of your own with the name of one of ours",
            _shown(taken),
            "Rename or remove yours, leave these names out of coco_handlers, or set coco_conflicts=keep_aside: yours come "
            "back when ours are uninstalled.",
        )
    for path, here in taken.items():
        new[path] = toml.set_aside(new[path] or "", here, path)


def _shown(taken: t.Mapping[str, t.Sequence[toml.Header]]) -> str:
    """Return names and where they stand, for a message."""
    return "; ".join(f"{', '.join(sorted({header[-1] for header in here}))} in {path}" for path, here in taken.items())


def enable_cri(
    read: t.Sequence[str], new: dict[str, str | None], wanted: Wanted, generated: t.Collection[str]
) -> dict[str, list[str]]:
    """Take the CRI out of ``disabled_plugins`` in the texts of ``new``, or refuse. Return what was taken out, by path."""
    disabled: dict[str, list[str]] = {}
    for path, document in documents.parsed({path: new[path] for path in read}).items():
        here = [plugin for plugin in schemas.CRI_PLUGINS if plugin in documents.texts_in(document, "disabled_plugins")]
        if here:
            disabled[path] = here
    if disabled and (not wanted.enable_cri or set(disabled) & set(generated)):
        raise Refusal(
            "an engine whose CRI is enabled",
            "; ".join(f"{', '.join(here)} in disabled_plugins of {path}" for path, here in disabled.items()),
            "Remove that entry where the distribution renders the file from, and restart its unit."
            if set(disabled) & set(generated)
            else "Kubernetes cannot use this engine as it is. Remove that entry and restart the engine, or set "
            "coco_enable_cri=true: then this collection does it, and takes it back at uninstall.",
        )
    for path, here in disabled.items():
        for plugin in here:
            new[path] = toml.remove_item(new[path] or "", "disabled_plugins", plugin, path)
    return disabled
