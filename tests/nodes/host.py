# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part of the testbed asks of the machine it runs on."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Seconds between two signs of life.
PERIOD = 20.0


class Failure(Exception):
    """An expected failure: its message is all that the user sees."""


def log(message: str) -> None:
    print(f"testbed: {message}", file=sys.stderr, flush=True)


def cache(*parts: str) -> Path:
    """A path in the cache directory; the directory that holds it exists."""
    base = os.environ.get("COCO_TEST_CACHE")
    if not base:
        xdg = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        base = os.path.join(xdg, "confidential_containers.runtime")
    path = Path(base).absolute().joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def cache_dir(*parts: str) -> Path:
    """A directory in the cache directory; it exists."""
    path = cache(*parts)
    path.mkdir(exist_ok=True)
    return path


def run(
    *argv: str | Path,
    stdin: bytes | None = None,
    env: dict[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a program and return what it prints; what it says on stderr explains a failure."""
    command, name = [str(arg) for arg in argv], " ".join(map(str, argv[:2]))
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env={**os.environ, **(env or {})})
    except FileNotFoundError:
        raise Failure(f"{argv[0]} is not installed") from None
    try:
        stdout, stderr = _wait(process, name, stdin or b"", timeout)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode != 0:
        said = (stderr or stdout).decode(errors="replace").strip().splitlines()
        raise Failure(f"{name} failed ({process.returncode}): {' / '.join(said[-5:])}")
    return stdout.decode(errors="replace")


def _wait(process: subprocess.Popen[bytes], name: str, stdin: bytes, timeout: float | None) -> tuple[bytes, bytes]:
    """Return all that a program prints, and say now and then that it is still at work."""
    began, sent = time.monotonic(), t.cast("bytes | None", stdin)
    while True:
        elapsed = time.monotonic() - began
        if timeout is not None and elapsed >= timeout:
            raise Failure(f"{name} took longer than {timeout:.0f} s")
        if elapsed >= PERIOD:
            log(f"{name} is at work for {elapsed:.0f} s")
        try:
            return process.communicate(sent, PERIOD if timeout is None else min(PERIOD, timeout - elapsed))
        except subprocess.TimeoutExpired:
            sent = None  # it is on its way


def need(program: str, *packages: str) -> None:
    """Have a program installed, from Debian's packages where it is missing."""
    if shutil.which(program):
        return
    if not shutil.which("apt-get"):
        raise Failure(f"{program} is needed: install it, this machine has no apt-get")
    with lock("apt"):
        if shutil.which(program):  # another testbed was faster
            return
        log(f"installing {', '.join(packages)}")
        apt = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "--quiet", "--yes")
        run(*apt, "update")
        run(*apt, "install", "--no-install-recommends", *packages, env={"DEBIAN_FRONTEND": "noninteractive"})


@contextlib.contextmanager
def lock(name: str) -> t.Iterator[None]:
    """Let one testbed at a time do a piece of work; the others wait and find it done."""
    with cache("locks", name).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(f"waiting for another testbed, which is at work on the {name}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def fingerprint(*inputs: str | Path) -> str:
    """A short digest of texts, files and directories: the part of a name that says what it was made of."""
    digest = hashlib.sha256()

    def add(label: str, data: bytes) -> None:
        digest.update(f"{label}\0{len(data)}\0".encode() + data)

    for item in inputs:
        if isinstance(item, str):
            add("text", item.encode())
            continue
        for path in sorted(item.rglob("*")) if item.is_dir() else [item]:
            if path.is_file() and path.suffix != ".pyc":
                mode = "x" if os.access(path, os.X_OK) else "-"
                add(f"{path.relative_to(item.parent)} {mode}", path.read_bytes())
    return digest.hexdigest()[:12]
