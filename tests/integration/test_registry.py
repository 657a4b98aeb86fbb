# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payloads from a real registry, pulled by the node's own containerd."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration import registry as registries
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Fleet, Node, Run, inventory_of
from ansible_collections.confidential_containers.runtime.tests.integration.refusals import Wrong, refuse_all, refused
from ansible_collections.confidential_containers.runtime.tests.integration.registry import PASSWORD, USER, Registry
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    OciArchive,
    artifact,
    file,
    named,
    tar,
)

STORE = "/var/lib/containerd/io.containerd.content.v1.content"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Registry]:
    with registries.serve(tmp_path_factory.mktemp("registry"), tls=True, password=True) as registry:
        yield registry


#: Files come and go in /run, which grep calls a failure.
SEARCH = """
import contextlib, os, sys
word, *places = sys.argv[1:]
for place in places:
    for directory, _names, files in os.walk(place):
        for path in (os.path.join(directory, name) for name in files):
            with contextlib.suppress(FileNotFoundError):
                if os.path.isfile(path) and word.encode() in open(path, "rb").read():
                    print(path)
"""


def store(node: Node) -> str:
    """Return what the content store holds, and for whom."""
    return node.sh(
        f"ctr namespaces ls -q; find {STORE} -type f; find /run -maxdepth 1 -name 'confidential-containers.[!l]*'"
    )


def secrets(node: Node) -> int:
    """Return in how many places the password is."""
    word = PASSWORD.split()[0]
    found = node.execute(
        "python3", "-c", SEARCH, word, "/var/lib/confidential-containers", "/etc", "/run", "/root", "/tmp"
    )
    return len(found.splitlines()) + node.sh("journalctl").count(word)


def test_tags(each: Node, registry: Registry, payload: dict[str, str], payload_v2: dict[str, str]) -> None:
    """By tag, again, the tag moved: an upgrade, shown as one; and no secret is anywhere on the node."""
    node = each
    before = store(node)
    name = "coco/payload"
    digest = registry.push(f"oci-archive:{payload['oci_archive']}", f"{name}:stable")
    variables = {**registry.access, "coco_payload": f"docker://{registry.host}/{name}:stable"}
    foreseen = node.play("install", "--check", "--diff", **variables)
    assert foreseen.status == 0, foreseen.output
    assert "would serve kata-clh, kata-qemu" in foreseen.output
    assert not node.remembers()
    assert store(node) == before

    run = node.play("install", **variables)
    assert run.status == 0, run.output
    assert digest in run.output
    assert digest[7:19] in node.status()
    assert "Starting gVisor" in node.pod("kata-qemu")
    engine = node.engine()
    run = node.play("install", **variables)
    assert (run.status, run.recap(node.name, "changed")) == (0, 0), run.output
    assert node.engine() == engine

    moved = registry.push(f"oci-archive:{payload_v2['oci_archive']}", f"{name}:stable")
    run = node.play("install", "--diff", **variables)
    assert run.status == 0, run.output
    assert f"{digest} becomes {moved}" in run.output.replace("\\n", "\n")
    assert store(node) == before
    assert secrets(node) == 0


def test_distributions(fleet: Fleet, registry: Registry, payload: dict[str, str]) -> None:
    """By tag, with the client that each distribution brings. Nothing of the pull stays in its store."""
    nodes = fleet.get("k3s", "k0s", "microk8s")
    registry.push(f"oci-archive:{payload['oci_archive']}", "coco/distributions:stable")
    variables = {**registry.access, "coco_payload": f"docker://{registry.host}/coco/distributions:stable"}
    before = [contents(node) for node in nodes]
    run = nodes[0].play("install", inventory=inventory_of(nodes), coco_serial="100%", **variables)
    assert run.status == 0, run.output
    assert [contents(node) for node in nodes] == before
    assert [node.name for node in nodes if "Starting gVisor" not in node.pod("kata-qemu")] == []
    assert [node.name for node in nodes if secrets(node)] == []


def contents(node: Node) -> str:
    """Return what the content store of any kind of node holds, and for whom."""
    store = f"{node.facts.root}/io.containerd.content.v1.content"
    return node.execute(*node.facts.ctr, "namespaces", "ls", "-q") + node.sh(f"find {store} -type f | sort")


def test_every_other_version(
    other_nodes: list[Node], registry: Registry, payload: dict[str, str], payload_v2: dict[str, str]
) -> None:
    """By tag, and an upgrade by digest, on all nodes in one run each; in the end they are as before."""

    def play(playbook: str, **variables: t.Any) -> Run:
        run = other_nodes[0].play(playbook, inventory=inventory_of(other_nodes), coco_serial="100%", **variables)
        assert run.status == 0, run.output
        return run

    before = [(store(node), node.snapshot()) for node in other_nodes]
    name = f"{registry.host}/coco/versions"
    digest = [
        registry.push(f"oci-archive:{one['oci_archive']}", f"coco/versions:{one['variant']}")
        for one in (payload, payload_v2)
    ]
    for reference, handler, served in (
        (f"docker://{name}:v1", "kata-clh", digest[0]),
        (f"docker://{name}@{digest[1]}", "kata-qemu-nvidia-cpu", digest[1]),
    ):
        play("install", coco_payload=reference, **registry.access)
        status = play("status").output
        assert status.count(served[7:19]) == len(other_nodes), status
        for node, (stored, _files) in zip(other_nodes, before, strict=True):
            assert "Starting gVisor" in node.pod(handler), node.name
            assert (store(node), secrets(node)) == (stored, 0), node.name
    run = play("install", coco_payload=f"docker://{name}:v2", **registry.access)
    assert [run.recap(node.name, "changed") for node in other_nodes] == [0] * len(other_nodes)
    other_nodes[0].remove(inventory=inventory_of(other_nodes), coco_serial="100%")
    assert [(store(node), node.snapshot()) for node in other_nodes] == before


def test_by_digest_and_what_goes_wrong(node: Node, registry: Registry, payload: dict[str, str]) -> None:
    before, files = store(node), node.snapshot()
    digest = registry.push(f"oci-archive:{payload['oci_archive']}", "coco/payload:v1")
    name = f"docker://{registry.host}/coco/payload"
    right = {**registry.access, "coco_payload": f"{name}@{digest}"}

    with registries.line(registry, after=20 << 20) as line:
        wrong: Wrong = {
            "another password": (
                {"coco_registry_auth": {"username": "nobody", "password": "nothing"}},
                ["coco_registry_auth"],
            ),
            "no password": ({"coco_registry_auth": None}, ["no basic auth credentials", "coco_registry_auth"]),
            "no such tag": ({"coco_payload": f"{name}:none"}, ["not found"]),
            "no certificate": ({"coco_registry_ca": ""}, ["coco_registry_ca"]),
            "a missing certificate": ({"coco_registry_ca": "/no/such"}, ["No such file"]),
            "another digest": ({"coco_payload_digest": f"sha256:{'0' * 64}"}, ["with digest sha256:00"]),
            "no such digest": ({"coco_payload": f"{name}@sha256:{'0' * 64}"}, ["not found"]),
            "no registry": ({"coco_payload": "docker://127.0.0.1:1/x"}, ["connection refused"]),
            "not on the node": ({"coco_payload_on": "controller"}, ["coco_payload_on=node"]),
            "a line that breaks": (
                {"coco_payload": f"docker://{line.host}/coco/payload:v1"},
                ["from its registry"],
            ),
        }
        run = refuse_all(node, right, wrong)
    assert PASSWORD.split()[0] not in run.output
    assert store(node) == before
    assert node.snapshot() == files

    # Who waits for a slow line is told every few seconds how far it is.
    with registries.line(registry, float("inf"), pause=0.04) as line:
        run = node.play("install", **{**right, "coco_payload": f"docker://{line.host}/coco/payload:v1"})
    assert run.status == 0, run.output
    assert re.search(rf"{node.name}: \d+ MiB pulled, \d+\.\d MiB/s", run.output), run.output
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_an_image_with_several_platforms(each: Node, registry: Registry, tmp_path: Path) -> None:
    node = each
    before = store(node)
    image = OciArchive()
    manifests = []
    for architecture in ("s390x", "amd64"):
        entries = [
            artifact(file("bin/containerd-shim-kata-v2", b"#!/bin/true\n", 0o755)),
            artifact(file("share/defaults/kata-containers/configuration-clh.toml", architecture.encode())),
        ]
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append(image.image(image.layer(tar(*entries)), architecture=architecture, platform=platform))
    path = image.write(tmp_path / "platforms.tar", image.index(*manifests, **named("all")))
    digest = registry.push(f"oci-archive:{path}", "coco/platforms:v1", "--all")
    name = f"{registry.host}/coco/platforms"
    run = node.play("install", coco_payload=f"{name}:v1", coco_payload_digest=digest, **registry.access)
    assert run.status == 0, run.output
    assert manifests[1]["digest"] in run.output
    assert node.sh("cat /opt/confidential-containers/share/defaults/kata-containers/*.toml") == "amd64"
    run = node.play("install", coco_payload=f"{name}@{digest}", **registry.access)
    assert (run.status, run.recap(node.name, "changed")) == (0, 0), run.output
    assert store(node) == before
    only = image.write(tmp_path / "only.tar", manifests[0])
    registry.push(f"oci-archive:{only}", "coco/other:v1")
    refused(
        node.play("install", coco_payload=f"{registry.host}/coco/other:v1", **registry.access),
        "a payload for s390x",
    )
    assert store(node) == before


ONE = """
[plugins."io.containerd.grpc.v1.cri".registry.mirrors."registry.example.org"]
  endpoint = ["http://{host}"]
"""
TWO = """
version = 3
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
"""
HOSTS = 'server = "https://registry.example.org"\n[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n'


@pytest.mark.parametrize("number", [0, 1], ids=["old tables on 1.7", "config_path on 2.1"])
def test_the_engine_s_own_mirror(nodes: list[Node], tmp_path: Path, payload: dict[str, str], number: int) -> None:
    """Over plain HTTP, because the engine's configuration says so."""
    node = nodes[number]
    with registries.serve(tmp_path / "plain", tls=False, password=False) as registry:
        registry.push(f"oci-archive:{payload['oci_archive']}", "coco/payload:v1")
        text = (ONE if number == 0 else TWO).format(host=registry.host)
        # The file of the second node has mirrors, which are not allowed beside config_path.
        node.sh(f"cat {'>>' if number == 0 else '>'} /etc/containerd/config.toml <<'END'\n{text}\nEND")
        directory = "/etc/containerd/certs.d/registry.example.org"
        node.sh(f"mkdir -p {directory}; cat > {directory}/hosts.toml <<'END'\n{HOSTS.format(host=registry.host)}\nEND")
        node.sh("systemctl restart containerd")
        run = node.play("install", coco_payload="registry.example.org/coco/payload:v1")
        assert run.status == 0, run.output


def test_the_engine_s_own_settings_of_a_registry_with_a_password(
    nodes: list[Node], registry: Registry, tmp_path: Path, payload: dict[str, str]
) -> None:
    """Its CA, or plain HTTP, and credentials of old tables; a mirror is not asked with them. All of it is read, nothing restarted."""
    node = nodes[1]
    source = f"oci-archive:{payload['oci_archive']}"
    with registries.serve(tmp_path / "plain", tls=False, password=True) as plain:
        mirror = '[host."http://127.0.0.1:1"]\n  capabilities = ["pull", "resolve"]\n'
        for one, text in ((registry, 'ca = "ca.crt"\n'), (plain, f'server = "http://{plain.host}"\n')):
            directory = f"/etc/containerd/certs.d/{one.host}"
            ca = one.ca.read_text() if one.ca else ""
            node.sh(f"mkdir -p {directory} && printf '%s' '{text}{mirror}' > {directory}/hosts.toml")
            node.sh(f"cat > {directory}/ca.crt <<'END'\n{ca}END")
        table = f'plugins."io.containerd.cri.v1.images".registry.configs."{plain.host}".auth'
        auth = f"[{table}]\nusername = '{USER}'\npassword = {json.dumps(PASSWORD)}\n"
        node.sh(f"cat > /etc/containerd/config.toml <<'END'\n{TWO}{auth}END")
        for one, variables in (
            (registry, {"coco_registry_auth": registry.access["coco_registry_auth"]}),
            (plain, {}),
        ):
            one.push(source, "coco/own:v1")
            run = node.play("install", "--check", coco_payload=f"docker://{one.host}/coco/own:v1", **variables)
            assert run.status == 0, run.output
            assert "would serve kata-clh, kata-qemu" in run.output
            assert PASSWORD.split()[0] not in run.output
