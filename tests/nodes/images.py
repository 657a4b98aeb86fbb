# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node images: a Debian suite with systemd, sshd and containerd, its own or a compiled one, and the image of the pods on it.

Three layers of caching, each an image whose tag carries the digest of what it was made of:
the bootstrapped suite (slow, rarely changes), the node on top, the pods' image.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import bases
import engine
import golang
from host import HERE, Failure, cache_dir, fingerprint, lock, log


@dataclasses.dataclass(frozen=True)
class Suite:
    debian: str
    containerd: str  # what this suite is here for: Debian's minor version, or a whole one that is compiled
    config_mode: str = "0644"  # of /etc/containerd/config.toml

    @property
    def compiled(self) -> bool:
        return self.containerd.count(".") == 2


SUITES = {
    "bullseye": Suite("bullseye", "1.4", config_mode="0640"),
    "bookworm": Suite("bookworm", "1.6"),
    "trixie": Suite("trixie", "1.7"),
    "forky": Suite("forky", "2.1"),
    "trixie-2.2": Suite("trixie", "2.2.9"),
    "trixie-2.3": Suite("trixie", "2.3.7"),
    "trixie-2.4": Suite("trixie", "2.4.2"),
}

#: Minor version of containerd → the suite that has it.
BY_VERSION = {".".join(suite.containerd.split(".")[:2]): name for name, suite in SUITES.items()}

POD_IMAGE = "localhost/testbed/busybox:latest"


def node_tag(suite: str) -> str:
    parts = (HERE / "image", HERE / "config" / f"{suite}.toml")
    base = bases.tag(SUITES[suite].debian)
    return f"coco-test-node:{suite}-{fingerprint(base, repr(SUITES[suite]), *parts)}"


def pod_tag(suite: str) -> str:
    debian = SUITES[suite].debian
    return f"coco-test-pod:{debian}-{fingerprint(bases.tag(debian), HERE / 'image')}"


def check(suite: str) -> str:
    if suite not in SUITES:
        raise Failure(f"there is no suite {suite!r}, only {', '.join(SUITES)}")
    return suite


def ensure(*suites: str) -> None:
    wanted = [check(suite) for suite in dict.fromkeys(suites)]
    engine.ensure()
    with ThreadPoolExecutor(max_workers=2) as workers:  # bootstrapping keeps about one core busy
        list(workers.map(_ensure, wanted))


def _ensure(suite: str) -> None:
    facts = SUITES[suite]
    image = HERE / "image"
    with lock(f"image-{facts.debian}"):
        base = bases.ensure(facts.debian)
        if not engine.image_id(pod_tag(suite)):
            engine.build(pod_tag(suite), image, image / "pod.Dockerfile", base=base)
        if engine.image_id(node_tag(suite)):
            return
        if facts.compiled:
            base = _with_containerd(base, facts.containerd)
        log(f"building the {suite} node")
        engine.build(
            node_tag(suite), HERE, image / "node.Dockerfile",
            base=base, suite=suite, config_mode=facts.config_mode,
        )  # fmt: skip


def _with_containerd(base: str, version: str) -> str:
    """The bootstrapped suite with another containerd over Debian's."""
    tag = f"{base}-containerd-{version}"
    if not engine.image_id(tag):
        module = "github.com/containerd/containerd/v2/cmd"
        programs = ("containerd", "containerd-shim-runc-v2", "ctr")
        out = cache_dir("programs", f"containerd-{version}")
        golang.build(HERE, out, {name: f"{module}/{name}@v{version}" for name in programs})
        engine.build(tag, out, HERE / "image" / "containerd.Dockerfile", base=base)
    return tag
