# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of nodes: Debian suites with plain containerd, and distributions that bring their own."""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Engine:
    """How the testbed reaches a node's containerd, and what a reset has to know of it."""

    unit: str
    socket: str
    ctr: tuple[str, ...]
    containerd: tuple[str, ...]  # with its configuration
    root: str  # overlayfs does not stack on overlayfs: a volume
    reads: tuple[str, ...]  # when it starts; of these, what it renders itself then:
    renders: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()  # directories that a reset puts back, beside those of all nodes


PLAIN = Engine(
    unit="containerd.service",
    socket="/run/containerd/containerd.sock",
    ctr=("ctr",),
    containerd=("containerd",),
    root="/var/lib/containerd",
    reads=("/etc/containerd",),
)


def _rancher(unit: str, data: str, programs: str, ctr: tuple[str, ...]) -> Engine:
    files = f"{data}/agent/etc/containerd"
    return Engine(
        unit=unit,
        socket="/run/k3s/containerd/containerd.sock",
        ctr=ctr,
        containerd=(f"{data}/{programs}/containerd", "--config", f"{files}/config.toml"),
        root=f"{data}/agent/containerd",
        reads=(files, "/etc/default", f"/etc/rancher/{data.rpartition('/')[2]}"),
        renders=(f"{files}/config.toml",),
        kept=(files,),
    )


K3S = _rancher("k3s.service", "/var/lib/rancher/k3s", "data/current/bin", ("k3s", "ctr"))
RKE2 = _rancher(
    "rke2-server.service", "/var/lib/rancher/rke2", "bin",
    ("/var/lib/rancher/rke2/bin/ctr", "--address", "/run/k3s/containerd/containerd.sock"),
)  # fmt: skip
K0S = Engine(
    unit="k0sworker.service",
    socket="/run/k0s/containerd.sock",
    ctr=("k0s", "ctr"),
    containerd=("/var/lib/k0s/bin/containerd", "--config", "/etc/k0s/containerd.toml"),
    root="/var/lib/k0s/containerd",
    reads=("/etc/k0s/containerd.d", "/etc/k0s/containerd.toml", "/etc/default"),
    renders=("/etc/k0s/containerd.toml",),
)
MICROK8S = Engine(
    unit="snap.microk8s.daemon-containerd.service",
    socket="/var/snap/microk8s/common/run/containerd.sock",
    ctr=("/snap/bin/microk8s", "ctr"),
    containerd=("/snap/microk8s/current/bin/containerd", "--config", "/var/snap/microk8s/current/args/containerd.toml"),
    root="/var/snap/microk8s/common/var/lib/containerd",
    reads=("/var/snap/microk8s/8511/args", "/snap/microk8s/current", "/var/snap/microk8s/current"),
    renders=("/var/snap/microk8s/8511/args/containerd.toml",),
    kept=("/snap", "/var/snap"),
)


@dataclasses.dataclass(frozen=True)
class Suite:
    debian: str
    containerd: str  # what this suite is here for: Debian's minor version, or a whole one that is compiled
    config_mode: str = "0644"  # of /etc/containerd/config.toml

    @property
    def compiled(self) -> bool:
        return self.containerd.count(".") == 2


@dataclasses.dataclass(frozen=True)
class Distribution:
    """An imitation around the real containerd of a suite."""

    suite: str
    family: str  # the directory below distributions/
    release: str
    engine: Engine


SUITES = {
    "bullseye": Suite("bullseye", "1.4", config_mode="0640"),
    "bookworm": Suite("bookworm", "1.6"),
    "trixie": Suite("trixie", "1.7"),
    "forky": Suite("forky", "2.1"),
    "trixie-2.2": Suite("trixie", "2.2.9"),
    "trixie-2.3": Suite("trixie", "2.3.7"),
    "trixie-2.4": Suite("trixie", "2.4.2"),
}

DISTRIBUTIONS = {
    "k3s": Distribution("trixie-2.2", "k3s", "v1.35.4+k3s1", K3S),
    "k3s-1.7": Distribution("trixie", "k3s", "v1.30.14+k3s1", K3S),
    "rke2": Distribution("trixie-2.2", "rke2", "v1.35.4+rke2r1", RKE2),
    "k0s": Distribution("trixie", "k0s", "v1.35.2+k0s.0", K0S),
    "k0s-1.36": Distribution("trixie-2.3", "k0s", "v1.36.1+k0s.0", K0S),
    "microk8s": Distribution("trixie", "microk8s", "v1.34.1", MICROK8S),
    "microk8s-1.36": Distribution("trixie-2.2", "microk8s", "v1.36.1", MICROK8S),
}

KINDS: t.Mapping[str, Suite | Distribution] = {**SUITES, **DISTRIBUTIONS}


def suite(kind: str) -> str:
    """The suite under a kind of node."""
    return DISTRIBUTIONS[kind].suite if kind in DISTRIBUTIONS else kind


def engine(kind: str) -> Engine:
    return DISTRIBUTIONS[kind].engine if kind in DISTRIBUTIONS else PLAIN
