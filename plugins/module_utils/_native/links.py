# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Links to shims, for engines that find a shim only in their PATH: which ones a change sets and removes."""

from __future__ import annotations

import os

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import Change
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt

#: Where a daemon finds shims of others. A link of ours must not hide one of them.
_SHIM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/usr/bin", "/opt/containerd/bin")


def changes(receipt: Receipt, change: Change) -> dict[str, str | None]:
    """Return the links to set (path → target) and to remove (→ None)."""
    old = receipt.links
    found = {path: os.readlink(path) if os.path.islink(path) else None for path in {**old, **change.links}}
    # If somebody else has put something in the place of our link, it is theirs and stays.
    result: dict[str, str | None] = {
        path: None for path in old if path not in change.links and found[path] == old[path]
    }
    for path, target in change.links.items():
        name = os.path.basename(path)
        # Some distributions have merged sbin into bin: then the link found there is our own.
        own = os.path.realpath(os.path.dirname(path))
        others = [os.path.join(other, name) for other in _SHIM_DIRECTORIES if os.path.realpath(other) != own]
        if path not in old or found[path] != old[path]:
            others.append(path)
        theirs = [other for other in others if os.path.lexists(other)]
        if theirs:
            raise Refusal(
                f"no other program named {name} on the node",
                f"{theirs[0]}, which this collection did not put there",
                "Move it away first, or give the handler another runtime_type in coco_handler_overrides.",
            )
        if found[path] != target:
            result[path] = target
    return result
