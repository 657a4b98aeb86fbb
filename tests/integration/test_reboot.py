# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The power goes while a run restarts the engine: the node repairs itself as it boots, before anybody comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node

JOURNAL = "/var/lib/confidential-containers/journal/journal.json"
UNIT = "confidential-containers-transaction.service"
SLOW = "/etc/systemd/system/containerd.service.d/slow.conf"


@contextlib.contextmanager
def slow_with_our_handlers(node: Node, seconds: int) -> t.Iterator[None]:
    """Let the engine take its time to start, once it has our handlers."""
    slow = f'[Service]\\nExecStartPre=/bin/sh -c "! grep -rq kata-qemu /etc/containerd || sleep {seconds}"\\n'
    node.sh(f"mkdir -p $(dirname {SLOW}) && printf '{slow}' > {SLOW} && systemctl daemon-reload")
    try:
        yield
    finally:
        node.sh(f"rm -r $(dirname {SLOW}) && systemctl daemon-reload")


@pytest.mark.parametrize("number", [0, 1], ids=["1.7", "2.1"])
def test_power_cut(nodes: list[Node], archive: str, number: int) -> None:
    node = nodes[number]
    with slow_with_our_handlers(node, 15):
        before = node.snapshot()
        with node.started("install", coco_payload=archive) as run:
            eventually(lambda: "true" in node.sh(f"grep restarting {JOURNAL}", check=False))
            assert "enabled" in node.sh(f"systemctl is-enabled {UNIT}")
            node.cut_power()
            os.killpg(run.pid, signal.SIGKILL)
        eventually(lambda: not node.sh(f"ls {JOURNAL}", check=False))
        eventually(lambda: not node.sh(f"ls /etc/systemd/system/{UNIT}", check=False))
        assert node.sh("ls /etc/systemd/system/multi-user.target.wants | grep confidential", check=False) == ""
        # Artifacts that were staged for the run stay for the next one; nothing else does.
        assert {path: entry for path, entry in node.snapshot().items() if path in before} == before
        assert "kata" not in node.sh("containerd config dump")
        assert "kata-qemu" not in node.play("status").output
        assert node.pod("runc", "echo", "plain") == "plain\n"
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_engine_that_is_slower_than_its_time_limit(node: Node, archive: str) -> None:
    with slow_with_our_handlers(node, 25):
        before = node.sh("cat /etc/containerd/config.toml")
        run = node.play("install", coco_payload=archive, coco_engine_timeout=10)
        assert run.status != 0
        assert "rolled back" in run.output
        assert node.sh("cat /etc/containerd/config.toml") == before
        assert node.pod("runc", "echo", "plain") == "plain\n"


def eventually(holds: t.Callable[[], bool], timeout: float = 90) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
