# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a node back to what it was when it came up, whatever a test has done to it.

``keep`` remembers the node's files, and what it is told of the engine; ``put-back`` restores both. This program runs in the
node, beside snapshot.py, so it imports nothing but the standard library.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import snapshot

HOME = Path(__file__).resolve().parent
UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd")
#: Where tests and what they test leave files, and a copy is kept.
KEPT = ("/etc", "/home", "/mnt", "/opt", "/root", "/run/systemd/system", "/srv", "/usr/local")
#: Of these, what comes is removed; nothing there is expected to change or to go.
WATCHED = ("/run/confidential-containers", "/run/confidential-containers.trial", "/var/lib")
#: Docker binds these into the node: they are no files of the node's own.
BOUND = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}


def sh(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def look(engine: dict[str, t.Any]) -> snapshot.Manifest:
    roots = (*KEPT, *WATCHED, *engine["kept"])
    return {path: entry for path, entry in snapshot.manifest(roots).items() if path not in BOUND}


def mounts() -> list[str]:
    """Return the mount points, in the order in which they were mounted."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def keep(facts: str) -> None:
    engine = json.loads(facts)

    def excluded(directory: str, names: list[str]) -> list[str]:
        return [name for name in names if os.path.join(directory, name) in snapshot.EXCLUDED]

    for root in filter(os.path.isdir, (*KEPT, *engine["kept"])):
        shutil.copytree(root, f"{HOME}/kept{root}", symlinks=True, dirs_exist_ok=True, ignore=excluded)
    (HOME / "baseline.json").write_text(json.dumps({"engine": engine, "files": look(engine), "mounts": mounts()}))


def put_back() -> None:
    baseline = json.loads((HOME / "baseline.json").read_text())
    engine = baseline["engine"]
    subprocess.run(["systemctl", "stop", "confidential-containers*"], check=True)
    for place in reversed([place for place in mounts() if place not in baseline["mounts"]]):
        if place.startswith((*KEPT, *WATCHED)) and not place.startswith(
            tuple(f"{path}/" for path in snapshot.EXCLUDED)
        ):
            sh("umount", place)
    found = look(engine)
    changed = changes(baseline["files"], found)
    services = [path for path in changed if path not in baseline["files"] and is_service(path)]
    if services:
        sh("systemctl", "stop", *map(os.path.basename, services))
    for path in changed:
        restore(path, baseline["files"].get(path))
    left = changes(baseline["files"], look(engine)) if changed else []
    if left:
        raise SystemExit(f"not as when the node came up: {', '.join(left)}")
    units = any(path.startswith(UNITS) for path in changed)
    if units:
        sh("systemctl", "daemon-reload")
    if units or not engine_is_as_ever(engine):
        subprocess.run(["systemctl", "reset-failed", engine["unit"]], check=False)
        sh("systemctl", "restart", engine["unit"])
        print("restarted")


def is_service(path: str) -> bool:
    return path.startswith(UNITS) and path.endswith(".service") and os.path.isfile(path) and not os.path.islink(path)


def changes(before: snapshot.Manifest, now: snapshot.Manifest) -> list[str]:
    """Return what came, the deepest first, and then what changed or went, the deepest last."""
    came = sorted(now.keys() - before.keys(), reverse=True)
    return [*came, *(path for path in sorted(before) if before[path] != now.get(path))]


def restore(path: str, entry: dict[str, object] | None) -> None:
    kept = f"{HOME}/kept{path}"
    if os.path.isdir(path) and not os.path.islink(path):
        if not entry or entry["type"] != "directory":
            shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    if not entry:
        return
    if entry["type"] == "directory":
        os.makedirs(path, exist_ok=True)
        shutil.copystat(kept, path)
    else:
        shutil.copy2(kept, path, follow_symlinks=False)
    status = os.lstat(kept)
    os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    if entry["type"] != "link":
        os.chmod(path, status.st_mode & 0o7777)


def engine_is_as_ever(engine: dict[str, t.Any]) -> bool:
    """Tell whether the engine runs, and has read its files as they are now."""
    properties = ("ActiveState", "NeedDaemonReload", "ExecMainStartTimestampMonotonic")
    told = dict(
        line.split("=")
        for line in sh("systemctl", "show", f"--property={','.join(properties)}", engine["unit"]).split()
    )
    if (told["ActiveState"], told["NeedDaemonReload"]) != ("active", "no"):
        return False
    started = time.time() - time.monotonic() + int(told["ExecMainStartTimestampMonotonic"]) / 1e6
    read = snapshot.manifest(engine["reads"]).keys() - set(engine["renders"])
    return all(os.lstat(path).st_ctime < started for path in read)


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(sys.argv[2])
    else:
        put_back()
