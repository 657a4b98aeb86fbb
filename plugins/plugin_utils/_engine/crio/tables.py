# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handlers in CRI-O's dialect."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import keys
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import handlers
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Tables, Version

#: Keys with patterns of annotations. CRI-O keeps annotations of its own from a handler that may not have them, and hands it all others.
ANNOTATIONS = ("pod_annotations", "container_annotations")
_KATA = "io.katacontainers."
#: What to do instead of a key that only containerd has.
_INSTEAD: t.Mapping[str, str] = {
    "snapshotter": "CRI-O has none. Where the guest is to pull images, set runtime_pull_image (since 1.29).",
    "options": "A vm handler takes its settings from the file that config_path names.",
    "base_runtime_spec": "CRI-O has nothing like it for one handler.",
}
_ELSE = "Remove it for this node; docs/engines.md lists the keys of each engine."


def of(offered: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version) -> dict[str, dict[str, t.Any]]:
    """Return each handler's table as this version of CRI-O wants it. For the arguments see ``Planner.tables``."""
    for name, override in overrides.items():
        handlers.refuse_other_types(override, f"coco_handler_overrides.{name}")
    return {
        handler["name"]: _table(handler, overrides.get(handler["name"], {}), version)
        for handler in handlers.with_own(offered, overrides)
    }


def _table(handler: t.Mapping[str, t.Any], override: t.Mapping[str, t.Any], version: Version) -> dict[str, t.Any]:
    where = f"coco_handler_overrides.{handler['name']}"
    _refuse_keys(override, where, version)
    values = {**handler, **override}
    shim = os.path.basename(values["runtime_path"])
    if not keys.SHIM.fullmatch(shim):
        raise Refusal(
            f"a shim of {handler['name']} with a name that CRI-O accepts, containerd-shim-NAME",
            shim,
            f"Name another program as runtime_path in {where}: letters, digits, + and - may follow containerd-shim-.",
        )
    table = {
        "runtime_type": keys.VM,
        "runtime_path": values["runtime_path"],
        "runtime_config_path": values["config_path"],
        "runtime_root": keys.ROOT,
        "privileged_without_host_devices": values.get("privileged_without_host_devices", False),
    }
    own = {key: value for key, value in override.items() if key in keys.KEYS}
    allowed = [*own.get("allowed_annotations", ()), *_allowed(override, where)]
    return {**table, **own, **({"allowed_annotations": list(dict.fromkeys(allowed))} if allowed else {})}


def _refuse_keys(override: t.Mapping[str, t.Any], where: str, version: Version) -> None:
    """Refuse what this version of CRI-O would ignore, or what would make it leave out the handler."""
    text = ".".join(map(str, version))
    for key in override:
        since = keys.KEYS.get(key)
        if key not in (*keys.KEYS, *ANNOTATIONS, "config_path"):
            raise Refusal(f"keys that CRI-O {text} acts on in {where}", key, _INSTEAD.get(key, _ELSE))
        if since and version < since:
            raise Refusal(
                f"keys that CRI-O {text} acts on in {where}",
                f"{key}, which CRI-O has since {'.'.join(map(str, since))}",
                "Remove it for this node, or upgrade its CRI-O.",
            )
    kind = override.get("runtime_type", keys.VM)
    if kind != keys.VM:
        raise Refusal(
            f"{keys.VM} as the runtime_type in {where}, on a node with CRI-O",
            repr(kind),
            "Remove it for this node. It is containerd that has a type for each shim.",
        )
    timeout = override.get("container_create_timeout", keys.LEAST_TIMEOUT)
    if not isinstance(timeout, int) or timeout < keys.LEAST_TIMEOUT:
        raise Refusal(
            f"whole seconds, at least {keys.LEAST_TIMEOUT}, in {where}.container_create_timeout",
            repr(timeout),
            "CRI-O takes no less. Write more, or remove the key: then it waits 240 seconds.",
        )


def _allowed(override: t.Mapping[str, t.Any], where: str) -> list[str]:
    """Return the annotations that a handler needs a permission for. Kata's own ones reach it without."""
    found = [
        (key, pattern) for key in ANNOTATIONS for pattern in override.get(key, ()) if not pattern.startswith(_KATA)
    ]
    for key, pattern in found:
        if "*" in pattern:
            raise Refusal(
                f"names of annotations in {where}.{key}, on a node with CRI-O",
                pattern,
                f"CRI-O knows no patterns: write the whole names. Those that begin with {_KATA} need no permission.",
            )
    return [pattern for _key, pattern in found]
