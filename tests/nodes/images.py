# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node images: a Debian suite with systemd, sshd and containerd, its own or a compiled one, and the image of the pods on it.

Layers of caching, each an image whose tag carries the digest of what it was made of: the bootstrapped suite (slow, rarely
changes), the node on top, the distribution on top of that, the pods' image.
"""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bases
import engine
import golang
from host import HERE, Failure, cache_dir, fingerprint, lock, log
from kinds import DISTRIBUTIONS, KINDS, SUITES, Distribution, suite

#: Minor version of containerd → the suite that has it.
BY_VERSION = {".".join(suite.containerd.split(".")[:2]): name for name, suite in SUITES.items()}

POD_IMAGE = "localhost/testbed/busybox:latest"


DISTRIBUTION_FILES = HERE / "distributions"


def node_tag(kind: str) -> str:
    if kind in DISTRIBUTIONS:
        facts = DISTRIBUTIONS[kind]
        made_of = fingerprint(node_tag(facts.suite), facts.family, facts.release, DISTRIBUTION_FILES)
    else:
        parts = (HERE / "image", HERE / "config" / f"{kind}.toml")
        made_of = fingerprint(bases.tag(SUITES[kind].debian), repr(SUITES[kind]), *parts)
    return f"coco-test-node:{kind}-{made_of}"


def kind_of(tag: str) -> str:
    """The kind that an image of a node is of."""
    return tag.partition(":")[2].rpartition("-")[0]


def pod_tag(kind: str) -> str:
    debian = SUITES[suite(kind)].debian
    return f"coco-test-pod:{debian}-{fingerprint(bases.tag(debian), HERE / 'image')}"


def check(kind: str) -> str:
    if kind not in KINDS:
        raise Failure(f"there is no kind of node {kind!r}, only {', '.join(KINDS)}")
    return kind


def ensure(*kinds: str) -> None:
    wanted = [check(kind) for kind in dict.fromkeys(kinds)]
    engine.ensure()
    with ThreadPoolExecutor(max_workers=2) as workers:  # bootstrapping keeps about one core busy
        list(workers.map(_ensure_suite, dict.fromkeys(map(suite, wanted))))
    for kind in wanted:
        if kind in DISTRIBUTIONS:
            _ensure_distribution(kind, DISTRIBUTIONS[kind])


def _ensure_suite(name: str) -> None:
    facts = SUITES[name]
    image = HERE / "image"
    with lock(f"image-{facts.debian}"):
        base = bases.ensure(facts.debian)
        if not engine.image_id(pod_tag(name)):
            engine.build(pod_tag(name), image, image / "pod.Dockerfile", base=base)
        if engine.image_id(node_tag(name)):
            return
        if facts.compiled:
            base = _with_containerd(base, facts.containerd)
        log(f"building the {name} node")
        engine.build(
            node_tag(name), HERE, image / "node.Dockerfile",
            base=base, suite=name, config_mode=facts.config_mode,
        )  # fmt: skip


def _ensure_distribution(kind: str, facts: Distribution) -> None:
    """The node of a suite, with a distribution in the place of its containerd's unit."""
    with lock(f"image-{facts.family}"):
        if engine.image_id(node_tag(kind)):
            return
        program = DISTRIBUTION_FILES / "program"
        out = cache_dir("programs", f"distribution-{fingerprint(program)}")
        golang.build(program, out, {"distribution": "."})
        log(f"building the {kind} node")
        with tempfile.TemporaryDirectory() as work:
            shutil.copytree(DISTRIBUTION_FILES, work, dirs_exist_ok=True)
            shutil.copy(out / "distribution", work)
            engine.build(
                node_tag(kind), Path(work), DISTRIBUTION_FILES / "distribution.Dockerfile",
                base=node_tag(facts.suite), family=facts.family, release=facts.release,
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
