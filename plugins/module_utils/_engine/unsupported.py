# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of nodes whose engine this version cannot configure: by what each is recognised, why it is so, and what to do instead.

Sources: kata-containers/kata-containers#1775 (Docker), canonical/microk8s-community-addons#39 (a strict snap),
flatcar.org/docs/latest/container-runtimes/customizing-docker, docs.k0sproject.io (controllers).
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

_RELEASES = ("/etc/os-release", "/usr/lib/os-release")
_SNAP = "/snap/microk8s/current/meta/snap.yaml"
#: The sockets of adapters between the kubelet and Docker, by their names.
_DOCKER = ("cri-dockerd.sock", "dockershim.sock")
#: With one of these, a controller of k0s runs pods, too. With the other one, a server of k3s or RKE2 does not.
_WORKER, _DISABLED = ("--enable-worker", "--single"), "--disable-agent"


@dataclass(frozen=True)
class Unit:
    """An active unit that may run the engine: its name, its flavour, and the words of its command line."""

    name: str
    flavour: str
    words: t.Sequence[str] = ()

    def has(self, *options: str) -> bool:
        """Tell whether one of these options is in the command line, and not switched off."""
        said = {word.partition("=")[0] for word in self.words if not word.lower().endswith(("=false", "=0"))}
        return bool(said & set(options))


@dataclass(frozen=True)
class Seen:
    """What tells such a node: the ``engine`` that the user asks for, the CRI socket of the ``kubelet``, the ``units``,
    the ``system`` (ID in os-release), the ``confinement`` of MicroK8s' snap, and the main file of the engine that was found.
    """

    engine: str = "auto"
    kubelet: str = ""
    units: t.Sequence[Unit] = ()
    system: str = ""
    confinement: str = ""
    config: str = ""


@dataclass(frozen=True)
class Unsupported:
    """One kind of such a node. ``sign`` returns what it was recognised by, '' if the node is none of these."""

    sign: t.Callable[[Seen], str]
    what: str
    why: str
    instead: str


def _docker(seen: Seen) -> str:
    if seen.engine != "auto":
        return ""
    if os.path.basename(seen.kubelet) in _DOCKER:
        return f"the kubelet uses {seen.kubelet}"
    return next(
        (f"{unit.name} has --docker" for unit in seen.units if unit.flavour == "k3s" and unit.has("--docker")), ""
    )


def _without_pods(seen: Seen) -> str:
    for unit in seen.units:
        if unit.flavour == "k0s" and "controller" in unit.words and not unit.has(*_WORKER):
            return f"{unit.name} has neither {' nor '.join(_WORKER)}"
        if unit.flavour in ("k3s", "rke2") and unit.has(_DISABLED):
            return f"{unit.name} has {_DISABLED}"
    return ""


def _strict(seen: Seen) -> str:
    strict = seen.confinement == "strict" and any(unit.flavour == "microk8s" for unit in seen.units)
    return f"confinement: strict in {_SNAP}" if strict else ""


def _flatcar(seen: Seen) -> str:
    return seen.config if seen.system == "flatcar" and seen.config.startswith("/usr/") else ""


KNOWN = (
    Unsupported(
        _docker,
        "Docker, through cri-dockerd",
        "Kata Containers has not run in pods of Docker since its version 2",
        "Move the node's kubelet to containerd or CRI-O, or leave this node out.",
    ),
    Unsupported(
        _without_pods,
        "a control plane alone",
        "it runs no pods, and so has no engine",
        "Leave this node out of coco_nodes.",
    ),
    Unsupported(
        _strict,
        "MicroK8s as a strict snap",
        "AppArmor keeps its containerd from starting programs such as Kata's",
        "Install MicroK8s from a channel without '-strict', with --classic, or leave this node out.",
    ),
    Unsupported(
        _flatcar,
        "the containerd of Flatcar with the configuration of its image",
        "that file is read-only",
        "Copy it to /etc/containerd/config.toml. Write the lines [Service], ExecStart= and ExecStart=/usr/bin/containerd to "
        "/etc/systemd/system/containerd.service.d/10-use-custom-config.conf, then run 'systemctl daemon-reload' and "
        "'systemctl restart containerd'.",
    ),
)


def recognised(seen: Seen) -> Refusal | None:
    """Return the refusal of a node whose engine this version cannot configure. None if nothing of the table fits."""
    for one in KNOWN:
        sign = one.sign(seen)
        if sign:
            return Refusal("an engine that this version can configure", f"{one.what} ({sign}): {one.why}", one.instead)
    return None


def refuse(seen: Seen) -> None:
    """Refuse a node of the table."""
    refusal = recognised(seen)
    if refusal:
        raise refusal


def look(engine: str, kubelet: str, units: t.Sequence[Unit], root: str = "/") -> Seen:
    """Return what is seen on this node."""
    releases = (_value(os.path.join(root, path[1:]), r"ID=") for path in _RELEASES)
    return Seen(
        engine,
        kubelet,
        units,
        next(filter(None, releases), ""),
        _value(os.path.join(root, _SNAP[1:]), r"confinement:\s*"),
    )


def _value(path: str, key: str) -> str:
    """Return the value behind a key, in a file that has one in each line. '' without the file or the key."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        match = re.search(rf"""^{key}["']?([\w.-]+)""", stream.read(), re.MULTILINE)
        return match.group(1) if match else ""
    return ""
