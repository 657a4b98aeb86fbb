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
def schema_3(nodes: list[Node]) -> Node:
    """A node with containerd 2.1, whose admin has migrated the configuration to schema 3."""
    node = nodes[1]
    node.sh(
        f"containerd config migrate > /root/migrated.toml && cat /root/migrated.toml > {CONFIG} && systemctl restart containerd"
    )
    return node


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

    node.remove()
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
    assert "  kata-clh  " in node.status()
    assert "left out: kata-qemu not asked for" in node.status()

    node.remove()
    assert node.snapshot() == before


def test_drop_in_that_the_admin_removed(nodes: list[Node], payload: dict[str, str]) -> None:
    """What the admin has taken out is not missed: uninstall and cleanup leave the node as it was."""
    node = nodes[1]
    before = node.snapshot()
    assert node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}").status == 0
    node.sh("rm /etc/containerd/conf.d/99-confidential-containers.toml && systemctl restart containerd")
    node.remove()
    assert node.snapshot() == before


OTHER = "/etc/containerd/other.toml"
UNIT = "/run/systemd/system/containerd.service.d"


@pytest.fixture
def unit_with_variables(node: Node) -> Node:
    """A node whose unit has its options from a file, behind another program; containerd's usual file is not read."""
    drop_in = (
        "[Service]\\nEnvironmentFile=-/etc/default/containerd\\nExecStart=\\n"
        "ExecStart=/usr/bin/nice -n 1 /usr/bin/containerd $OPTIONS\\n"
    )
    node.sh(
        f"cp -a {CONFIG} {OTHER} && mkdir -p {UNIT} && printf '{drop_in}' > {UNIT}/other.conf && echo "
        f"'OPTIONS=\"-l info -config {OTHER}\"' > /etc/default/containerd && systemctl daemon-reload && systemctl restart containerd"
    )
    return node


def test_unit_with_variables(unit_with_variables: Node, archive: str) -> None:
    """The file that the daemon reads is edited; where the next start would read another one, nothing is."""
    node = unit_with_variables
    before = node.snapshot()
    node.install(archive)
    assert "kata-qemu" in node.sh(f"cat {OTHER}")
    assert node.snapshot()[CONFIG] == before[CONFIG]
    assert "Starting gVisor" in node.pod("kata-qemu")
    node.remove()
    assert node.snapshot() == before

    engine = node.engine()
    variables = "Environment=CONTAINERD_CONFIG=/etc/containerd/config.toml"
    command = "/usr/bin/containerd --config ${CONTAINERD_CONFIG}"
    node.sh(
        f"printf '[Service]\\n{variables}\\nExecStart=\\nExecStart={command}\\n' > {UNIT}/other.conf && systemctl daemon-reload"
    )
    run = node.play("install", coco_payload=archive)
    assert run.status != 0
    for words in (f"with {CONFIG}", f"it running with {OTHER}", "coco_engine_config"):
        assert words in run.output, run.output
    assert (node.engine(), node.remembers()) == (engine, False)


TWO = "/etc/containerd-two/config.toml"
SECOND = """
mkdir -p /etc/containerd-two /usr/local/two
cat > {two} <<'END'
version = 2
root = "/var/lib/containerd/two"
state = "/run/containerd-two"
[grpc]
address = "/run/containerd-two/two.sock"
END
cp /usr/bin/containerd /usr/bin/ctr /usr/local/two
printf '[Service]\\nType=notify\\nExecStart=/usr/local/two/containerd -c {two}\\nDelegate=yes\\nKillMode=process\\n' \
    > /run/systemd/system/two.service
systemctl daemon-reload
systemctl start two
"""


@pytest.fixture
def second_engine(node: Node) -> t.Iterator[Node]:
    """A node with a second containerd, whose socket stands in its configuration only."""
    node.sh(SECOND.format(two=TWO))
    yield node
    node.sh(
        "systemctl stop two; rm -r /run/systemd/system/two.service /etc/containerd-two /usr/local/two "
        "/var/lib/containerd/two; systemctl daemon-reload"
    )


def test_second_engine(second_engine: Node, archive: str) -> None:
    """It is the one that is asked, configured and restarted. A socket of another unit stops a run before anything is changed."""
    node = second_engine
    before, first = node.snapshot(), node.engine()
    assert "serves kata-clh, kata-qemu" in node.install(archive, coco_engine_unit="two")
    assert "kata-clh" not in node.sh(f"cat {CONFIG}")

    node.sh(f"sed -i 's#/two.sock#/../containerd/containerd.sock#' {TWO}")
    run = node.play("uninstall", coco_engine_unit="two")
    assert run.status != 0
    assert "Found that containerd.service (process " in run.output, run.output
    node.sh(f"sed -i 's#/../containerd/containerd.sock#/two.sock#' {TWO}")

    node.remove(coco_engine_unit="two")
    assert node.snapshot() == before
    assert node.engine() == first
