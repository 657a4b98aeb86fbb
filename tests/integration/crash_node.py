# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The node's half of the crash test: one order of a real run, carried out again and again, and killed each time at another call.

``hold`` stands in for the transaction's program: it keeps all that the order works on. ``calls`` carries the order out once
and counts its system calls, ``kill`` once for each point that it is given (``CALL:N`` …), as the systemd unit that is killed
and started again. Standard library only: this program runs in the node.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

HOME = Path("/root/crash")
UNIT = "confidential-containers-transaction.service"
STATE = "/var/lib/confidential-containers"
PROGRAM = f"{STATE}/journal/transaction.zip"
#: All that a run works on.
PLACES = (
    "/etc/containerd",
    "/etc/systemd/system",
    "/opt/confidential-containers",
    "/opt/.confidential-containers",
    "/usr/local/bin",
    STATE,
    "/run/confidential-containers",
    "/run/confidential-containers.trial",
)
#: Calls that change a file system, and the one that waits for another program: the engine's restart is among them.
CALLS = (
    "write,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,link,linkat,fsync,syncfs,"
    "chmod,fchmod,fchmodat,fchown,fsetxattr,setxattr,flock,wait4"
)

RUNNER = f"""#!/bin/sh
echo >> {HOME}/starts
if [ -e {HOME}/inject ]; then
    inject=$(cat {HOME}/inject)
    rm {HOME}/inject
    exec strace -o {HOME}/trace -e trace={CALLS} $inject /usr/bin/python3 -I {PROGRAM}
fi
exec /usr/bin/python3 -I {PROGRAM}
"""


def sh(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()


def use(program: str) -> None:
    """Let the unit run this program in the place of its own."""
    directory = Path("/run/systemd/system") / f"{UNIT}.d"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "crash.conf").write_text(f"[Service]\nExecStart=\nExecStart={program}\n")
    sh("systemctl", "daemon-reload")


def engage() -> None:
    HOME.mkdir(exist_ok=True)
    runner = HOME / "runner"
    runner.write_text(RUNNER)
    runner.chmod(0o700)
    use(f"/usr/bin/python3 {HOME}/crash_node.py hold")


def hold() -> None:
    shutil.rmtree(HOME / "held", ignore_errors=True)
    for place in filter(os.path.exists, PLACES):
        target = HOME / "held" / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Hard links among the artifacts (those kept aside) stay links.
        subprocess.run(["cp", "--archive", place, target], check=True)


def restore() -> None:
    for place in PLACES:
        held = HOME / "held" / place.lstrip("/")
        if os.path.isdir(place):
            shutil.rmtree(place)
        if held.exists():
            subprocess.run(["cp", "--archive", held, place], check=True)
    use(f"{HOME}/runner")


def served() -> list[str]:
    """Return what the engine serves: asked with the collection's own call, whose answers other tests compare."""
    code = "import cri; print(*cri.status('/run/containerd/containerd.sock').handlers)"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code],
        env={"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.split() if done.returncode == 0 else [f"no answer: {done.stderr.strip()[-200:]}"]


def look() -> dict[str, t.Any]:
    """Return what is on the node, without what differs between two runs that do the same, and what is served."""
    found: dict[str, t.Any] = {}
    for place in PLACES:
        if place.startswith("/run/"):
            continue  # the result of a run that nobody waited for
        for path in [Path(place), *sorted(Path(place).rglob("*"))]:
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path)] = [oct(path.stat().st_mode), digest]
            elif path.is_dir():
                found[str(path)] = oct(path.stat().st_mode)
    if not os.path.exists(f"{STATE}/journal/journal.json"):
        # Once a run is closed and its unit gone, nobody starts it again: what a process that is killed in this last moment
        # leaves of its own code goes with the next run.
        found = {path: what for path, what in found.items() if not path.startswith(f"{STATE}/journal")}
        if [path for path in found if path.startswith(STATE)] == [STATE]:
            del found[STATE]
    receipt = Path(STATE, "receipt.json")
    if receipt.exists():
        content = json.loads(receipt.read_text())
        for entry in content.get("tree", {}).values():
            entry.pop("mtime_ns", None)
            entry.pop("inode", None)
        found[str(receipt)] = {k: v for k, v in content.items() if k not in ("changed_at", "installed_at")}
    return {"files": found, "served": served()}


def carry_out(inject: str) -> int:
    """Carry the held order out; return how often the unit was started for it."""
    (HOME / "starts").unlink(missing_ok=True)
    (HOME / "inject").write_text(inject)
    sh("systemctl", "reset-failed", UNIT)
    sh("systemctl", "start", UNIT)
    while sh("systemctl", "show", "--property=ActiveState", "--value", UNIT) not in ("inactive", "failed", ""):
        time.sleep(0.02)
    return len((HOME / "starts").read_text().splitlines())


def calls() -> dict[str, t.Any]:
    restore()
    starts = carry_out("-e quiet=attach")
    names = (line.partition("(")[0].split()[-1] for line in (HOME / "trace").read_text().splitlines() if "(" in line)
    return {"starts": starts, "calls": collections.Counter(names), "look": look()}


def kill(points: list[str], before: list[str]) -> t.Iterator[dict[str, t.Any]]:
    for point in points:
        restore()
        if served() != before:
            sh("systemctl", "reset-failed", "containerd.service")
            sh("systemctl", "restart", "containerd.service")
        call, _colon, number = point.partition(":")
        starts = carry_out(f"-e inject={call}:signal=KILL:when={number}")
        yield {"point": point, "starts": starts, "look": look()}


def main() -> None:
    command, *words = sys.argv[1:]
    if command in ("engage", "hold"):
        {"engage": engage, "hold": hold}[command]()
    elif command == "release":
        shutil.rmtree(Path("/run/systemd/system") / f"{UNIT}.d", ignore_errors=True)
        sh("systemctl", "daemon-reload")
    elif command == "kill":
        for result in kill(words[1:], json.loads(words[0])):
            print(json.dumps(result), flush=True)
    else:
        print(json.dumps({"calls": calls, "look": look}[command]()))


if __name__ == "__main__":
    main()
