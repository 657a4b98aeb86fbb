# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node images: a Debian suite with systemd, sshd and its own containerd, and the image of the pods on it.

Three layers of caching, each an image whose tag carries the digest of what it was made of:
the bootstrapped suite (slow, rarely changes), the node on top, the pods' image.
"""

from __future__ import annotations

import dataclasses
import shlex
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import engine
from host import HERE, Failure, cache_dir, fingerprint, lock, log, need, run


@dataclasses.dataclass(frozen=True)
class Suite:
    containerd: str  # what this suite is here for
    config_mode: str  # of /etc/containerd/config.toml


SUITES = {
    "bullseye": Suite("1.4", "0640"),
    "bookworm": Suite("1.6", "0644"),
    "trixie": Suite("1.7", "0644"),
    "forky": Suite("2.1", "0644"),
}

PACKAGES = (
    "busybox-static", "ca-certificates", "containerd", "dbus", "iproute2", "openssh-server",
    "procps", "python3", "runc", "strace", "sudo", "systemd", "systemd-sysv",
)  # fmt: skip

# Mirrors keep testing suites whose Release file has expired; documentation only costs time.
BOOTSTRAP = (
    "mmdebstrap", "--quiet", "--variant=minbase",
    '--aptopt=Acquire::Check-Valid-Until "false"',
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    f"--include={','.join(PACKAGES)}",
)  # fmt: skip

POD_IMAGE = "localhost/testbed/busybox:latest"


def base_tag(suite: str) -> str:
    return f"coco-test-base:{suite}-{fingerprint(shlex.join(BOOTSTRAP))}"


def node_tag(suite: str) -> str:
    parts = (HERE / "image", HERE / "config" / f"{suite}.toml")
    return f"coco-test-node:{suite}-{fingerprint(base_tag(suite), repr(SUITES[suite]), *parts)}"


def pod_tag(suite: str) -> str:
    return f"coco-test-pod:{suite}-{fingerprint(base_tag(suite), HERE / 'image')}"


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
    with lock(f"image-{suite}"):
        ensure_base(suite)
        image = HERE / "image"
        if not engine.image_id(pod_tag(suite)):
            engine.build(pod_tag(suite), image, image / "pod.Dockerfile", base=base_tag(suite))
        if not engine.image_id(node_tag(suite)):
            log(f"building the {suite} node")
            engine.build(
                node_tag(suite), HERE, image / "node.Dockerfile",
                base=base_tag(suite), suite=suite, config_mode=SUITES[suite].config_mode,
            )  # fmt: skip


def ensure_base(suite: str) -> str:
    """The suite as bootstrapped; also the ground that payloads are built on."""
    tag = base_tag(suite)
    if engine.image_id(tag):
        return tag
    need("mmdebstrap", "mmdebstrap", "debian-archive-keyring")
    log(f"bootstrapping {suite}")
    with tempfile.TemporaryDirectory(dir=cache_dir()) as work:
        archive = Path(work, "suite.tar")
        run(*BOOTSTRAP, suite, archive)
        run("docker", "import", archive, tag)
    return tag
