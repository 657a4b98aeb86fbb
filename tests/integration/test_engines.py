# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configurations that the nodes of the molecule scenario do not have."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node

CONFIG = "/etc/containerd/config.toml"


@pytest.fixture
def schema_3(nodes: list[Node]) -> t.Iterator[Node]:
    """A node with containerd 2.1, whose admin has migrated the configuration to schema 3."""
    node = nodes[1]
    node.sh(
        f"cp -a {CONFIG} /root/config.toml && containerd config migrate > /root/migrated.toml "
        f"&& cat /root/migrated.toml > {CONFIG} && systemctl restart containerd"
    )
    yield node
    node.sh(f"mv /root/config.toml {CONFIG} && rm /root/migrated.toml && systemctl restart containerd")


def test_schema_3(schema_3: Node, payload: dict[str, str]) -> None:
    """Handlers go to a drop-in of schema 3, then to the main file, and away again."""
    node, archive = schema_3, f"oci-archive:{payload['oci_archive']}"
    before = node.snapshot()
    drop_in = "/etc/containerd/conf.d/99-confidential-containers.toml"

    assert node.play("install", coco_payload=archive).status == 0
    assert "version = 3\n" in node.sh(f"cat {drop_in}")
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert node.play("install", coco_payload=archive).recap(node.name, "changed") == 0

    assert node.play("install", coco_payload=archive, coco_config_mode="in_place").status == 0
    assert "io.containerd.cri.v1.runtime" in node.sh(f"test ! -e {drop_in} && grep kata-qemu {CONFIG}")
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert node.pod("runc", "echo", "plain") == "plain\n"

    for playbook in ("uninstall", "cleanup"):
        assert node.play(playbook).status == 0
    assert node.snapshot() == before


def test_drop_ins_that_are_imported_already(schema_3: Node, payload: dict[str, str]) -> None:
    """The main file imports all of conf.d, as containerd's own default does from 2.2 on: it stays as it is."""
    node, archive = schema_3, f"oci-archive:{payload['oci_archive']}"
    node.sh(
        f"sed -i \"s#^imports = .*#imports = ['/etc/containerd/conf.d/*.toml']#\" {CONFIG} && systemctl restart containerd"
    )
    before = node.snapshot()
    assert node.play("install", coco_payload=archive).status == 0
    assert node.snapshot()[CONFIG] == before[CONFIG]
    assert "Starting gVisor" in node.pod("kata-qemu")

    assert node.play("install", coco_payload=archive, coco_handlers=["kata-clh"]).status == 0
    assert "  kata-clh  " in node.play("status").output
    assert "left out: kata-qemu not asked for" in node.play("status").output

    for playbook in ("uninstall", "cleanup"):
        assert node.play(playbook).status == 0
    assert node.snapshot() == before


def test_drop_in_that_the_admin_removed(nodes: list[Node], payload: dict[str, str]) -> None:
    """What the admin has taken out is not missed: uninstall and cleanup leave the node as it was."""
    node = nodes[1]
    before = node.snapshot()
    assert node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}").status == 0
    node.sh("rm /etc/containerd/conf.d/99-confidential-containers.toml && systemctl restart containerd")
    for playbook in ("uninstall", "cleanup"):
        run = node.play(playbook)
        assert run.status == 0, run.output
    assert node.snapshot() == before
