# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real registry that the nodes reach: with TLS and a password, or plain; and a line to it that breaks."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import typing as t
from pathlib import Path

import yaml

from host import need

PROGRAMS = {"docker-registry": "docker-registry", "skopeo": "skopeo", "htpasswd": "apache2-utils", "openssl": "openssl"}
USER, PASSWORD = "robot$coco", "pa:ss wörd \"'"


def address() -> str:
    """Return the address of this machine that nodes reach."""
    found = sh("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").strip()
    return found or "172.17.0.1"


def sh(*argv: str | Path, stdin: str = "") -> str:
    done = subprocess.run([str(word) for word in argv], input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


class Registry:
    """A registry: ``host`` with its port, ``ca`` (the path of its certificate, None: plain HTTP), with a password or without."""

    def __init__(self, host: str, ca: Path | None, password: bool) -> None:
        self.host = host
        self.ca = ca
        self.password = password

    def push(self, source: str, name: str, *options: str) -> str:
        """Copy an image to the registry, and return its digest."""
        access = ["--dest-tls-verify=false", *(["--dest-creds", f"{USER}:{PASSWORD}"] if self.password else [])]
        target = f"docker://{self.host}/{name}"
        sh("skopeo", "--insecure-policy", "copy", "--quiet", *access, *options, source, target)
        access = ["--tls-verify=false", *(["--creds", f"{USER}:{PASSWORD}"] if self.password else [])]
        return str(json.loads(sh("skopeo", "inspect", *access, target))["Digest"])

    @property
    def access(self) -> dict[str, t.Any]:
        """Return the variables that a user sets for this registry."""
        return {"coco_registry_auth": {"username": USER, "password": PASSWORD}, "coco_registry_ca": str(self.ca)}


@contextlib.contextmanager
def serve(directory: Path, tls: bool, password: bool) -> t.Iterator[Registry]:
    """Run a registry with its data in a directory."""
    for program, package in PROGRAMS.items():
        need(program, package)
    directory.mkdir(exist_ok=True)
    ip = address()
    with socket.socket() as probe:
        probe.bind((ip, 0))
        port = probe.getsockname()[1]
    configuration: dict[str, t.Any] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
        "http": {"addr": f"{ip}:{port}"},
    }
    if tls:
        certificate, key = _certificate(directory, ip)
        configuration["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
    if password:
        users = directory / "htpasswd"
        users.write_text(sh("htpasswd", "-Bbn", USER, PASSWORD))
        configuration["auth"] = {"htpasswd": {"realm": "test", "path": str(users)}}
    path = directory / "registry.yml"
    path.write_text(yaml.safe_dump(configuration))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(path)], stdout=log, stderr=log)
    try:
        _wait_for(ip, port)
        yield Registry(f"{ip}:{port}", directory / "ca.crt" if tls else None, password)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


def _certificate(directory: Path, ip: str) -> tuple[Path, Path]:
    """Make a CA and, signed by it, the registry's certificate."""
    new = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
    sh(*new, "-x509", "-subj", "/CN=test", "-keyout", directory / "ca.key", "-out", directory / "ca.crt")
    sh(*new, "-subj", "/CN=registry", "-keyout", directory / "key", "-out", directory / "request")
    (directory / "names").write_text(f"subjectAltName=IP:{ip}")
    sh(
        *("openssl", "x509", "-req", "-in", directory / "request", "-CA", directory / "ca.crt", "-CAkey"),
        *(directory / "ca.key", "-CAcreateserial", "-extfile", directory / "names", "-out", directory / "crt"),
    )
    return directory / "crt", directory / "key"


def _wait_for(ip: str, port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection((ip, port), 1):
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextlib.contextmanager
def line(registry: Registry, after: float, pause: float = 0) -> t.Iterator[Registry]:
    """Run a line to a registry that breaks for good once so many bytes have come from there, with a pause for every 64 KiB."""
    ip, port = registry.host.rsplit(":", 1)
    passed = 0

    def carry(source: socket.socket, target: socket.socket, count: bool) -> None:
        nonlocal passed
        with contextlib.suppress(OSError):
            for block in iter(lambda: source.recv(1 << 16), b""):
                passed += len(block) if count else 0
                if passed > after:
                    break
                time.sleep(pause if count else 0)
                target.sendall(block)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _peer = listening.accept()
                if passed > after:
                    near.close()
                    continue
                far = socket.create_connection((ip, int(port)))
                for pair in ((near, far, False), (far, near, True)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    with socket.create_server((ip, 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield Registry(f"{ip}:{listening.getsockname()[1]}", registry.ca, registry.password)
        listening.shutdown(socket.SHUT_RDWR)
