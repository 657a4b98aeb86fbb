# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine that answers: the one that runs, or else Debian's, started by hand."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from host import Failure, cache, lock, log, need, run


def ensure() -> None:
    need("docker", "docker.io", "iptables")
    if _answers():
        return
    if "DOCKER_HOST" in os.environ:
        raise Failure(f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}")
    if os.geteuid() != 0:
        raise Failure("no Docker engine answers, and only root can start one")
    with lock("engine"):
        if _answers():
            return
        need("dockerd", "docker.io", "iptables")
        need("iptables", "iptables")
        _start()


def _answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def _start() -> None:
    """Start the engine: as a service where systemd runs, else as a daemon of our own."""
    written_to = cache("dockerd.log")
    if Path("/run/systemd/system").is_dir():
        run("systemctl", "start", "docker.service")
        engine = None
    else:
        log(f"starting dockerd, its log is {written_to}")
        with written_to.open("ab") as output:
            engine = subprocess.Popen(
                ["dockerd", "--host", "unix:///var/run/docker.sock"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # it outlives us
            )
    deadline = time.monotonic() + 60
    while not _answers():
        if engine and engine.poll() is not None:
            raise Failure(f"dockerd exited with {engine.returncode}, see {written_to}")
        if time.monotonic() > deadline:
            raise Failure(f"the Docker engine does not answer, see {written_to}")
        time.sleep(0.3)


def build(tag: str, context: Path, dockerfile: Path, **arguments: str) -> None:
    """Build an image under the name `tag`; the arguments are those of the Dockerfile, in lower case."""
    options = [f"--build-arg={name.upper()}={value}" for name, value in arguments.items()]
    # Only the engine's own builder sees the engine's images, whatever a developer has set up.
    builder = {"BUILDX_BUILDER": "default"}
    run("docker", "build", "--quiet", f"--tag={tag}", f"--file={dockerfile}", *options, context, env=builder)


def image_id(tag: str) -> str:
    """The digest of an image's configuration, or nothing where there is no such image."""
    return run("docker", "image", "ls", "--no-trunc", "--quiet", tag).strip()
