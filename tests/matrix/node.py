# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's half of the matrix: sets a scene for the engine, and says what there is. Standard library only: it runs on the node.

``prepare`` once, ``scene`` and ``look`` for each configuration, ``restore`` in the end. Beside it lies cri.py.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import typing as t

import cri

HOME = os.path.dirname(os.path.abspath(__file__))
ETC = "/etc/containerd"
#: Where the engine of a scene listens: at its default place, or where one of the configurations has it listen.
SOCKETS = ("/run/containerd/containerd.sock", "/run/containerd/other.sock")
PAYLOAD = "/opt/matrix"


def sh(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, encoding="utf-8", check=False)


def prepare() -> None:
    """Make what handlers refer to, and put the configuration of the node aside."""
    os.makedirs(PAYLOAD, exist_ok=True)
    for name in ("containerd-shim-kata-v2", "configuration-qemu.toml", "configuration-clh.toml"):
        with open(os.path.join(PAYLOAD, name), "w", encoding="utf-8") as stream:
            stream.write("#!/bin/true\n")
        os.chmod(os.path.join(PAYLOAD, name), 0o755)
    if not os.path.exists(f"{HOME}/etc"):
        shutil.copytree(ETC, f"{HOME}/etc", symlinks=True)


def restore() -> None:
    shutil.rmtree(ETC)
    shutil.copytree(f"{HOME}/etc", ETC, symlinks=True)
    restart()


def restart() -> None:
    sh("systemctl", "reset-failed", "containerd")
    sh("systemctl", "restart", "containerd")


def scene(configuration: dict[str, t.Any]) -> None:
    """Have exactly these files in /etc/containerd, and an engine that has read them, if it can."""
    # What a command prints comes from the node's own configuration.
    files = dict(configuration["files"])
    main = configuration["main"]
    if configuration["command"]:
        restored = f"{HOME}/etc/config.toml"
        main = sh(*configuration["command"].replace("containerd ", f"containerd --config {restored} ").split()).stdout
    if main is not None:
        files["config.toml"] = main
    shutil.rmtree(ETC)
    os.mkdir(ETC)
    for name, text in files.items():
        path = os.path.join(ETC, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if text.startswith("-> "):
            os.symlink(text[3:], path)
        else:
            with open(path, "wb") as stream:
                stream.write(text.encode())
    if configuration["owner"]:
        shutil.chown(f"{ETC}/config.toml", *configuration["owner"].split(":"))
    if configuration["mode"]:
        os.chmod(f"{ETC}/config.toml", int(configuration["mode"], 8))
    restart()
    deadline = time.monotonic() + 10
    # A daemon that does not start, or whose CRI is disabled, is part of some scenes.
    while not served() and time.monotonic() < deadline:
        plugins = sh("ctr", "plugins", "ls")
        if plugins.returncode == 0 and " cri " not in plugins.stdout:
            break
        if sh("systemctl", "is-active", "containerd").stdout.strip() in ("failed", "activating"):
            break
        time.sleep(0.2)


def served() -> list[str]:
    for socket in SOCKETS:
        with contextlib.suppress(cri.CriError):
            return sorted(cri.status(socket).handlers)
    return []


def look() -> dict[str, t.Any]:
    """Say all that a run could change."""
    tree = {}
    for directory, directories, names in os.walk(ETC):
        for name in [*directories, *names]:
            path = os.path.join(directory, name)
            found = os.lstat(path)
            content = os.readlink(path) if os.path.islink(path) else ""
            if os.path.isfile(path):
                with open(path, "rb") as stream:
                    content += hashlib.sha256(stream.read()).hexdigest()
            tree[path] = [oct(found.st_mode), found.st_uid, found.st_gid, content]
    config = f"{ETC}/config.toml"
    return {
        "tree": tree,
        "dump": sh("containerd", "--config", config if os.path.exists(config) else os.devnull, "config", "dump").stdout,
        "served": served(),
        "engine": sh("systemctl", "show", "--property=InvocationID", "--value", "containerd").stdout.strip(),
        "left": [
            path
            for path in ("/var/lib/confidential-containers/journal", "/run/confidential-containers.trial")
            if os.path.exists(path)
        ]
        + [name for name in os.listdir("/usr/local/bin") if "kata" in name],
    }


def main(command: str, argument: str = "") -> None:
    if command == "prepare":
        prepare()
    elif command == "restore":
        restore()
    else:
        if command == "scene":
            scene(json.loads(base64.b64decode(argument)))
        json.dump(look(), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
