# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of payload layouts: where an image keeps its artifacts, and which prefix they were built for.

A new kind of payload starts with a row in ``LAYOUTS``. The rules for a prefix are here, too.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places

#: The directory of a payload image that has the files for the node.
ARTIFACTS = "opt/kata-artifacts"
#: Images since Kata 3.32 have a release tarball for each component, and a manifest that says which shim needs which of them.
COMPONENTS = f"{ARTIFACTS}/tarballs"
COMPONENTS_MANIFEST = f"{ARTIFACTS}/shim-components.json"

#: Where this collection keeps its own state.
_STATE = places.STATE


@dataclass(frozen=True)
class Layout:
    """One way to lay out artifacts.

    ``root`` is the directory whose content goes to the prefix, relative to the payload's directory for the node.
    ``prefix`` is the one that the payload's binaries and configuration files were built for. ``configurations`` maps each
    directory of configuration files (``configuration-<shim>.toml``) to the shim binary that reads them, both relative to
    the prefix.

    Some layouts have all artifacts flat in ``root``. Then ``files`` maps the name of each to its path below the prefix.
    ``systems`` maps the archive of a root file system to the directory below the prefix to which it is unpacked.
    ``links`` (path on the node → path below the prefix) are for shims that look for a file elsewhere.
    """

    name: str
    root: str
    prefix: str
    configurations: t.Mapping[str, str]
    #: Whether ``root`` is relative to the image's own root, not to the payload's directory for the node.
    anchored: bool = False
    files: t.Mapping[str, str] = field(default_factory=dict)
    systems: t.Mapping[str, str] = field(default_factory=dict)
    links: t.Mapping[str, str] = field(default_factory=dict)
    #: The names of its handlers, and of its shims in an engine's configuration.
    handler: str = "kata-{shim}"
    runtime_type: str = "io.containerd.kata-{shim}.v2"
    #: Fields of :class:`._payload.shims.Handler` that differ from Kata's.
    keys: t.Mapping[str, t.Any] = field(default_factory=dict)

    def roots(self, bases: t.Sequence[str]) -> list[str]:
        """Return the directories of a payload in which its artifacts can be."""
        return [self.root] if self.anchored else [posixpath.join(base, self.root) for base in bases]

    def place(self, path: str) -> str | None:
        """Return where a path below the root goes below the prefix; None for a path that does not go there."""
        return self.files.get(path) if self.files and path else path


_KATA_CONFIGURATIONS = {
    "share/defaults/kata-containers": "bin/containerd-shim-kata-v2",
    "share/defaults/kata-containers/runtime-rs": "runtime-rs/bin/containerd-shim-kata-v2",
}

LAYOUTS = (
    Layout(
        name="confidential-containers",
        root="opt/confidential-containers",
        prefix="/opt/confidential-containers",
        configurations=_KATA_CONFIGURATIONS,
    ),
    Layout(name="kata", root="opt/kata", prefix="/opt/kata", configurations=_KATA_CONFIGURATIONS),
    # Source: enclave-cc's own installer, which does the same. It also decodes files from its environment into the agent's root
    # file system (configs/*.conf). Those are the user's and not part of the payload.
    Layout(
        name="enclave-cc",
        root="opt/enclave-cc-artifacts",
        prefix="/opt/confidential-containers",
        configurations={"share/defaults/enclave-cc": "bin/containerd-shim-rune-v2"},
        anchored=True,
        files={
            "containerd-shim-rune-v2": "bin/containerd-shim-rune-v2",
            "shim-rune-config.toml": "share/defaults/enclave-cc/configuration-enclave-cc.toml",
            "config.json": "share/enclave-cc-agent-instance/config.json",
        },
        systems={
            "agent-instance.tar": "share/enclave-cc-agent-instance/rootfs",
            "boot-instance.tar": "share/enclave-cc-boot-instance/rootfs",
        },
        links={"/etc/enclave-cc/config.toml": "share/defaults/enclave-cc/configuration-enclave-cc.toml"},
        handler="{shim}",
        runtime_type="io.containerd.rune.v2",
        keys={
            "config_path": "",
            "privileged_without_host_devices": False,
            "pod_annotations": (),
            "container_annotations": (),
        },
    ),
)

#: Files that an admin may edit; dpkg calls them conffiles.
_CONFIGURATION = "share/defaults/*/configuration*.toml"

#: No prefix may lie in these: artifacts would harm the system there, or be gone after a reboot.
_SYSTEM = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "proc",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "var",
)
#: Exceptions: below these, software may be installed.
_FOR_SOFTWARE = ("/usr/local", "/var/lib", "/var/opt")
#: Other software shares these directories. A prefix may lie below one of them, but be none of them.
_SHARED = ("/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", *_FOR_SOFTWARE)


#: A prefix is written to shell scripts, TOML, options of QEMU and units of systemd. These characters can have a meaning there.
_NOT_IN_A_PREFIX = re.compile(r"[^\w./@~+=-]")


def by_name(name: str) -> Layout:
    """Return the layout that an earlier run recorded by its name."""
    return next(layout for layout in LAYOUTS if layout.name == name)


def inside(path: str, root: str) -> str | None:
    """Return ``path`` relative to ``root`` ('' for the root itself), or None when it lies elsewhere."""
    if path == root or not root:
        return "" if path == root else path
    return path[len(root) + 1 :] if path.startswith(root + "/") else None


def locate(path: str, bases: t.Sequence[str]) -> tuple[Layout, str] | None:
    """Return the layout that a path in a payload belongs to and the path below its root; None for all other paths.

    ``bases`` are the directories in which a payload of this kind can keep its artifacts.
    """
    for layout in LAYOUTS:
        for root in layout.roots(bases):
            relative = inside(path, root)
            if relative is not None:
                return layout, relative
    return None


def is_configuration(path: str) -> bool:
    """Tell whether a path below the prefix is a configuration file, which its admin may edit."""
    return fnmatch.fnmatchcase(path, _CONFIGURATION)


def check_prefix(asked: str) -> None:
    """Refuse a prefix that is no place for software."""

    def refuse(found: str) -> t.NoReturn:
        raise Refusal(
            "coco_prefix to be a directory of its own, like /opt/kata",
            f"{asked!r}, {found}",
            "Leave it out to use the one that the payload was built for, or name a directory below /opt or /srv.",
        )

    strange = _NOT_IN_A_PREFIX.search(asked)
    if strange:
        refuse(f"with {strange.group()!r} in it (letters, digits and . / _ @ ~ + = - are allowed)")
    if not asked.startswith("/"):
        refuse("which is relative")
    path = posixpath.normpath(asked)
    if path in _SHARED or path == "//":
        refuse("which is shared with others")
    software = any(path.startswith(directory + "/") for directory in _FOR_SOFTWARE)
    if (path.split("/")[1] in _SYSTEM and not software) or inside(path, _STATE) is not None:
        refuse("which is in a directory of the system")
