# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bootstrapped Debian suites: what nodes and programs are made on."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import engine
from host import cache_dir, fingerprint, log, need, run

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


def tag(suite: str) -> str:
    return f"coco-test-base:{suite}-{fingerprint(shlex.join(BOOTSTRAP))}"


def ensure(suite: str) -> str:
    """The suite as bootstrapped; also the ground that payloads are built on."""
    if engine.image_id(tag(suite)):
        return tag(suite)
    need("mmdebstrap", "mmdebstrap", "debian-archive-keyring")
    log(f"bootstrapping {suite}")
    with tempfile.TemporaryDirectory(dir=cache_dir()) as work:
        archive = Path(work, "suite.tar")
        run(*BOOTSTRAP, suite, archive)
        run("docker", "import", archive, tag(suite))
    return tag(suite)
