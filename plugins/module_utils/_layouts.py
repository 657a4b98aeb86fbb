# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of payload layouts: where an image keeps its artifacts, and which prefix they were built for."""

from __future__ import annotations

import posixpath
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: Where every payload image keeps what it has for the node.
ARTIFACTS = "opt/kata-artifacts"


@dataclass(frozen=True)
class Layout:
    """One era of payload images.

    ``root`` is the directory in the image whose content goes to the prefix; ``prefix`` the one that the payload's
    binaries and configuration files were built for; ``configurations`` maps each directory of configuration files
    (``configuration-<shim>.toml``) to the shim binary that reads them, both relative to ``root``.
    """

    name: str
    root: str
    prefix: str
    configurations: t.Mapping[str, str]


_KATA_CONFIGURATIONS = {
    "share/defaults/kata-containers": "bin/containerd-shim-kata-v2",
    "share/defaults/kata-containers/runtime-rs": "runtime-rs/bin/containerd-shim-kata-v2",
}

LAYOUTS = (
    Layout(
        name="confidential-containers",
        root=f"{ARTIFACTS}/opt/confidential-containers",
        prefix="/opt/confidential-containers",
        configurations=_KATA_CONFIGURATIONS,
    ),
    Layout(
        name="kata",
        root=f"{ARTIFACTS}/opt/kata",
        prefix="/opt/kata",
        configurations=_KATA_CONFIGURATIONS,
    ),
)


def by_name(name: str) -> Layout:
    """Return the layout that an earlier run recorded by its name."""
    return next(layout for layout in LAYOUTS if layout.name == name)


def inside(path: str, root: str) -> str | None:
    """Return ``path`` relative to ``root`` ('' for the root itself), or None when it lies elsewhere."""
    if path == root:
        return ""
    return path[len(root) + 1 :] if path.startswith(root + "/") else None


def locate(path: str) -> tuple[Layout, str] | None:
    """Return the layout that a path in an image belongs to and the path below its root; None for all other paths."""
    for layout in LAYOUTS:
        relative = inside(path, layout.root)
        if relative is not None:
            return layout, relative
    return None


def check_prefix(asked: str, layouts: t.Sequence[Layout]) -> None:
    """Refuse a prefix for which none of ``layouts`` was built: in this version, paths inside of payloads stay as they are."""
    built_for = [layout.prefix for layout in layouts]
    if posixpath.normpath(asked) not in built_for:
        raise Refusal(
            f"coco_prefix to be {' or '.join(built_for)}, for which payloads are built",
            asked,
            "Leave coco_prefix out: this version does not rewrite the paths in a payload.",
        )
