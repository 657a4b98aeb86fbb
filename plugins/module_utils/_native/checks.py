# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The checks before a change is written.

They make sure that nobody else edits the files, that every handler has what it needs, and that the engine itself reads the new
configuration as the old one with our handlers in it. ``_native.transaction`` calls them.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import (
    Change,
    configuration_of,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import (
    make_directories,
    remove_tree,
    sha256_file,
    write_atomically,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Swap

#: Kubernetes wants a DNS label as the handler of a RuntimeClass.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def refuse_names(change: Change) -> None:
    """Refuse handlers that no RuntimeClass could name."""
    bad = sorted(name for name in change.handlers if not _NAME.fullmatch(name))
    if bad:
        raise Refusal(
            "names of handlers in lower-case letters, digits and hyphens, as a RuntimeClass can name them",
            ", ".join(bad),
            "Give these another name in coco_handler_overrides.",
        )


def refuse_stale_files(change: Change) -> None:
    """Refuse to replace a file that has changed since the controller read it to plan the change."""
    for file in change.files:
        found = sha256_file(file.path) if os.path.exists(file.path) else ""
        if found != file.expected:
            raise Refusal(
                f"{file.path} as it was read a moment ago",
                "that it has changed meanwhile",
                "Stop whatever edits this file, and run the playbook again.",
            )


def refuse_missing_artifacts(change: Change, artifacts: Swap | None) -> None:
    """Refuse handlers whose shim or configuration is missing, or is removed by this run (``artifacts`` of its journal)."""
    going = {os.path.join(artifacts.prefix, path) for path in artifacts.remove} if artifacts else set()
    for name, handler in change.handlers.items():
        for path in (handler.get("runtime_path"), configuration_of(handler), *change.links.values()):
            if path and (path in going or not os.path.isfile(path)):
                raise Refusal(
                    f"the files of handler {name} on the node",
                    f"no {path}",
                    "Install the artifacts before the handlers (payload_artifacts before runtime_handlers), or name a file that is there in "
                    "coco_handler_overrides.",
                )


def refuse_snapshotters(driver: Driver, change: Change) -> None:
    """Refuse a handler with a snapshotter that the engine does not have: its first pod would fail."""
    wanted = {handler["snapshotter"] for handler in change.handlers.values() if handler.get("snapshotter")}
    missing = sorted(wanted - set(change.proxies) - set(driver.snapshotters())) if wanted else []
    if missing:
        client = FLAVOURS[driver.engine.name].client
        raise Refusal(
            "snapshotters that the engine has, or coco_proxy_plugins registers",
            ", ".join(missing),
            f"Name another snapshotter in coco_handler_overrides ('{client}' lists those that work), or register it in "
            "coco_proxy_plugins.",
        )


def validate(driver: Driver, change: Change, ours: set[str], proxies: set[str]) -> tuple[list[str], list[str]]:
    """Let the engine read the new configuration, and refuse one that changes more than ours.

    ``ours`` and ``proxies`` are our handlers and proxy plugins, old and new ones. Returns the handlers that the engine's files
    have now, and those that they will have, which a restart makes it serve. There are none where its CRI is disabled.
    """
    engine, before = driver.engine, driver.configured()
    present = before.served()
    if not change.trial:
        refuse_left(engine, change, ours, present)
        return present, present
    with _trial(change.trial) as config:
        after = driver.configured(config)
    dump = FLAVOURS[engine.name].dump
    lost = before.lost(after, ours, proxies)
    if lost:
        raise Refusal(
            f"a configuration of {engine.unit} that only differs in our handlers",
            f"that these settings would change, too: {'; '.join(lost[:5])}",
            f"Nothing was changed. Compare '{dump}' with the file to see which setting is in the way.",
        )
    unknown = sorted(after.complaints() - before.complaints())
    if unknown:
        raise Refusal(
            f"keys that {engine.name} {engine.version_text} knows",
            ", ".join(unknown),
            "Remove these keys from coco_handler_overrides, or correct their spelling.",
        )
    serve = after.served()
    refuse_left(engine, change, ours, serve)
    masked = sorted(set(change.handlers) - set(serve))
    if masked:
        raise Refusal(
            f"our handlers in the configuration that {engine.unit} reads",
            f"no {', '.join(masked)} in '{dump}'",
            f"A file that {engine.config} imports overrides them: look for other CRI sections there.",
        )
    return present, serve


def refuse_left(engine: Engine, change: Change, ours: set[str], serve: t.Iterable[str]) -> None:
    """Refuse a configuration that would ``serve`` handlers that go: their pods could not start without the programs."""
    left = sorted((ours & set(serve)) - set(change.handlers) - set(change.returned))
    if left:
        raise Refusal(
            f"{engine.unit} to serve none of the handlers that go",
            f"that it would still serve {', '.join(left)}",
            f"They stand in {engine.config} or in a file that it imports, and not as this collection wrote them. Take them out "
            "there, and run the playbook again.",
        )


@contextlib.contextmanager
def _trial(files: t.Mapping[str, bytes]) -> t.Iterator[str]:
    remove_tree(places.TRIAL)
    os.mkdir(places.TRIAL, 0o700)
    try:
        for name, content in files.items():
            path = os.path.join(places.TRIAL, name)
            make_directories(os.path.dirname(path), mode=0o700)
            write_atomically(path, content, mode=0o600)
        yield os.path.join(places.TRIAL, "config.toml")
    finally:
        remove_tree(places.TRIAL)
