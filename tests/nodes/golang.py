# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs compiled from Go modules: here, or in a container where Go is missing."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import bases
import engine
from host import HERE, cache_dir, lock, log, run

# Static: runsc changes its root before it starts itself again, and containerd meets another libc.
FLAGS = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w")


def build(source: Path, out: Path, programs: t.Mapping[str, str]) -> None:
    """Have programs (name: package of the module in ``source``, or package@version) in ``out``."""
    with lock("programs"):
        missing = {name: package for name, package in programs.items() if not (out / name).exists()}
        if not missing:
            return
        log(f"compiling {', '.join(missing)}")
        work = cache_dir(out.parent.name, f"{out.name}.part")
        go, seen_at = _here(source, work) if shutil.which("go") else _in_container(source, work)
        for name, package in missing.items():
            if "@" in package:
                run(*go, "install", *FLAGS, package)
            else:
                run(*go, "build", *FLAGS, f"-o={seen_at}/{name}", package)
            (work / name).rename(out / name)
        shutil.rmtree(work)


def _here(source: Path, out: Path) -> tuple[tuple[str, ...], str]:
    """The command that runs Go, and where it sees the output directory."""
    return ("env", "CGO_ENABLED=0", f"GOBIN={out}", "go", "-C", str(source)), str(out)


def _in_container(source: Path, out: Path) -> tuple[tuple[str, ...], str]:
    tag = f"{bases.tag('trixie')}-go"
    if not engine.image_id(tag):
        engine.build(tag, HERE / "image", HERE / "payload" / "go.Dockerfile", base=bases.ensure("trixie"))
    cached = cache_dir("go")
    # What this machine trusts, and how it reaches the module proxy.
    trust = Path("/etc/ssl/certs/ca-certificates.crt")
    volumes = [f"--volume={trust}:{trust}:ro"] if trust.exists() else []
    access = ("GOPROXY", "GOSUMDB", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    settings = [f"--env={name}" for name in access if name in os.environ]
    return (
        "docker", "run", "--rm", *volumes, *settings,
        f"--volume={source}:/source:ro", f"--volume={out}:/out", f"--volume={cached}:/cache",
        "--env=CGO_ENABLED=0", "--env=GOBIN=/out", "--env=GOTOOLCHAIN=auto",
        "--env=GOPATH=/cache/path", "--env=GOCACHE=/cache/build", tag, "go", "-C", "/source",
    ), "/out"  # fmt: skip
