# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of this folder do to a node: what a user does with ansible-playbook, and a look at the node afterwards.

The testbed (tests/nodes) is imported: a process for each of a thousand looks would cost minutes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

import kinds
import nodes as testbed_nodes
import pods as testbed_pods
import reset as testbed_reset
from images import BY_VERSION

ROOT = Path(__file__).resolve().parents[2]
TESTBED = [sys.executable, str(ROOT / "tests/nodes/testbed")]
#: What tests ask for → the kind of node: a version of containerd, or a kind on which a distribution is imitated.
KINDS = {**BY_VERSION, **{kind: kind for kind in kinds.DISTRIBUTIONS}}

T = t.TypeVar("T")


def eventually(holds: t.Callable[[], bool], timeout: float = 90) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def on_each(nodes: t.Collection[Node], do: t.Callable[[Node], T]) -> list[T]:
    """Do the same on all nodes at once."""
    with ThreadPoolExecutor(max_workers=len(nodes)) as workers:
        return list(workers.map(do, nodes))


class Run(t.NamedTuple):
    """One run of a playbook: its exit status and all that a user sees."""

    status: int
    output: str

    def recap(self, node: str, word: str) -> int:
        """Return a number of PLAY RECAP."""
        line = next(line for line in self.output.splitlines() if line.startswith(f"{node} ") and " ok=" in line)
        return int(line.split(f"{word}=")[1].split()[0])

    def of(self, host: str) -> str:
        """Return what this run says of one host."""
        return "\n".join(line for line in self.output.splitlines() if f"[{host}]" in line)


class Ansible:
    """ansible-playbook for many runs: see ansible_server.py."""

    #: One line for each message, however long.
    ENVIRONMENT: t.ClassVar = {**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}

    def __init__(self) -> None:
        program = [sys.executable, str(Path(__file__).with_name("ansible_server.py"))]
        self._server = subprocess.Popen(
            program, cwd=ROOT, env=self.ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, argv: list[str], directory: Path) -> Run:
        """Run a command line."""
        paths = [directory / "stdout", directory / "stderr"]
        assert self._server.stdin
        assert self._server.stdout
        print(
            json.dumps({"argv": argv, **{path.name: str(path) for path in paths}}), file=self._server.stdin, flush=True
        )
        status = int(self._server.stdout.readline())
        return Run(status, "".join(path.read_text(errors="replace") for path in paths))

    def close(self) -> None:
        self._server.communicate()


class Node:
    """A node, and its inventory."""

    def __init__(self, name: str, kind: str, directory: Path, ansible: Ansible) -> None:
        self.name = name
        #: Where its containerd is, and how it is reached.
        self.facts = kinds.engine(kind)
        self._directory = directory
        self._ansible = ansible
        #: Whether a test has done anything here since the last reset.
        self.used = False
        self._find()

    def _find(self) -> None:
        self.inventory = self.inventory_as("root")
        self._enter = testbed_nodes.enter(self.name)

    def inventory_as(self, user: t.Literal["root", "admin"]) -> dict[str, t.Any]:
        """Return an inventory that connects as one of the node's users; admin needs sudo."""
        sudo = [self.name] if user == "admin" else []
        return t.cast("dict[str, t.Any]", yaml.safe_load(testbed_nodes.inventory([self.name], sudo)))

    def play(
        self, playbook: str, *words: str, inventory: t.Mapping[str, t.Any] | None = None, **variables: t.Any
    ) -> Run:
        """Run one of the four playbooks as a user does."""
        return self._play([playbook], words, inventory, variables)

    def install(self, archive: str | list[str], **variables: t.Any) -> str:
        """Install a payload and return the output of the run, which must succeed."""
        run = self.play("install", coco_payload=archive, **variables)
        assert run.status == 0, run.output
        return run.output

    def status(self, **variables: t.Any) -> str:
        """Return what the status playbook prints, which must succeed."""
        run = self.play("status", **variables)
        assert run.status == 0, run.output
        return run.output

    def remove(self, inventory: t.Mapping[str, t.Any] | None = None, **variables: t.Any) -> str:
        """Uninstall and clean up with one start of ansible-playbook, which must succeed; return its output."""
        run = self.play_all(["uninstall", "cleanup"], inventory, **variables)
        assert run.status == 0, run.output
        return run.output

    def play_all(
        self, playbooks: t.Sequence[str], inventory: t.Mapping[str, t.Any] | None = None, **variables: t.Any
    ) -> Run:
        """Run several playbooks with one start of ansible-playbook."""
        return self._play(playbooks, (), inventory, variables)

    @contextlib.contextmanager
    def started(
        self, playbook: str, inventory: t.Mapping[str, t.Any] | None = None, /, **variables: t.Any
    ) -> t.Iterator[subprocess.Popen[bytes]]:
        """Start a playbook in a process group of its own, and go on."""
        argv = self._command([playbook], (), inventory, variables)
        with subprocess.Popen(
            argv, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            yield process

    def _play(
        self,
        playbooks: t.Sequence[str],
        words: t.Sequence[str],
        inventory: t.Mapping[str, t.Any] | None,
        variables: t.Mapping[str, t.Any],
    ) -> Run:
        return self._ansible.run(self._command(playbooks, words, inventory, variables), self._directory)

    def _command(
        self,
        playbooks: t.Sequence[str],
        words: t.Sequence[str],
        inventory: t.Mapping[str, t.Any] | None,
        variables: t.Mapping[str, t.Any],
    ) -> list[str]:
        self.used = True
        path = self._directory / "inventory.yml"
        path.write_text(yaml.safe_dump(dict(inventory if inventory is not None else self.inventory), sort_keys=False))
        paths = [str(ROOT / "playbooks" / f"{playbook}.yml") for playbook in playbooks]
        return ["ansible-playbook", *paths, "-i", str(path), "-e", json.dumps(variables), *words]

    def execute(self, *command: str, statuses: t.Collection[int] = (0,)) -> str:
        """Run a command on the node, which must end with one of these statuses, and return what it prints."""
        self.used = True
        done = subprocess.run([*self._enter, *command], capture_output=True, text=True, check=False)
        assert done.returncode in statuses, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def sh(self, script: str) -> str:
        """Run a script on the node, each command of which must succeed."""
        return self.execute("sh", "-e", "-c", script)

    def found(self, script: str) -> str:
        """Run a search (grep, which, pgrep) and return what it prints: with status 1 it has found nothing, with another it failed."""
        return self.execute("sh", "-e", "-c", script, statuses=(0, 1))

    def paths(self, *patterns: str) -> list[str]:
        """Return what is there of paths, or patterns of a shell."""
        words = " ".join(patterns)
        return self.sh(
            f'for path in {words}; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done'
        ).split()

    def snapshot(self) -> dict[str, t.Any]:
        """Return what the node's file system is like."""
        self.used = True
        return t.cast("dict[str, t.Any]", json.loads(testbed_nodes.snapshot_of(self.name)))

    def dump(self) -> str:
        """Return the engine's configuration as containerd understands it."""
        return self.execute(*self.facts.containerd, "config", "dump")

    def engine(self) -> str:
        """Return what changes with every start of the engine: of its unit, or of the process that listens on its socket."""
        unit = f"systemctl show --property=InvocationID --value {self.facts.unit}"
        return self.found(
            f"{unit}; ss --no-header --unix --listening --processes src {self.facts.socket} | grep -o 'pid=.*'"
        )

    def starts(self) -> int:
        """Return how often the engine was started: by systemd, or by a distribution that starts it within its unit."""
        pattern = r'^Started \|msg="Started successfully'
        return int(self.sh(f"journalctl --unit={self.facts.unit} --output=cat | grep -c '{pattern}'"))

    def cut_power(self) -> None:
        """Cut the node's power and boot it again; its address may be another one afterwards."""
        testbed_nodes.reboot(self.name)
        self._find()

    def reset(self) -> None:
        """Put the node back to what it was when it came up, without the collection."""
        if self.used:
            testbed_reset.reset(self.name)
            self.used = False

    def remembers(self) -> bool:
        """Tell whether the collection has left anything on the node."""
        return bool(self.paths("/var/lib/confidential-containers", "/opt/.conf*"))

    def pod(self, handler: str, *command: str) -> str:
        """Run a command in a pod (by default one that tells what its kernel said), and return what it prints."""
        return self._pod(handler, command or ("dmesg",), keep=False).output

    def pod_that_stays(self, handler: str, *command: str) -> str:
        """Start a pod that runs on, run a command in it, and return the pod's ID."""
        return self._pod(handler, command, keep=True).pod

    def _pod(self, handler: str, command: t.Sequence[str], keep: bool) -> testbed_pods.Done:
        self.used = True
        done = testbed_pods.run(self.name, handler, command, keep)
        assert done.code == 0, done
        return done

    def name_of_pod(self, pod: str) -> str:
        """Return a pod's name as the collection tells it."""
        return next(row.split("\t")[1] for row in testbed_pods.rows(self.name) if row.endswith(f"\t{pod}"))

    def in_pod(self, pod: str, *command: str) -> str:
        """Run a command in a pod that stays."""
        (done,) = testbed_pods.run_in(self.name, [pod], command or ("dmesg",))
        assert done.code == 0, done
        return done.output

    def remove_pods(self) -> None:
        """Remove the test's pods."""
        testbed_pods.remove_all(self.name)


class Fleet:
    """The nodes of one process of pytest, by version of containerd or kind; each is started when it is first asked for."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._nodes: dict[str, Node] = {}
        self._ansible = Ansible()
        # Names of their own for each checkout, and for each process that runs its tests.
        place = hashlib.sha256(str(ROOT).encode()).hexdigest()[:4]
        self._prefix = f"int-{place}{os.environ.get('PYTEST_XDIST_WORKER', '')}"

    def get(self, *wanted: str) -> list[Node]:
        """Return nodes with these versions, or of these kinds; those that do not run yet are started all at once."""
        missing = {one: self._name(one) for one in wanted if one not in self._nodes}
        if missing:
            testbed_nodes.up({name: KINDS[one] for one, name in missing.items()})
            self._nodes.update(
                {
                    one: Node(name, KINDS[one], self._factory.mktemp(name), self._ansible)
                    for one, name in missing.items()
                }
            )
        return [self._nodes[one] for one in wanted]

    def reset(self) -> None:
        """Put the nodes back that a test has used."""
        for node in self._nodes.values():
            node.reset()

    def down(self) -> None:
        """Remove the nodes, half-started ones included."""
        self._ansible.close()
        testbed_nodes.down([self._name(one) for one in KINDS])

    def _name(self, one: str) -> str:
        return f"{self._prefix}-{one.replace('.', '')}"


def aliases(node: Node, variables: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Return an inventory in which a node has many names, each with variables of its own: many runs for one start."""
    host = node.inventory["coco_nodes"]["hosts"][node.name]
    hosts = {name: {**host, **own} for name, own in variables.items()}
    return {"coco_nodes": {**node.inventory["coco_nodes"], "hosts": hosts}}


def inventory_of(nodes: t.Sequence[Node]) -> dict[str, t.Any]:
    """Return the inventory of several nodes, in this order."""
    for node in nodes:
        node.used = True
    hosts = {node.name: node.inventory["coco_nodes"]["hosts"][node.name] for node in nodes}
    return {"coco_nodes": {**nodes[0].inventory["coco_nodes"], "hosts": hosts}}
