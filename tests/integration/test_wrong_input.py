# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wrong input: one clear message, and the node is what it was."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node
from ansible_collections.confidential_containers.runtime.tests.integration.refusals import Wrong, refuse_all, refused

#: By name: what is set beside a payload that is right, and what the message says.
WRONG: Wrong = {
    "no payload": ({"coco_payload": None}, ["Expected coco_payload to be set", "-e coco_payload="]),
    "empty payload": ({"coco_payload": ""}, ["coco_payload as one of docker:", "Found nothing"]),
    "a wrong digest": ({"coco_payload": "docker://x/y@sha256:0"}, ["'sha256:0' as its digest"]),
    "a Docker engine on the node": (
        {"coco_payload": "docker-daemon:x", "coco_payload_on": "node"},
        ["coco_payload_on=controller"],
    ),
    "no tarball": ({"coco_payload": "tarball:/etc"}, ["Found a directory", "dir:/etc"]),
    "no OCI layout": ({"coco_payload": "oci:/etc"}, ["neither index.json nor manifest.json"]),
    "no payload in the directory": ({"coco_payload": "dir:/etc/ssh"}, ["Found other files only"]),
    "relative prefix": ({"coco_prefix": "opt/kata"}, ["which is relative"]),
    "a prefix that a shell reads": ({"coco_prefix": "/opt/$kata"}, ["with '$' in it"]),
    "the root as prefix": ({"coco_prefix": "/"}, ["which is shared with others"]),
    "a prefix of the system's": ({"coco_prefix": "/usr/lib/kata"}, ["in a directory of the system"]),
    "too large a payload": ({"coco_limits": {"bytes": 1000}}, ["more than 1000 bytes", "coco_limits"]),
    "no limit": ({"coco_limits": {"members": -1}}, ["positive numbers in coco_limits"]),
    "no path": ({"coco_payload": "oci-archive:"}, ["no path after oci-archive:"]),
    "no file": ({"coco_payload": "oci-archive:/no/such"}, ["Found no such file"]),
    "a directory": ({"coco_payload": "oci-archive:/etc"}, ["Found a directory"]),
    "no archive": ({"coco_payload": "oci-archive:/etc/passwd"}, ["no plain tar archive"]),
    "misspelt variable": ({"coco_paylod": "x"}, ["Found coco_paylod (did you mean coco_payload?)"]),
    "variable of a later version": ({"coco_drain": True}, ["coco_drain", "later version"]),
    "unknown value": ({"coco_config_mode": "maybe"}, ["coco_config_mode", "auto, drop_in, in_place"]),
    "unsupported engine": ({"coco_engine": "docker"}, ["coco_engine", "auto, containerd"]),
    "drop-in on 1.x": ({"coco_config_mode": "drop_in"}, ["replace the whole CRI section"]),
    "unknown unit": ({"coco_engine_unit": "nope.service"}, ["no unit nope.service"]),
    "wrong type": (
        {"coco_engine_timeout": "soon"},
        ["coco_engine_timeout to be a whole number", "Found the text 'soon'"],
    ),
    "too short a time": ({"coco_engine_timeout": 1}, ["coco_engine_timeout", "at least 10"]),
    "relative": ({"coco_engine_config": "config.toml"}, ["an absolute path in coco_engine_config"]),
    "digest": ({"coco_payload_digest": "sha256:" + "0" * 64}, ["with digest sha256:000", "manifest"]),
    "no digest": ({"coco_payload_digest": "1234"}, ["64 hexadecimal digits", "Found '1234'"]),
    "unknown handler": ({"coco_handlers": ["kata-nope"]}, ["no configuration for kata-nope"]),
    "text": ({"coco_handlers": "kata-nope,kata-no"}, ["no configuration for kata-nope, kata-no"]),
    "handler without its needs": ({"coco_handlers": ["kata-qemu-snp"]}, ["needs AMD SEV-SNP"]),
    "a prefix that is shared": ({"coco_prefix": "/opt"}, ["which is shared with others"]),
    "unknown key of a handler": (
        {"coco_handler_overrides": {"kata-qemu": {"runtime_tpye": "x"}}},
        ["coco_handler_overrides"],
    ),
    "not root": ({"ansible_user": "admin"}, ["Expected to be root on the node", "--become"]),
}
#: Those that Ansible wants to know before it knows hosts.
WRONG_FOR_THE_PLAY: Wrong = {
    "batches": ({"coco_serial": "abc"}, ["numbers or percentages above 0 in coco_serial"]),
    "empty group": ({"coco_hosts": "nobody"}, ["group nobody", "Found none"]),
    "no batch": ({"coco_serial": 0}, ["numbers or percentages above 0 in coco_serial"]),
}


def test_variables(node: Node, archive: str) -> None:
    before = node.snapshot()
    refuse_all(node, {"coco_payload": archive}, WRONG)
    assert node.snapshot() == before


@pytest.mark.parametrize("name", WRONG_FOR_THE_PLAY)
def test_variables_of_the_play(node: Node, archive: str, name: str) -> None:
    variables, texts = WRONG_FOR_THE_PLAY[name]
    before = node.snapshot()
    refused(node.play("install", coco_payload=archive, **variables), *texts)
    assert node.snapshot() == before


def test_overrides_that_only_the_payload_tells_wrong(node: Node, archive: str) -> None:
    """The payload is on the node by then, and nothing of it is installed."""
    engine = node.engine()
    key, found = "coco_handler_overrides", ["coco_handler_overrides"]
    wrong = {
        "a handler that the payload lacks": ({key: {"kata-nope": {"runtime_path": "/x"}}}, found),
        "a value that the engine lacks": ({key: {"kata-qemu": {"io_type": "fifo"}}}, found),
    }
    refuse_all(node, {"coco_payload": archive}, wrong)
    assert node.engine() == engine
    assert node.remembers()
    assert node.sh("find /opt -path '*/confidential-containers/bin'") == ""


def test_a_plan_and_a_run_where_there_is_no_room(node: Node, payload: dict[str, str]) -> None:
    """Said before anything is sent, in a plan, too."""
    node.sh("mkdir -p /mnt/small && mount -t tmpfs -o size=30m tmpfs /mnt/small")
    before = node.snapshot()
    for words in (["--check"], []):
        run = node.play(
            "install", *words, coco_payload=f"oci-archive:{payload['oci_archive']}", coco_prefix="/mnt/small/coco"
        )
        refused(run, "room for the payload in /mnt/small", "30 MiB")
    assert node.snapshot() == before


def test_archives_that_are_no_payload(node: Node, payload: dict[str, str], archive: str, tmp_path: Path) -> None:
    other, truncated, tampered = (tmp_path / f"{name}.tar" for name in ("other", "truncated", "tampered"))
    subprocess.run(["docker", "save", "--output", str(other), "localhost/testbed/busybox"], check=True)
    data = bytearray(Path(payload["oci_archive"]).read_bytes())
    truncated.write_bytes(data[: len(data) // 2])
    data[len(data) // 2] ^= 1  # in the middle of the largest layer
    tampered.write_bytes(data)
    before = node.snapshot()
    wrong = {
        "without artifacts": (
            {"coco_payload": f"docker-archive:{other}"},
            ["Expected a payload with the artifacts of the runtime", "Found other files only"],
        ),
        "truncated": ({"coco_payload": f"oci-archive:{truncated}"}, ["unexpected end of data"]),
        "tampered with": (
            {"coco_payload": f"oci-archive:{tampered}"},
            ["Expected layer sha256:", "Nothing was installed"],
        ),
    }
    refuse_all(node, {"coco_payload": archive}, wrong)
    assert node.snapshot() == before


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
            ["Expected a configuration that containerd 1.7", "Correct /etc/containerd/config.toml first"],
        ),
    ],
    ids=["schema 3 on 1.7", "no TOML"],
)
def test_configuration_that_cannot_be_edited(node: Node, payload: dict[str, str], edit: str, texts: list[str]) -> None:
    node.sh(f"sed -i '{edit}' /etc/containerd/config.toml")
    engine, before = node.engine(), node.sh("sha256sum /etc/containerd/config.toml; ls /opt")
    run = node.play("install", coco_payload=f"oci-archive:{payload['oci_archive']}")
    refused(run, *texts)
    assert (node.engine(), node.sh("sha256sum /etc/containerd/config.toml; ls /opt")) == (engine, before)


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
