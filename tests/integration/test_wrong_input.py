# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong input: one clear message, and the node is what it was."""

from __future__ import annotations

import copy
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node, Run


def refused(run: Run, *texts: str) -> None:
    """Check that a run failed with these texts, in the user's words."""
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    for text in texts:
        assert text in run.output


@pytest.mark.parametrize(
    ("variables", "texts"),
    [
        pytest.param({}, ["Expected coco_payload to be set", "-e coco_payload="], id="no payload"),
        pytest.param({"coco_payload": ""}, ["coco_payload as one of docker:", "Found nothing"], id="empty payload"),
        pytest.param({"coco_payload": "docker://x/y@sha256:0"}, ["'sha256:0' as its digest"], id="a wrong digest"),
        pytest.param(
            {"coco_payload": "docker-daemon:x", "coco_payload_on": "node"},
            ["coco_payload_on=controller"],
            id="a Docker engine on the node",
        ),
        pytest.param({"coco_payload": "tarball:/etc"}, ["Found a directory", "dir:/etc"], id="no tarball"),
        pytest.param({"coco_payload": "oci:/etc"}, ["neither index.json nor manifest.json"], id="no OCI layout"),
        pytest.param({"coco_payload": "dir:/etc/ssh"}, ["Found other files only"], id="no payload in the directory"),
        pytest.param({"coco_prefix": "opt/kata"}, ["which is relative"], id="relative prefix"),
        pytest.param({"coco_prefix": "/opt/$kata"}, ["with '$' in it"], id="a prefix that a shell reads"),
        pytest.param({"coco_prefix": "/"}, ["which is shared with others"], id="the root as prefix"),
        pytest.param({"coco_prefix": "/usr/lib/kata"}, ["in a directory of the system"], id="a prefix of the system's"),
        pytest.param(
            {"coco_limits": {"bytes": 1000}}, ["more than 1000 bytes", "coco_limits"], id="too large a payload"
        ),
        pytest.param({"coco_limits": {"members": -1}}, ["positive numbers in coco_limits"], id="no limit"),
        pytest.param({"coco_payload": "oci-archive:"}, ["no path after oci-archive:"], id="no path"),
        pytest.param({"coco_payload": "oci-archive:/no/such"}, ["Found no such file"], id="no file"),
        pytest.param({"coco_payload": "oci-archive:/etc"}, ["Found a directory"], id="a directory"),
        pytest.param({"coco_payload": "oci-archive:/etc/passwd"}, ["no plain tar archive"], id="no archive"),
        pytest.param({"coco_paylod": "x"}, ["Found coco_paylod (did you mean coco_payload?)"], id="misspelt variable"),
        pytest.param({"coco_drain": True}, ["coco_drain", "later version"], id="variable of a later version"),
        pytest.param(
            {"coco_config_mode": "maybe"}, ["coco_config_mode", "auto, drop_in, in_place"], id="unknown value"
        ),
        pytest.param({"coco_engine": "k3s"}, ["coco_engine", "auto, containerd"], id="unsupported engine"),
        pytest.param({"coco_config_mode": "drop_in"}, ["replace the whole CRI section"], id="drop-in on 1.x"),
        pytest.param({"coco_engine_unit": "nope.service"}, ["no unit nope.service"], id="unknown unit"),
        pytest.param(
            {"coco_engine_timeout": "soon"},
            ["coco_engine_timeout to be a whole number", "Found the text 'soon'"],
            id="wrong type",
        ),
        pytest.param({"coco_engine_timeout": 1}, ["coco_engine_timeout", "at least 10"], id="too short a time"),
        pytest.param({"coco_engine_config": "config.toml"}, ["an absolute path in coco_engine_config"], id="relative"),
        pytest.param({"coco_serial": "abc"}, ["numbers or percentages above 0 in coco_serial"], id="batches"),
        pytest.param({"coco_hosts": "nobody"}, ["group nobody", "Found none"], id="empty group"),
        pytest.param(
            {"coco_payload_digest": "sha256:" + "0" * 64}, ["with digest sha256:000", "manifest"], id="digest"
        ),
        pytest.param({"coco_payload_digest": "1234"}, ["64 hexadecimal digits", "Found '1234'"], id="no digest"),
        pytest.param({"coco_serial": 0}, ["numbers or percentages above 0 in coco_serial"], id="no batch"),
        pytest.param({"coco_handlers": ["kata-nope"]}, ["no configuration for kata-nope"], id="unknown handler"),
        pytest.param({"coco_handlers": "kata-nope,kata-no"}, ["no configuration for kata-nope, kata-no"], id="text"),
        pytest.param({"coco_handlers": ["kata-qemu-snp"]}, ["needs AMD SEV-SNP"], id="handler without its needs"),
        pytest.param({"coco_prefix": "/opt"}, ["which is shared with others"], id="a prefix that is shared"),
    ],
)
def test_variables(node: Node, payload: dict[str, str], variables: dict[str, t.Any], texts: list[str]) -> None:
    before = node.snapshot()
    good = {} if not variables else {"coco_payload": f"oci-archive:{payload['oci_archive']}"}
    refused(node.play("install", **{**good, **variables}), *texts)
    assert node.snapshot() == before


@pytest.mark.parametrize(
    ("overrides", "sent"),
    [
        ({"kata-nope": {"runtime_path": "/x"}}, True),
        ({"kata-qemu": {"io_type": "fifo"}}, True),
        ({"kata-qemu": {"runtime_tpye": "x"}}, False),
    ],
)
def test_overrides_are_refused_before_anything_is_installed(
    node: Node, payload: dict[str, str], overrides: dict[str, t.Any], sent: bool
) -> None:
    engine = node.engine()
    if not sent:
        node.sh("rm -rf /opt/.confidential-containers /var/lib/confidential-containers")
    run = node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}", coco_handler_overrides=overrides)
    refused(run, "coco_handler_overrides")
    assert node.engine() == engine
    assert node.remembers() == sent
    assert "confidential-containers/bin" not in node.sh("find /opt -path '*/confidential-containers/bin'")


def test_a_plan_and_a_run_where_there_is_no_room(node: Node, payload: dict[str, str]) -> None:
    """Said before anything is sent, in a plan, too."""
    node.sh("mkdir -p /mnt/small && mount -t tmpfs -o size=30m tmpfs /mnt/small")
    try:
        before = node.snapshot()
        for words in (["--check"], []):
            run = node.play(
                "install", *words, coco_payload=f"oci-archive:{payload['oci_archive']}", coco_prefix="/mnt/small/coco"
            )
            refused(run, "room for the payload in /mnt/small", "30 MiB")
        assert node.snapshot() == before
    finally:
        node.sh("umount /mnt/small && rmdir /mnt/small")


def test_image_without_artifacts(node: Node, tmp_path: Path) -> None:
    archive = tmp_path / "busybox.tar"
    subprocess.run(["docker", "save", "--output", str(archive), "localhost/testbed/busybox"], check=True)
    before = node.snapshot()
    run = node.play("install", coco_payload=f"docker-archive:{archive}")
    refused(run, "Expected a payload with the artifacts of the runtime", "Found other files only")
    assert node.snapshot() == before


def test_truncated_archive(node: Node, payload: dict[str, str], tmp_path: Path) -> None:
    archive = tmp_path / "truncated.tar"
    whole = Path(payload["oci_archive"]).read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    before = node.snapshot()
    refused(node.play("install", coco_payload=f"oci-archive:{archive}"), "unexpected end of data")
    assert node.snapshot() == before


def test_tampered_layer(node: Node, payload: dict[str, str], tmp_path: Path) -> None:
    archive = tmp_path / "tampered.tar"
    data = bytearray(Path(payload["oci_archive"]).read_bytes())
    data[len(data) // 2] ^= 1  # in the middle of the largest layer
    archive.write_bytes(data)
    before = node.snapshot()
    refused(
        node.play("install", coco_payload=f"oci-archive:{archive}"), "Expected layer sha256:", "Nothing was installed"
    )
    assert node.snapshot() == before


def test_not_root(node: Node, payload: dict[str, str]) -> None:
    inventory = copy.deepcopy(node.inventory)
    inventory["coco_nodes"]["hosts"][node.name]["ansible_user"] = "admin"
    run = node.play("install", inventory=inventory, coco_payload=f"oci-archive:{payload['oci_archive']}")
    refused(run, "Expected to be root on the node", "--become")


def test_variable_that_a_play_cannot_see(node: Node, payload: dict[str, str]) -> None:
    inventory = copy.deepcopy(node.inventory)
    inventory["coco_nodes"]["vars"]["coco_serial"] = 1
    run = node.play("install", inventory=inventory, coco_payload=f"oci-archive:{payload['oci_archive']}")
    refused(run, "coco_serial with -e")


def test_missing_group(node: Node) -> None:
    refused(node.play("status", inventory={"all": {"hosts": {}}}), "inventory group coco_nodes", "Found none")


def test_no_containerd(node: Node, payload: dict[str, str]) -> None:
    unit = "/usr/lib/systemd/system/containerd.service"
    node.sh(f"systemctl stop containerd && mv {unit} {unit}.hidden && systemctl daemon-reload")
    try:
        before = node.snapshot()
        run = node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}")
        refused(run, "Expected containerd on the node", "Found no unit containerd.service")
        assert node.snapshot() == before
    finally:
        node.sh(f"mv {unit}.hidden {unit} && systemctl daemon-reload && systemctl start containerd")


@pytest.mark.parametrize(
    ("edit", "texts"),
    [
        ("s/^version = 2/version = 3/", ["version = 2 for containerd 1.7", "Found version = 3"]),
        (
            "s/^version = 2/version = 2\\nversion = 2/",
            ["Expected a configuration that containerd 1.7", "Mend /etc/containerd/config.toml first"],
        ),
    ],
    ids=["schema 3 on 1.7", "no TOML"],
)
def test_configuration_that_cannot_be_edited(node: Node, payload: dict[str, str], edit: str, texts: list[str]) -> None:
    node.sh(f"cp -a /etc/containerd/config.toml /root/config.toml && sed -i '{edit}' /etc/containerd/config.toml")
    try:
        engine, before = node.engine(), node.sh("sha256sum /etc/containerd/config.toml; ls /opt")
        run = node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}")
        refused(run, *texts)
        assert (node.engine(), node.sh("sha256sum /etc/containerd/config.toml; ls /opt")) == (engine, before)
    finally:
        node.sh("mv /root/config.toml /etc/containerd/config.toml")


def test_file_of_the_users_in_our_place(node: Node, payload: dict[str, str]) -> None:
    path = "/opt/confidential-containers/bin/runsc"
    node.sh(f"mkdir -p $(dirname {path}) && echo mine > {path}")
    run = node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}")
    refused(run, path, "which this collection did not put there")
    assert "coco_conflicts=keep_aside" in run.output
    assert node.sh(f"cat {path}") == "mine\n"
    before = node.snapshot()
    for _again in range(2):
        run = node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}", coco_conflicts="keep_aside")
        assert run.status == 0, run.output
        assert node.sh(f"cat {path}.kept") == "mine\n"
    assert run.recap(node.name, "changed") == 0
    node.remove()
    staged = "/opt/.confidential-containers"
    assert {key: value for key, value in node.snapshot().items() if staged not in key} == {
        key: value for key, value in before.items() if staged not in key and "/var/lib/confidential" not in key
    }
    node.sh("rm -r /opt/confidential-containers")


def test_cleanup_of_an_installed_node(node: Node, payload: dict[str, str]) -> None:
    assert node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}").status == 0
    refused(node.play("cleanup"), "Expected a node from which the runtime is uninstalled", "runtime.uninstall")
