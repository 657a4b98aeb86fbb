# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An upgrade while pods run and work, in which the very programs that they run on are replaced."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration import harness
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node
from ansible_collections.confidential_containers.runtime.tests.integration.payloads import unpacked
from host import Failure

PREFIX = "/opt/confidential-containers"
SERVED = ["kata-clh", "kata-qemu"]
#: What pods run on, and so what the other build of the payload has different bytes in.
PROGRAMS = ["containerd-shim-kata-v2", "runsc"]
#: All the programs that it changes, and those of them that can be started just so.
CHANGED = [*PROGRAMS, "kata-runtime"]
STARTED = ["containerd-shim-kata-v2", "kata-runtime"]
PROGRAM = Path(__file__).with_name("load_node.py")
#: Seconds that a client may need to find an engine that is up again.
SLACK = 1


@pytest.fixture(scope="module")
def rebuilt(payload_v2: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The next version of the payload, with another build of the programs that pods run on."""
    root, artifacts = unpacked(payload_v2, tmp_path_factory.mktemp("rebuilt"))
    for name in PROGRAMS:
        with (artifacts / "bin" / name).open("ab") as stream:
            stream.write(b"another build")
    return f"dir:{root}"


def look(node: Node) -> t.Any:
    """Look at the programs below the prefix, and the processes that they are or were started as."""
    return json.loads(node.execute(*_program("look", f"{PREFIX}/bin")))


def _program(*words: str) -> list[str]:
    return ["python3", "-c", PROGRAM.read_text(), *words]


@contextlib.contextmanager
def meanwhile(path: Path, *words: str) -> t.Iterator[None]:
    """Run a command of the testbed until its input ends: here. ``path`` gets what it prints."""
    with (
        path.open("wb") as output,
        subprocess.Popen([*harness.TESTBED, *words], stdin=subprocess.PIPE, stdout=output) as it,
    ):
        yield
        assert it.poll() is None, "it has ended already"
        it.communicate(timeout=60)
    assert it.returncode == 0


@contextlib.contextmanager
def starting_pods(node: Node, handlers: t.Sequence[str]) -> t.Iterator[list[str]]:
    """Start pods all the time, one after the other; yields what becomes a list of their kernels' words, or of errors."""
    said: list[str] = []
    ended = threading.Event()

    def start() -> None:
        for handler in itertools.takewhile(lambda _handler: not ended.is_set(), itertools.cycle(handlers)):
            try:
                said.append(node.pod(handler))
            except (AssertionError, Failure) as error:
                said.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("restart", [False, True], ids=["the same handlers", "one more handler"])
def test_an_upgrade_under_load(each: Node, archive: str, rebuilt: str, tmp_path: Path, restart: bool) -> None:
    """Pods of every handler are worked in, the programs are read and started, and new pods come, all the time."""
    node = each
    variables: dict[str, t.Any] = {} if restart else {"coco_handlers": SERVED}
    node.install(archive)
    pods = {stay(node, handler): handler for handler in SERVED}
    before, starts = look(node), node.starts()
    with (
        meanwhile(tmp_path / "calls", "podexec", node.name, *pods, "--repeat", "--", "cat", "/memory"),
        meanwhile(
            tmp_path / "met",
            *("exec", node.name, "--", *_program("watch", f"{PREFIX}/bin", " ".join(CHANGED), " ".join(STARTED))),
        ),
        starting_pods(node, [] if restart else SERVED) as started,
    ):
        node.install(rebuilt, **variables)
    after = look(node)

    assert all("Starting gVisor" in words for words in started), started
    assert restart or started
    swapped = check_programs(json.loads((tmp_path / "met").read_text()), before["files"], after["files"])
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    check_calls(calls, pods, swapped, outage(node) if restart else None)
    sandboxes = check_sandboxes(before, after)
    for pod, handler in pods.items():
        assert "Starting gVisor" in node.in_pod(pod)
        assert node.in_pod(pod, "cat", "/memory") == f"{handler}\n"

    for handler in [*SERVED, "kata-qemu-nvidia-cpu"] if restart else SERVED:
        stay(node, handler)
    new = [facts for process, facts in look(node)["processes"].items() if facts["command"] and process not in sandboxes]
    assert {facts["program"] for facts in new} == set(PROGRAMS)
    for facts in new:
        assert facts["inode"] == after["files"][facts["program"]]["inode"], facts
        assert not any("deleted" in path for path in facts["maps"])

    assert node.sh(f"ls {PREFIX}/libexec/nydusd")
    assert not node.paths(f"{PREFIX}/share/bash-completion")
    assert node.play("install", coco_payload=rebuilt, **variables).recap(node.name, "changed") == 0
    assert node.starts() == starts + restart
    node.remove_pods()
    harness.eventually(lambda: not look(node)["processes"])


def stay(node: Node, handler: str) -> str:
    """Start a pod that stays, and remembers its handler; return its ID."""
    return node.pod_that_stays(handler, "sh", "-c", f"echo {handler} > /memory")


def outage(node: Node) -> tuple[float, float]:
    """Return when the engine was stopped the last time, and when it was up again, by the monotonic clock."""
    show = "systemctl show --value --property=Active{}TimestampMonotonic containerd.service"
    stopped, up = (int(node.sh(show.format(event))) / 1e6 for event in ("Exit", "Enter"))
    return stopped, up


def check_programs(met: t.Any, old: t.Any, new: t.Any) -> tuple[float, float]:
    """Check that each program was at every moment the whole old one or the whole new one, and could be started.

    Returns a time before the swap, and one after it.
    """
    assert met["events"] == {name: ["moved there"] for name in CHANGED}
    for name in CHANGED:
        assert old[name]["inode"] != new[name]["inode"]
        assert list(met["contents"][name]) == [old[name]["digest"], new[name]["digest"]], met
    for name in STARTED:
        assert all(words.startswith("0 ") for words in met["answers"][name]), met
    assert [words.split()[-1] for words in met["answers"]["kata-runtime"]] == ["v1", "v2"]
    readings = [list(met["contents"][name].values()) for name in CHANGED]
    return min(last for (_first, last), _new in readings), max(first for _old, (first, _last) in readings)


def check_calls(
    calls: t.Sequence[t.Any],
    pods: t.Mapping[str, str],
    swapped: tuple[float, float],
    down: tuple[float, float] | None,
) -> None:
    """Check that work in the pods went on, but for the moment in which there was no engine to ask."""
    for call in calls:
        if down and down[0] < call["ended"] and call["began"] < down[1] + SLACK:
            continue
        assert (call["code"], call["output"]) == (0, pods[call["pod"]] + "\n"), f"{call}, engine down: {down}"
    for pod in pods:
        mine = [call for call in calls if call["pod"] == pod and not call["error"]]
        assert any(call["ended"] < swapped[0] for call in mine)
        assert any(call["began"] > max((swapped[1], *(down or ()))) for call in mine)


def check_sandboxes(before: t.Any, after: t.Any) -> t.Any:
    """Check that the processes of pods live on, and run on the files of before, which have no name any more."""
    sandboxes = {process: facts for process, facts in before["processes"].items() if facts["command"]}
    assert {facts["program"] for facts in sandboxes.values()} == set(PROGRAMS)
    for process, facts in sandboxes.items():
        assert facts["inode"] == before["files"][facts["program"]]["inode"]
        deleted = [f"{path} (deleted)" for path in facts["maps"]]
        assert deleted, facts
        assert after["processes"].get(process) == {**facts, "maps": deleted}
    return sandboxes
