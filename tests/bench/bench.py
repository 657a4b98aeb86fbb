# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the benchmarks of this folder share: a node, playbooks that run on it, and rows to print."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SUITE = "trixie"
#: Where programs and files of benchmarks are on the node.
PLACE = "/root/bench"
ARTIFACTS = "/opt/kata-artifacts/opt/confidential-containers"  # in the payload image
PREFIX = "/opt/confidential-containers"  # on the node


class Failure(Exception):
    """What the user is told when a benchmark cannot go on."""


class Module(t.NamedTuple):
    """One that ran on the node: when it had its arguments, its name, its process."""

    invoked: float
    name: str
    process: int


class Run(t.NamedTuple):
    """What one run of a playbook took."""

    seconds: float
    received: int  # by the node, in bytes
    changed: int  # tasks
    modules: list[Module]


class Process(t.NamedTuple):
    """One module on the node: all of its process, and its own part, which begins when Ansible has handed over the arguments.
    ``processor`` are the seconds that it had one: other work on the machine takes none of them."""

    module: str
    seconds: float
    own: float
    processor: float
    peak: int
    written: int


class Cost(t.NamedTuple):
    """What something takes: its seconds, and those of a processor."""

    seconds: float
    processor: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s ({self.processor:.2f})"


class Node:
    """A node of the testbed, made for one benchmark."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inventory = work() / f"{name}.yml"

    def __enter__(self) -> Node:
        self.__exit__()  # left by a benchmark that was killed
        testbed("up", f"{self.name}={SUITE}")
        self.inventory.write_text(testbed("inventory", self.name))
        self.run("mkdir", "-p", PLACE)
        return self

    def __exit__(self, *exc: object) -> None:
        testbed("down", self.name)

    def command(self, *command: str) -> list[str]:
        """Return what runs a command on the node."""
        return [*_TESTBED, "exec", self.name, "--", *command]

    def run(self, *command: str) -> str:
        return output(*self.command(*command))

    def shell(self, script: str) -> str:
        return self.run("bash", "-euo", "pipefail", "-c", script)

    def put(self, source: Path, name: str = "") -> str:
        """Copy a file to the node, and return where it is there."""
        target = f"{PLACE}/{name or source.name}"
        with source.open("rb") as stream:
            output(*self.command("sh", "-c", f"cat > {target} && chmod 755 {target}"), stdin=stream)
        return target

    def play(self, playbook: Path, variables: t.Mapping[str, t.Any]) -> Run:
        """Run a playbook as a user does. Raises a failure when it fails."""
        argv = ["ansible-playbook", str(playbook), "-i", str(self.inventory), "-e", json.dumps(variables)]
        received, since, started = self._received(), time.time(), time.monotonic()
        done = subprocess.run(
            argv,
            cwd=ROOT,  # where ansible.cfg is
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, received = time.monotonic() - started, self._received() - received
        recap = re.search(rf"^{self.name} .*\bchanged=(\d+)", done.stdout, re.MULTILINE)
        if done.returncode != 0 or not recap:
            raise Failure(f"{playbook.name} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
        return Run(seconds, received, int(recap[1]), self._modules(since))

    def _modules(self, since: float) -> list[Module]:
        """Return the modules that ran since a time: each one says so in the node's journal."""
        journal = self.run(
            "journalctl", f"--since=@{since:.3f}", "--output=short-unix", "--no-hostname", "--no-pager", "--quiet"
        )
        found = re.findall(r"^(\d+\.\d+) ansible-([\w.]+)\[(\d+)\]: Invoked with", journal, re.MULTILINE)
        return [Module(float(when), name, int(process)) for when, name, process in found]

    def _received(self) -> int:
        return int(self.run("cat", "/sys/class/net/eth0/statistics/rx_bytes"))


def main(description: str, benchmark: t.Callable[[Node, int], None], pairs: int) -> int:
    """Run a benchmark on a node of its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pairs", type=int, default=pairs, metavar="N", help="how often both run (default: %(default)s)"
    )
    parser.add_argument("--node", default="bench-17", metavar="NAME", help="the node's name (default: %(default)s)")
    args = parser.parse_args()
    if args.pairs < 1:
        parser.error("--pairs: at least 1")
    if "COCO_TEST_CACHE" not in os.environ:
        parser.error("start this with tests/venv")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Node(args.node) as node:
            benchmark(node, args.pairs)
        print(f"Load: {' '.join(f'{load:.1f}' for load in os.getloadavg())}, on {os.cpu_count()} processors.")
    except Failure as failure:
        print(f"bench: error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def meter(node: Node) -> None:
    """Have what each module takes on the node noted, for :func:`install`."""
    # A program of one line: the node's Python is no "python" that env would find.
    program = f"{PLACE}/meter"
    line = f'exec /usr/bin/python3 -ES {node.put(HERE / "meter.py")} "$@"'
    node.run("sh", "-c", f"printf '%s\\n' '#!/bin/sh' '{line}' > {program} && chmod 755 {program}")
    node.inventory.write_text(node.inventory.read_text().replace("/usr/bin/python3", program))


def install(node: Node, variables: t.Mapping[str, t.Any]) -> tuple[Run, list[Process]]:
    """Run install.yml, and return what it and each of its modules took."""
    node.shell("rm -f /run/bench.jsonl")
    run = node.play(ROOT / "playbooks/install.yml", variables)
    measured = {entry[0]: entry[1:] for entry in map(json.loads, node.run("cat", "/run/bench.jsonl").splitlines())}
    processes = []
    for module in run.modules:
        started, ended, *others = measured[module.process]
        name = module.name.rpartition(".")[2]
        processes.append(Process(name, ended - started, ended - module.invoked, *others))
    return run, processes


def unpacking(processes: t.Iterable[Process]) -> Cost:
    """Return what the modules take that unpack the payload and bring it to its place."""
    counted = [one for one in processes if one.module in ("payload_extract", "payload_artifacts")]
    return Cost(sum(one.seconds for one in counted), sum(one.processor for one in counted))


def remove(node: Node) -> None:
    for playbook in ("uninstall.yml", "cleanup.yml"):
        node.play(ROOT / "playbooks" / playbook, {})


def work() -> Path:
    """Return the directory for what benchmarks keep."""
    directory = Path(os.environ["COCO_TEST_CACHE"], "bench")
    directory.mkdir(exist_ok=True)
    return directory


def payload(variant: str) -> dict[str, str]:
    """Have a payload of the testbed, and return what there is to know about it."""
    return t.cast("dict[str, str]", json.loads(testbed("payload", "--variant", variant, "--json")))


_TESTBED = (sys.executable, str(ROOT / "tests/nodes/testbed"))


def testbed(*words: str) -> str:
    return output(*_TESTBED, *words)


def output(*argv: str, stdin: t.Any = subprocess.DEVNULL) -> str:
    """Run a program and return what it prints. What it says on stderr is for the user."""
    done = subprocess.run(argv, cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{' '.join(argv)} failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


def row(title: str, *cells: str) -> None:
    print(f"{title:<16}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


def verdict(goal: str, found: str, met: bool) -> None:
    print(f"Goal: {goal}. {found}: {'met' if met else 'MISSED'}.")


def size(number: float) -> str:
    return f"{number / 1e6:,.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"
