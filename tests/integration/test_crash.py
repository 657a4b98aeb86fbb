# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A transaction that is killed at any of its system calls: its unit ends it, all or nothing, without waiting for anyone.

``COCO_CRASH=all`` (``make crash``) tries every call of installation, upgrade and uninstallation; otherwise a sample, at
other points in every run.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.confidential_containers.runtime.tests import sample
from ansible_collections.confidential_containers.runtime.tests.integration.harness import ROOT, Node

PROGRAM = Path(__file__).with_name("crash_node.py")
CRI = ROOT / "plugins/module_utils/_engine/cri.py"
#: Of all points, every which one is tried where not all are.
STEP = 1 if sample.is_whole("CRASH") else 12


class Crashes:
    """A node on which runs are held and killed."""

    def __init__(self, node: Node) -> None:
        self.node = node
        for path in (PROGRAM, CRI):
            node.sh(f"mkdir -p /root/crash && cat > /root/crash/{path.name} <<'END'\n{path.read_text()}\nEND")

    def do(self, *words: str) -> str:
        return self.node.execute("python3", "/root/crash/crash_node.py", *words)

    def look(self) -> t.Any:
        return json.loads(self.do("look"))

    def survive(self, playbook: str, **variables: t.Any) -> None:
        """Have one run of a playbook killed at every point, and compare what is left with the two states that are right."""
        before = self.look()
        self.do("engage")
        run = self.node.play(playbook, **variables)
        assert "ended without a result" in run.output, run.output
        whole = json.loads(self.do("calls"))
        assert whole["starts"] == 1
        points = [f"{call}:{n}" for call, count in whole["calls"].items() for n in range(1, count + 1)]
        points = points[sample.chance(f"crash {playbook}").randrange(STEP) :: STEP]
        assert points
        seen = set()
        for line in self.do("kill", json.dumps(before["served"]), *points).splitlines():
            result = json.loads(line)
            state = {"before": before, "after": whole["look"]}
            ended = [name for name, right in state.items() if result["look"] == right]
            assert ended, (
                result["point"],
                differences(result["look"], before),
                differences(result["look"], whole["look"]),
            )
            seen.update(ended if result["starts"] == 2 else ["not killed"])
        print(f"{playbook}: {len(points)} of {sum(whole['calls'].values())} points, ended {sorted(seen)}")
        assert seen >= {"before"}
        # What the last crash has left is as good as new: the same run ends where an undisturbed one ends.
        self.do("release")
        run = self.node.play(playbook, **variables)
        assert run.status == 0, run.output
        if playbook == "install":
            assert self.look() == whole["look"]


def differences(one: t.Any, two: t.Any) -> list[str]:
    """Name what differs between two looks at a node."""
    files = sorted(
        path for path in one["files"].keys() | two["files"].keys() if one["files"].get(path) != two["files"].get(path)
    )
    return [*files, *(f"serves {look['served']}" for look in (one, two) if one["served"] != two["served"])]


def test_killed_at_any_call(each: Node, payload: dict[str, str], payload_v2: dict[str, str]) -> None:
    crashes = Crashes(each)
    clean = crashes.look()
    crashes.survive("install", coco_payload=f"oci-archive:{payload['oci_archive']}")
    crashes.survive("install", coco_payload=f"oci-archive:{payload_v2['oci_archive']}")
    crashes.survive("uninstall")
    assert crashes.node.play("cleanup").status == 0
    assert crashes.look() == clean
