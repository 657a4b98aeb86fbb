# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Kata's shims have to know of a node: where its kubelet keeps the volumes of pods.

Without that, ConfigMaps and Secrets that change do not reach a pod. Shims read it from the directory ``config.d`` beside their
configuration file. Since Kata 3.28; older shims ignore the key.
"""

from __future__ import annotations

import json
import os

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Edit, Found, Tables

#: Read before the files of users, which are 50 to 89.
_NAME = "22-confidential-containers.toml"
#: Where Kata expects the kubelet.
_USUAL = "/var/lib/kubelet"


def is_ours(path: str) -> bool:
    """Tell whether a file is such a drop-in."""
    return os.path.basename(path) == _NAME


def edits(found: Found, handlers: Tables) -> list[Edit]:
    """Return the edits of drop-ins that handlers need if the kubelet's directory is not where Kata expects it.

    A drop-in that the user edited stays as it is.
    """
    text = f"{toml.MARK}\n[runtime]\nkubelet_root_dir = {json.dumps(found.kubelet)}\n"
    configurations = (table.get("options", {}).get("ConfigPath") for table in handlers.values())
    wanted: dict[str, str | None] = {path: None for path in found.edited if is_ours(path)}
    if found.kubelet not in ("", _USUAL):
        wanted.update({os.path.join(os.path.dirname(path), "config.d", _NAME): text for path in configurations if path})
    planned = (Edit(path, found.files.get(path), after, None) for path, after in sorted(wanted.items()))
    return [edit for edit in planned if edit.changes and not _is_edited(found, edit.path)]


def _is_edited(found: Found, path: str) -> bool:
    return path in found.edited and path not in found.before and found.files.get(path) is not None
