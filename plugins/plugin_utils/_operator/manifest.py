# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CcRuntime manifest converted to what it means here: role variables, RuntimeClasses, and notes about the rest.

``parse`` is the way in to this package. ``_operator.document`` finds the manifest, ``_operator.check`` compares it with the CRD.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import (
    classes,
    crd,
    document,
    role_variables,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.check import check
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.classes import RuntimeClass

#: Snapshotters that are built into containerd; others are proxy plugins.
_BUILT_IN = ("blockfile", "btrfs", "devmapper", "erofs", "native", "overlayfs", "zfs")


@dataclass(frozen=True)
class Manifest:
    """What a CcRuntime manifest says.

    ``variables`` has the role variables that the manifest sets. ``notes`` are sentences about what has no effect, or one that
    differs from the operator's.
    """

    variables: dict[str, t.Any]
    runtime_classes: list[RuntimeClass]
    default_runtime_class: str
    runtime_name: str
    node_selector: dict[str, str]
    notes: list[str]


def parse(source: str | Mapping[str, t.Any]) -> Manifest:
    """Parse a YAML stream with one CcRuntime in it, or a mapping that is one, and check it against the CRD."""
    resource = document.read(source)
    notes = check(resource, crd.MANIFEST, "")
    spec = resource["spec"]
    config, selector = spec["config"], spec.get("ccNodeSelector") or {}
    found = classes.of_config(config)
    default = classes.default_of(config.get("defaultRuntimeClassName", ""), found)
    handlers = [one for one in found if one.name != classes.DEFAULT]
    return Manifest(
        variables={**_as_they_are(config), **_hooks(config), **_handlers(handlers)},
        runtime_classes=found,
        default_runtime_class=default,
        runtime_name=spec["runtimeName"],
        node_selector=dict(selector.get("matchLabels", {})),
        notes=[
            *notes,
            *_about_hooks(config),
            *([] if handlers == found else [_about_default(default)]),
            *_about_snapshotters(handlers),
        ],
    )


def _as_they_are(config: Mapping[str, t.Any]) -> dict[str, t.Any]:
    # For the operator, an empty list, mapping or text is the same as none. So it sets no variable here, either.
    return {
        variable: config[name]
        for name, variable in role_variables.AS_THEY_ARE.items()
        if config.get(name) or config.get(name) is False
    }


def _hooks(config: Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        variable: config[name] for name, variable in role_variables.HOOKS.items() if config.get(name, {}).get("image")
    }


def _handlers(handlers: Iterable[RuntimeClass]) -> dict[str, t.Any]:
    names = [one.name for one in handlers]
    overrides = {one.name: {"snapshotter": one.snapshotter} for one in handlers if one.snapshotter}
    return {
        **({"coco_handlers": names} if names else {}),
        **({"coco_handler_overrides": overrides} if overrides else {}),
    }


def _about_hooks(config: Mapping[str, t.Any]) -> Iterator[str]:
    for name in role_variables.HOOKS:
        hook = config.get(name, {})
        if hook and not hook.get("image"):
            yield f"spec.config.{name} is not used: without an image, the operator does not run it."
        elif hook.get("cmd"):
            yield (
                f"spec.config.{name}.cmd is run, while the operator runs its own script in the image: take it out to have"
                " that."
            )


def _about_default(default: str) -> str:
    return (
        f"The class {classes.DEFAULT} is another name of the default class, {default or 'which the manifest does not name'},"
        " and no handler of its own."
    )


def _about_snapshotters(handlers: Iterable[RuntimeClass]) -> Iterator[str]:
    for snapshotter in sorted({one.snapshotter for one in handlers} - {"", *_BUILT_IN}):
        yield (
            f"The snapshotter {snapshotter} is not part of containerd: if the engine does not know it, register it with"
            " coco_proxy_plugins."
        )
