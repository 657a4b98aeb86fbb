# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The power goes in the middle of a transaction: the node ends it as it boots, all or nothing, before anybody comes back."""

from __future__ import annotations

import contextlib
import typing as t

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node
from ansible_collections.confidential_containers.runtime.tests.integration.moments import (
    JOURNAL,
    Moment,
    assert_as_before,
    install_until,
)

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


WRITTEN = Moment("/etc/containerd/config.toml", "exit", "grep -rq kata-qemu /etc/containerd")
COMMITTED = Moment("/var/lib/confidential-containers/receipt.json", "enter", f"grep -q '\"committed\": true' {JOURNAL}")


def test_power_cut_while_the_engine_restarts(each: Node, archive: str) -> None:
    node = each
    with slow_with_our_handlers(node, 15):
        before = node.snapshot()
        install_until({node: f"grep -q restarting {JOURNAL}"}, archive, Node.cut_power)
        assert_as_before(node, before)
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_power_cut_between_writing_and_restarting(each: Node, archive: str) -> None:
    node = each
    before = node.snapshot()
    WRITTEN.hold(node)
    install_until({node: WRITTEN.reached}, archive, Node.cut_power)
    assert_as_before(node, before)


def test_power_cut_after_the_commit(each: Node, archive: str) -> None:
    """The boot finishes what was committed: the next run has nothing left to do."""
    node = each
    COMMITTED.hold(node)
    install_until({node: COMMITTED.reached}, archive, Node.cut_power)
    assert "Starting gVisor" in node.pod("kata-qemu")
    engine = node.engine()
    assert node.play("install", coco_payload=archive).recap(node.name, "changed") == 0
    assert node.engine() == engine


def test_engine_that_is_slower_than_its_time_limit(node: Node, archive: str) -> None:
    with slow_with_our_handlers(node, 25):
        before = node.sh("cat /etc/containerd/config.toml")
        run = node.play("install", coco_payload=archive, coco_engine_timeout=10)
        assert run.status != 0
        assert "rolled back" in run.output
        assert node.sh("cat /etc/containerd/config.toml") == before
        assert node.pod("runc", "echo", "plain") == "plain\n"
