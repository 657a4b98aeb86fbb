# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction that is held, and what then happens to it: its process is killed, or the power goes."""

from __future__ import annotations

import functools
import os
import signal
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.tests.integration.harness import (
    Node,
    eventually,
    inventory_of,
    on_each,
)

JOURNAL = "/var/lib/confidential-containers/journal/journal.json"
UNIT = "confidential-containers-transaction.service"
_HOLD = f"/run/systemd/system/{UNIT}.d"


class Moment(t.NamedTuple):
    """Where the transaction is held: when it gives ``path`` its new content, ``when`` before (enter) or after (exit) that.

    ``reached`` is a command that succeeds once it is there. ``waiting`` is where the new file waits, if not beside ``path``.
    """

    path: str
    when: str
    reached: str
    waiting: str = ""

    def hold(self, node: Node) -> None:
        """Let the unit's next start stop there. What does it lies in /run: the next boot knows nothing of it."""
        wait = f"-e trace=rename,renameat,renameat2 -e inject=rename,renameat,renameat2:delay_{self.when}=600000000"
        strace = f"strace -o /dev/null -P {files.temporary(self.path, self.waiting)} {wait}"
        hold = f"[Service]\\nExecStart=\\nExecStart={strace} python3 -I {os.path.dirname(JOURNAL)}/transaction.zip\\n"
        node.sh(f"mkdir -p {_HOLD} && printf '{hold}' > {_HOLD}/hold.conf")


def kill(node: Node) -> None:
    """Kill the process of a transaction that is held. The one that systemd then starts is not held any more."""
    node.sh(f"rm -r {_HOLD} && systemctl daemon-reload && systemctl kill --signal=KILL {UNIT}")


def _is_true(node: Node, command: str) -> bool:
    return "yes" in node.sh(f"if {command}; then echo yes; fi")


def install_until(reached: t.Mapping[Node, str], archive: str, interrupt: t.Callable[[Node], None]) -> None:
    """Install, interrupt each node once what it is to have reached succeeds, and wait until it has ended the run by itself."""
    nodes = list(reached)
    with nodes[0].started("install", inventory_of(nodes), coco_payload=archive, coco_serial=["100%"]) as run:
        for node, command in reached.items():
            eventually(functools.partial(_is_true, node, f"test -e {JOURNAL} && {command}"))
            assert "enabled" in node.sh(f"systemctl is-enabled {UNIT}")
        on_each(nodes, interrupt)
        os.killpg(run.pid, signal.SIGKILL)
    for node in nodes:
        eventually(functools.partial(_is_true, node, f"! test -e {JOURNAL} && ! test -e /etc/systemd/system/{UNIT}"))
        assert not node.paths("/etc/systemd/system/multi-user.target.wants/*confidential*")


def assert_as_before(node: Node, before: dict[str, t.Any]) -> None:
    """Check that what was there is as it was, and serves.

    Artifacts that were staged for the run stay for the next one; nothing else does. The node's address, which is in /etc/hosts,
    may be another one after a boot.
    """
    before = {path: entry for path, entry in before.items() if path != "/etc/hosts"}
    assert {path: entry for path, entry in node.snapshot().items() if path in before} == before
    assert "kata-qemu" not in node.dump()
    assert "kata-qemu" not in node.status()
    assert node.pod("runc", "echo", "plain") == "plain\n"
