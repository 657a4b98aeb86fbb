# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of this folder do to a node: what a user does with ansible-playbook, and a look at the node afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TESTBED = [sys.executable, str(ROOT / "tests/nodes/testbed")]


def testbed(*words: str, check: bool = True) -> str:
    """Run a command of the testbed and return what it prints."""
    done = subprocess.run([*TESTBED, *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"testbed {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def eventually(holds: t.Callable[[], bool], timeout: float = 90) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


class Run(t.NamedTuple):
    """One run of a playbook: its exit status and all that a user sees."""

    status: int
    output: str

    def recap(self, node: str, word: str) -> int:
        """Return a number of PLAY RECAP."""
        line = next(line for line in self.output.splitlines() if line.startswith(f"{node} ") and " ok=" in line)
        return int(line.split(f"{word}=")[1].split()[0])


class Node:
    """A node, and its inventory."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.inventory: dict[str, t.Any] = yaml.safe_load(testbed("inventory", name))
        self._directory = directory

    def play(
        self, playbook: str, *words: str, inventory: t.Mapping[str, t.Any] | None = None, **variables: t.Any
    ) -> Run:
        """Run one of the four playbooks as a user does."""
        how = self._how(playbook, words, inventory, variables)
        done = subprocess.run(**how, capture_output=True, text=True, check=False)
        return Run(done.returncode, done.stdout + done.stderr)

    def install(self, archive: str | list[str], **variables: t.Any) -> str:
        """Install a payload and return the output of the run, which must succeed."""
        run = self.play("install", coco_payload=archive, **variables)
        assert run.status == 0, run.output
        return run.output

    @contextlib.contextmanager
    def started(self, playbook: str, **variables: t.Any) -> t.Iterator[subprocess.Popen[bytes]]:
        """Start a playbook in a process group of its own, and go on."""
        how = self._how(playbook, (), None, variables)
        with subprocess.Popen(
            **how, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            yield process

    def _how(
        self,
        playbook: str,
        words: t.Sequence[str],
        inventory: t.Mapping[str, t.Any] | None,
        variables: t.Mapping[str, t.Any],
    ) -> dict[str, t.Any]:
        path = self._directory / "inventory.yml"
        path.write_text(yaml.safe_dump(dict(inventory if inventory is not None else self.inventory), sort_keys=False))
        argv = ["ansible-playbook", str(ROOT / "playbooks" / f"{playbook}.yml"), "-i", str(path)]
        # One line for each message, however long.
        environment = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
        return {"args": [*argv, "-e", json.dumps(variables), *words], "cwd": ROOT, "env": environment}

    def sh(self, script: str, check: bool = True) -> str:
        """Run a script on the node."""
        return testbed("exec", self.name, "--", "sh", "-c", script, check=check)

    def snapshot(self) -> dict[str, t.Any]:
        """Return what the node's file system is like."""
        return t.cast("dict[str, t.Any]", json.loads(testbed("snapshot", self.name)))

    def engine(self) -> str:
        """Return what changes with every start of the engine."""
        return self.sh("systemctl show --property=InvocationID --value containerd.service").strip()

    def starts(self) -> int:
        """Return how often systemd has started the engine."""
        return int(self.sh("journalctl --unit=containerd.service --output=cat | grep -c '^Started '"))

    def cut_power(self) -> None:
        """Cut the node's power and boot it again; its address may be another one afterwards."""
        testbed("reboot", self.name)
        self.inventory = yaml.safe_load(testbed("inventory", self.name))

    def remembers(self) -> bool:
        """Tell whether the collection has left anything on the node."""
        return bool(self.sh("ls -d /var/lib/confidential-containers /opt/.conf* 2>/dev/null", check=False).strip())

    def pod(self, handler: str, *command: str) -> str:
        """Run a command in a pod (by default one that tells what its kernel said), and return what it prints."""
        return testbed("pod", self.name, handler, "--", *(command or ("dmesg",)))

    def pod_that_stays(self, handler: str) -> str:
        """Start a pod that runs on, and return its name as the collection tells it."""
        name = testbed("pod", self.name, handler, "--keep").split()[-1]
        return next(line.split()[1] for line in testbed("pods", self.name).splitlines() if name[:12] in line)

    def remove_pods(self) -> None:
        """Remove the test's pods."""
        testbed("rmpods", self.name)


def inventory_of(nodes: t.Sequence[Node]) -> dict[str, t.Any]:
    """Return the inventory of several nodes, in this order."""
    hosts = {node.name: node.inventory["coco_nodes"]["hosts"][node.name] for node in nodes}
    return {"coco_nodes": {**nodes[0].inventory["coco_nodes"], "hosts": hosts}}
