# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What a node tells the controller about the engine's configuration, and about what this collection has written there."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import kubelet, startable
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Configuration, Driver
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import encoded
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import sha256
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State


def read(state: State, driver: Driver) -> dict[str, t.Any]:
    """Return all that the controller needs to plan a change: the results of the module engine_config with ``state=read``."""
    receipt = state.receipt()
    edits = receipt.edits
    files: dict[str, bytes | None] = {**driver.files()}
    for path in (*driver.places(), *edits):
        if path not in files:
            files[path] = _content(path)
    configuration = driver.configured()
    digests = {path: "" if content is None else sha256(content) for path, content in files.items()}
    return {
        "files": {path: encoded(content) for path, content in files.items()},
        "before": {path: edit.before for path, edit in edits.items() if edit.after == digests[path]},
        "edited": sorted(edits),
        "builtin": {name: table for edit in edits.values() for name, table in edit.builtin.items()},
        "disabled": {path: edit.disabled for path, edit in edits.items() if edit.disabled},
        "links": {path: os.readlink(path) if os.path.islink(path) else None for path in receipt.links},
        "owned": receipt.handlers,
        "proxy_plugins": receipt.proxy_plugins,
        "dump": configuration.text,
        "dead": _dead(receipt, configuration),
        "unstartable": startable.on_mounts(
            {
                *(table.get("runtime_path", "") for table in receipt.handlers.values()),
                *receipt.links.values(),
            }
        ),
        "served": driver.served(),
        "remarks": FLAVOURS[driver.engine.name].remarks(driver.engine),
        "kubelet": kubelet.directory() or FLAVOURS[driver.engine.name].kubelet,
    }


def _dead(receipt: Receipt, configuration: Configuration) -> dict[str, str]:
    """Return configured handlers whose files below our former prefix are gone: each with the path that it lacks."""
    if receipt.tree or not receipt.prefix:
        return {}
    return {
        name: path
        for name, paths in configuration.paths().items()
        for path in paths
        if path.startswith(f"{receipt.prefix}/") and not os.path.exists(path)
    }


def _content(path: str) -> bytes | None:
    """Return a file's content, None where there is none."""
    if not os.path.exists(path):
        if os.path.islink(path):
            raise Refusal(
                f"a file at {path}",
                f"a link to {os.readlink(path)}, which is not there",
                "Remove the link, or let it lead to a file.",
            )
        return None
    if not os.path.isfile(path):
        raise Refusal(f"a file at {path}", "something else", "Move it away, or put a file there.")
    with open(path, "rb") as stream:
        return stream.read()
