# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a command of a payload finds around itself: its program, its variables, a kubectl, and what is mounted."""

from __future__ import annotations

import subprocess
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import kept as kept_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import root, service
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.command import Command
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import Bind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Archive
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import parse
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.archives import Entry, directory, file, link, simple

ENGINE = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/etc/containerd/config.toml", "/s", True)
IMAGE = (
    file("bin/sh", b"shell", 0o755),
    file("opt/deploy.sh", b"deploy", 0o755),
    file("usr/bin/kubectl", b"kubectl", 0o755),
    directory("work"),
)


class Payload:
    """A payload that is kept on a node, and whose commands are prepared below ``root``."""

    def __init__(self, node: Path, members: t.Sequence[Entry] = IMAGE) -> None:
        self.node = node
        self.root = node / "root"
        reference = parse(f"oci-archive:{simple(node / 'payload.tar', members)}")
        with Archive(reference) as source:
            (image,) = source.images()
            image = replace(image, environment=("MODE=image", "PATH=/bin:/usr/bin", "bad-name=x"), directory="/work")
            state = State(str(node / "state"))
            self.kept = kept_module.keep(state, source, image, "the payload", Limits(), lambda done: None)

    def prepared(
        self, *argv: str, binds: t.Sequence[Bind] = (), engine: Engine = ENGINE, **more: t.Any
    ) -> service.Program:
        command = replace(Command("install", "sha256:1", list(argv), [], []), **more)
        return root.prepared(str(self.root), self.kept, command, engine, binds)


@pytest.fixture
def payload(tmp_path: Path) -> Payload:
    return Payload(tmp_path)


def test_the_image_is_the_root_and_says_how_it_is_run(payload: Payload) -> None:
    payload.root.mkdir()
    (payload.root / "of an earlier command").touch()
    program = payload.prepared("/opt/deploy.sh", "install")
    assert (program.argv, program.root, program.directory) == (
        ["/opt/deploy.sh", "install"],
        str(payload.root),
        "/work",
    )
    assert (payload.root / "opt/deploy.sh").read_bytes() == b"deploy"
    assert not (payload.root / "of an earlier command").exists()
    assert (payload.root / "usr/bin/kubectl").read_bytes() == b"kubectl"


def test_the_user_s_variables_come_after_the_image_s(payload: Payload) -> None:
    program = payload.prepared("/bin/sh", environment={"MODE": "mine", "NODE": "n1"})
    assert program.environment["PATH"] == "/bin:/usr/bin"
    assert (program.environment["MODE"], program.environment["NODE"]) == ("mine", "n1")
    assert program.environment["HOME"] == "/root"
    assert "bad-name" not in program.environment
    # Only these are put in for $(NAME).
    assert program.known == ["MODE", "NODE"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("/opt/deploy.sh", "/opt/deploy.sh", id="a path"),
        pytest.param("sh", "/bin/sh", id="a name"),
        pytest.param("/$(DIRECTORY)/deploy.sh", "/opt/deploy.sh", id="a variable"),
        pytest.param("/host/tool", "/host/tool", id="in a volume"),
    ],
)
def test_a_program_is_found(payload: Payload, name: str, found: str) -> None:
    (payload.node / "volume").mkdir()
    (payload.node / "volume/tool").touch()
    bind = Bind(str(payload.node / "volume"), "/host", False, "", "a volume")
    program = payload.prepared(name, binds=[bind], environment={"DIRECTORY": "opt"})
    assert program.argv == [found]
    assert (payload.root / "host").is_dir()


@pytest.mark.parametrize(("name", "places"), [("/opt/none", "/opt/none"), ("none", "/bin/none or /usr/bin/none")])
def test_a_program_that_is_missing_is_refused(payload: Payload, name: str, places: str) -> None:
    with pytest.raises(Refusal, match=f"the program {name} of the command in the payload. Found nothing at {places}"):
        payload.prepared(name)


def test_a_dollar_sign_in_the_program_s_path_stays_one(payload: Payload) -> None:
    (payload.node / "volume").mkdir()
    (payload.node / "volume/a$b").touch()
    bind = Bind(str(payload.node / "volume"), "/host", False, "", "a volume")
    assert payload.prepared("/host/a$$b", binds=[bind]).argv == ["/host/a$$b"]


@pytest.mark.parametrize(
    ("name", "version", "label"),
    [
        ("containerd", "containerd://1.7.24", ""),
        ("k3s", "containerd://1.7.24-k3s1", ""),
        ("rke2", "containerd://1.7.24-k3s1", ""),
        ("k0s", "containerd://1.7.24", ""),
        ("microk8s", "containerd://1.7.24", "true"),
        ("crio", "cri-o://1.7.24", ""),
    ],
)
def test_a_stub_answers_for_kubectl(payload: Payload, name: str, version: str, label: str) -> None:
    """The questions by which kata-deploy.sh tells engines from each other: "cri-o", the label, then "containerd.*-k3s"."""
    payload.prepared("/bin/sh", kubectl="stub", engine=replace(ENGINE, name=name))
    stub = payload.root / "usr/bin/kubectl"

    def ask(*words: str) -> str:
        return subprocess.run([stub, *words], capture_output=True, text=True, check=True).stdout.strip()

    assert ask("get", "node", "n1", "-o", "jsonpath={.status.nodeInfo.containerRuntimeVersion}") == version
    assert ask("get", "node", "n1", "-o", r"jsonpath={.metadata.labels.microk8s\.io\/cluster}") == label
    assert ask("get", "node", "n1", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}") == "True"
    assert ask("label", "node", "x=y") == ""


def test_a_stub_stands_where_no_kubectl_is(tmp_path: Path) -> None:
    payload = Payload(tmp_path, IMAGE[:1])
    payload.prepared("/bin/sh", kubectl="stub")
    assert (payload.root / "bin/kubectl").stat().st_mode & 0o777 == 0o755


def test_a_kubectl_that_is_a_link_is_replaced_and_not_what_it_leads_to(tmp_path: Path) -> None:
    payload = Payload(tmp_path, [*IMAGE[:1], link("usr/bin/kubectl", "/bin/sh")])
    payload.prepared("/bin/sh", kubectl="stub")
    assert (payload.root / "bin/sh").read_bytes() == b"shell"
    assert "stub of confidential_containers.runtime" in (payload.root / "usr/bin/kubectl").read_text()


def test_a_kubeconfig_is_mounted_and_named(payload: Payload) -> None:
    program = payload.prepared("/bin/sh", kubectl="/srv/kubeconfig")
    place = program.environment["KUBECONFIG"]
    assert any("/srv/kubeconfig" in line and place in line for line in program.binds)
    assert (payload.root / place[1:]).is_file()
