# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Install and uninstall, again and again: COCO_CYCLES=100 ("make cycles") times, three times otherwise."""

from __future__ import annotations

import os

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node, inventory_of


def files(node: Node) -> str:
    """Return all there is to say about the engine's files."""
    return node.sh(
        "cd /etc/containerd && find . | sort | xargs stat --format '%n %A %U:%G' && find . -type f | sort | xargs sha256sum"
    )


def test_every_cycle_leaves_every_byte_as_it_was(
    nodes: list[Node], payload: dict[str, str], payload_v2: dict[str, str]
) -> None:
    """Two payloads take turns, on both nodes: each cycle restarts the engine twice."""

    def play(playbook: str, **variables: str) -> None:
        run = nodes[0].play(playbook, inventory=inventory_of(nodes), coco_serial="100%", **variables)
        assert run.status == 0, run.output

    before = [(node.snapshot(), files(node), node.starts()) for node in nodes]
    cycles = int(os.environ.get("COCO_CYCLES", "3"))
    for cycle in range(cycles):
        play("install", coco_payload=f"oci-archive:{(payload, payload_v2)[cycle % 2]['oci_archive']}")
        play("uninstall")
        assert [files(node) for node in nodes] == [found for _snapshot, found, _starts in before], f"cycle {cycle + 1}"
    play("cleanup")
    assert [node.starts() for node in nodes] == [number + 2 * cycles for _snapshot, _files, number in before]
    assert [node.snapshot() for node in nodes] == [snapshot for snapshot, _files, _starts in before]
