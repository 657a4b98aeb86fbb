# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node's file system holds where this collection writes, to compare before with after.

This file is also the program that runs in the node, so it imports nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import typing as t

Manifest = dict[str, dict[str, t.Any]]

ROOTS = ("/etc", "/opt", "/usr/local", "/var/lib", "/var/snap")

# What changes on a node that nobody touches, or that is only used. A directory stands for all below it.
EXCLUDED = {
    "/var/lib/containerd",  # images, snapshots and pods: the engine's own state
    "/var/lib/rancher/k3s/agent/containerd",
    "/var/lib/rancher/rke2/agent/containerd",
    "/var/lib/k0s/containerd",
    "/var/snap/microk8s/common/var/lib/containerd",
    "/var/snap/microk8s/common/run",
    "/var/lib/systemd",  # stamps of timers, the random seed
    "/var/lib/dbus",  # the machine's ID, made at first boot
    "/var/lib/apt",  # lists and logs of package runs; what is installed is dpkg's, and compared
    "/var/lib/lastlog",  # who logged in last (trixie and later)
    "/var/lib/wtmpdb",  # every login (trixie and later)
}


def manifest(roots: t.Iterable[str] = ROOTS) -> Manifest:
    """Every path with its type, mode, owner and content; times are left out, they change at every restore."""
    found: Manifest = {}

    def visit(path: str) -> None:
        if path in EXCLUDED:
            return
        try:
            found[path] = entry(path)
            children = sorted(os.listdir(path)) if found[path]["type"] == "directory" else []
        except FileNotFoundError:  # gone while we looked
            return
        for child in children:
            visit(os.path.join(path, child))

    for root in roots:
        visit(root)
    return found


def entry(path: str) -> dict[str, t.Any]:
    status = os.lstat(path)
    facts: dict[str, t.Any] = {
        "type": "other",
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
    if stat.S_ISDIR(status.st_mode):
        facts["type"] = "directory"
    elif stat.S_ISLNK(status.st_mode):
        facts.update(type="link", target=os.readlink(path))
    elif stat.S_ISREG(status.st_mode):
        facts.update(type="file", sha256=checksum(path))
    return facts


def checksum(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def differences(before: Manifest, after: Manifest) -> list[str]:
    """One line for each path that came (+), went (-) or changed (~)."""
    lines = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            lines.append(f"{'+' if old is None else '-'} {path} ({(old or new or {})['type']})")
        elif old != new:
            changed = (key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))
            lines.append(f"~ {path}: " + ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in changed))
    return lines


if __name__ == "__main__":
    json.dump(manifest(), sys.stdout, indent=0, sort_keys=True)
    print()
