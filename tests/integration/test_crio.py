# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CRI-O's life with handlers. A stand-in plays CRI-O (tests/nodes/crio/main.go says how): its pods are only names."""

from __future__ import annotations

import typing as t

import grpc
import pytest
from cri_api.v1 import api_pb2, api_pb2_grpc

import crio_node
import nodes as testbed_nodes
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node

OWN = f"{crio_node.DIRECTORY}/99-confidential-containers.conf"
MINE = "[crio.runtime.runtimes.kata-qemu]\nruntime_path = '/usr/sbin/runc'\n"


@pytest.fixture
def crio(node: Node) -> t.Iterator[Node]:
    """A node with a stand-in for CRI-O in the place of containerd."""
    node.used = True
    crio_node.put_on(node.name)
    yield node
    crio_node.take_off(node.name)


def start(node: Node) -> str:
    """Return what changes with every start of the engine."""
    return node.sh(f"systemctl show --property=InvocationID --value {crio_node.UNIT}").strip()


def client(node: Node) -> api_pb2_grpc.RuntimeServiceStub:
    address = f"/proc/{testbed_nodes.pid(node.name)}/root{crio_node.SOCKET}"
    return api_pb2_grpc.RuntimeServiceStub(grpc.insecure_channel(f"unix:{address}"))


def served(node: Node) -> set[str]:
    answer = client(node).Status(api_pb2.StatusRequest(), timeout=10)
    return {handler.name for handler in answer.runtime_handlers} - {""}


def run(node: Node, name: str, handler: str) -> str:
    metadata = api_pb2.PodSandboxMetadata(name=name, uid=name, namespace="default")
    request = api_pb2.RunPodSandboxRequest(config=api_pb2.PodSandboxConfig(metadata=metadata), runtime_handler=handler)
    return str(client(node).RunPodSandbox(request, timeout=10).pod_sandbox_id)


def test_a_life(crio: Node, archive: str) -> None:
    """Install, again, a pod that keeps its handler, uninstall and cleanup: byte-identical."""
    before, first = crio.snapshot(), start(crio)
    checked = crio.play("install", "--check", "--diff", coco_payload=archive)
    assert checked.status == 0, checked.output
    assert "+[crio.runtime.runtimes.kata-qemu]" in checked.output
    assert (crio.snapshot(), start(crio)) == (before, first)

    crio.install(archive)
    second = start(crio)
    assert second != first
    assert {"runc", "kata-qemu", "kata-clh"} <= served(crio)
    text = crio.sh(f"cat {OWN}")
    for words in ('runtime_type = "vm"', 'runtime_root = "/run/vc"', "runtime_config_path = "):
        assert words in text
    assert crio.found("ls -A /etc/crio").split() == ["crio.conf.d"]
    again = crio.play("install", coco_payload=archive)
    assert again.recap(crio.name, "changed") == 0, again.output
    assert start(crio) == second

    pod = run(crio, "busy", "kata-qemu")
    run(crio, "plain", "runc")
    refused = crio.play("uninstall")
    assert refused.status != 0
    assert "default/busy (kata-qemu)" in refused.output
    assert "plain" not in refused.output
    assert start(crio) == second
    assert "kata-qemu" in crio.status()
    client(crio).RemovePodSandbox(api_pb2.RemovePodSandboxRequest(pod_sandbox_id=pod), timeout=10)

    crio.remove()
    assert crio.snapshot() == before
    assert served(crio) == {"runc"}


def test_handlers_come_and_go(crio: Node, archive: str) -> None:
    crio.install(archive, coco_handlers=["kata-qemu"])
    assert served(crio) == {"runc", "kata-qemu"}
    overrides = {"kata-clh": {"runtime_pull_image": True, "allowed_annotations": ["io.kubernetes.cri-o.Devices"]}}
    crio.install(archive, coco_handlers=["kata-clh"], coco_handler_overrides=overrides)
    assert served(crio) == {"runc", "kata-clh"}
    assert "runtime_pull_image = true" in crio.sh(f"cat {OWN}")


def test_a_handler_that_it_silently_leaves_out(crio: Node, archive: str) -> None:
    """CRI-O starts and only warns: the handler is missed, and the node rolled back."""
    before = crio.snapshot()
    overrides = {"kata-qemu": {"allowed_annotations": ["of.nobody"]}}
    failed = crio.play(
        "install",
        coco_payload=archive,
        coco_handlers=["kata-qemu"],
        coco_handler_overrides=overrides,
    )
    assert failed.status != 0
    for words in ("no handler kata-qemu served", "rolled back", "invalid allowed_annotation"):
        assert words in failed.output
    assert served(crio) == {"runc"}
    crio.play("cleanup")
    assert crio.snapshot() == before


def test_refused(crio: Node, archive: str) -> None:
    """A configuration with which it would not start, a handler in a file that looks like a backup, and what only containerd has."""
    before, first = crio.snapshot(), start(crio)
    backup = f"{crio_node.DIRECTORY}/30-kata.conf.bak"
    cases: tuple[tuple[str, dict[str, t.Any], str], ...] = (
        (f"printf '[crio.image]\\npause_image = 7\\n' > {crio_node.DIRECTORY}/z", {}, f"{crio_node.DIRECTORY}/z"),
        (f'printf "%s" "{MINE}" >> {backup}', {}, f"kata-qemu in {backup}"),
        ("true", {"coco_handler_overrides": {"kata-qemu": {"snapshotter": "nydus"}}}, "runtime_pull_image"),
        ("true", {"coco_config_mode": "in_place"}, "auto or drop_in"),
        ("true", {"coco_payload": "docker://registry.invalid/x@sha256:" + "0" * 64}, "oci-archive:PATH"),
        ("mkdir /etc/machine-config-daemon", {}, "Machine Config Operator"),
    )
    for change, variables, words in cases:
        crio.sh(f"cp -a {crio_node.DIRECTORY} /root/kept; {change}")
        wanted: dict[str, t.Any] = {"coco_payload": archive, **variables}
        refused = crio.play("install", **wanted)
        crio.sh(f"rm -rf {crio_node.DIRECTORY} /etc/machine-config-daemon; mv /root/kept {crio_node.DIRECTORY}")
        assert refused.status != 0, change
        assert words in refused.output, refused.output
        assert start(crio) == first
        assert not crio.paths("/opt/confidential-containers", OWN)
    after = crio.snapshot()
    assert [
        path for path in after if path.startswith(f"{crio_node.DIRECTORY}/") and after[path] != before.get(path)
    ] == []


def test_a_handler_of_the_admins_is_kept_aside(crio: Node, archive: str) -> None:
    backup = f"{crio_node.DIRECTORY}/30-kata.conf.bak"
    crio.sh(f'printf "%s" "{MINE}" >> {backup}; systemctl restart crio')
    before = crio.snapshot()
    assert served(crio) == {"runc", "kata-qemu"}
    crio.install(archive, coco_conflicts="keep_aside")
    assert "#aside# [crio.runtime.runtimes.kata-qemu]" in crio.sh(f"cat {backup}")
    crio.remove()
    assert crio.snapshot() == before
    assert served(crio) == {"runc", "kata-qemu"}


@pytest.mark.parametrize("version", ["1.28.4"])
def test_before_the_status_had_handlers(crio: Node, archive: str, version: str) -> None:
    """It tells its handlers over HTTP, on the same socket. And it has its files elsewhere."""
    crio.sh(
        f"echo {version} > {crio_node.PROGRAM}.version; mv {crio_node.DIRECTORY} /etc/crio/mine; "
        "echo 'CRIO_CONFIG_OPTIONS=--config-dir=/etc/crio/mine' > /etc/default/crio; systemctl restart crio"
    )
    before = crio.snapshot()
    crio.install(archive)
    assert served(crio) == set()
    assert "kata-qemu" in crio.sh("cat /etc/crio/mine/99-confidential-containers.conf")
    assert "kata-qemu" in crio.sh("crio --config-dir /etc/crio/mine config")
    assert crio.play("install", coco_payload=archive).recap(crio.name, "changed") == 0
    crio.remove()
    assert crio.snapshot() == before
