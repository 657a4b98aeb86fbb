# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The power goes in the middle of a transaction: the node ends it as it boots, all or nothing, before anybody comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node, eventually

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


class Moment(t.NamedTuple):
    """Where the transaction is held: when it gives ``path`` its new content, ``when`` before (enter) or after (exit) that.

    ``reached`` is a command that succeeds once it is there.
    """

    path: str
    when: str
    reached: str

    def hold(self, node: Node) -> None:
        """Let the unit's next start stop there. What does it lies in /run: the next boot knows nothing of it."""
        wait = f"-e trace=rename,renameat,renameat2 -e inject=rename,renameat,renameat2:delay_{self.when}=600000000"
        strace = f"strace -o /dev/null -P {files.temporary(self.path)} {wait}"
        hold = f"[Service]\\nExecStart=\\nExecStart={strace} python3 -I {os.path.dirname(JOURNAL)}/transaction.zip\\n"
        node.sh(f"mkdir -p /run/systemd/system/{UNIT}.d && printf '{hold}' > /run/systemd/system/{UNIT}.d/hold.conf")


WRITTEN = Moment("/etc/containerd/config.toml", "exit", "grep -rq kata-qemu /etc/containerd")
COMMITTED = Moment("/var/lib/confidential-containers/receipt.json", "enter", f"grep -q '\"committed\": true' {JOURNAL}")


def install_until(node: Node, archive: str, reached: str) -> None:
    """Install, cut the power once ``reached`` succeeds, and wait until the booted node has ended the run by itself."""
    with node.started("install", coco_payload=archive) as run:
        eventually(lambda: "yes" in node.sh(f"if test -e {JOURNAL} && {reached}; then echo yes; fi"))
        assert "enabled" in node.sh(f"systemctl is-enabled {UNIT}")
        node.cut_power()
        os.killpg(run.pid, signal.SIGKILL)
    eventually(lambda: not node.paths(JOURNAL))
    eventually(lambda: not node.paths(f"/etc/systemd/system/{UNIT}"))
    assert not node.paths("/etc/systemd/system/multi-user.target.wants/*confidential*")


def assert_as_before(node: Node, before: dict[str, t.Any]) -> None:
    # Artifacts that were staged for the run stay for the next one; nothing else does. The node's address, which is in
    # /etc/hosts, may be another one after a boot.
    before = {path: entry for path, entry in before.items() if path != "/etc/hosts"}
    assert {path: entry for path, entry in node.snapshot().items() if path in before} == before
    assert "kata" not in node.sh("containerd config dump")
    assert "kata-qemu" not in node.status()
    assert node.pod("runc", "echo", "plain") == "plain\n"


def test_power_cut_while_the_engine_restarts(each: Node, archive: str) -> None:
    node = each
    with slow_with_our_handlers(node, 15):
        before = node.snapshot()
        install_until(node, archive, f"grep -q restarting {JOURNAL}")
        assert_as_before(node, before)
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_power_cut_between_writing_and_restarting(each: Node, archive: str) -> None:
    node = each
    before = node.snapshot()
    WRITTEN.hold(node)
    install_until(node, archive, WRITTEN.reached)
    assert_as_before(node, before)


def test_power_cut_after_the_commit(each: Node, archive: str) -> None:
    """The boot finishes what was committed: the next run has nothing left to do."""
    node = each
    COMMITTED.hold(node)
    install_until(node, archive, COMMITTED.reached)
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
