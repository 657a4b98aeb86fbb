# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that the controller sends or the node's engine pulls: looked for first, and read only where they are not there."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours, readiness
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access, Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.extraction import Extraction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import Request
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Archive
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import parse
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.selection import Selection
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.archives import OciArchive, file, tar

ROOT = "opt/kata-artifacts/opt/kata"
ENTRIES = [
    file("opt/kata-artifacts/scripts/kata-deploy.sh", b"#!/bin/sh", 0o755),
    file(f"{ROOT}/bin/containerd-shim-kata-v2", b"#!/bin/sh\n", 0o755),
    file(f"{ROOT}/share/defaults/kata-containers/configuration-qemu.toml"),
]
SELECTION = Selection(["kata-qemu"], [], [], "amd64", {"kvm": True})


@dataclass
class Registry:
    """Stands for the node's engine, its driver, and one image of a registry."""

    directory: Path
    digest: str
    asked: list[str] = field(default_factory=list)

    def registry(self, name: str, access: Access) -> Registry:
        self.asked.append(f"{name} as {access.username or 'nobody'}")
        return self

    def resolve(self) -> str:
        return self.digest

    @contextlib.contextmanager
    def pulled(self, architecture: str, pulling: t.Callable[[int], None]) -> t.Iterator[str]:
        pulling(0)
        pulling(1 << 20)
        yield str(self.directory)


class Node:
    """A node, and an image that it does not have."""

    def __init__(self, root: Path) -> None:
        self.state = State(str(root / "state"))
        self.prefix = root / "opt/kata"
        self.prefix.parent.mkdir()
        made = OciArchive()
        self.archive = made.write(root / "payload.tar", made.image(made.layer(tar(*ENTRIES))))
        with Archive(parse(f"oci-archive:{self.archive}")) as source:
            (self.image,) = source.images()
        blobs = root / "pulled/blobs/sha256"
        blobs.mkdir(parents=True)
        for digest, data in made.blobs.items():
            (blobs / digest[7:]).write_bytes(data)
        self.engine = Registry(root / "pulled", self.image.digest)
        self.told: list[str] = []

    def extract(self, payload: str, **params: t.Any) -> dict[str, t.Any]:
        request = Request(parse(payload), SELECTION, prefix=str(self.prefix))
        self.told.clear()
        return Extraction(replace(request, **params), self.state, self.tell).run()

    def tell(self, what: str, done: int, total: int) -> None:
        self.told.append(what)

    def looked_for(self, **params: t.Any) -> dict[str, t.Any]:
        """Look for what the controller has."""
        identity = {**self.image.identity(), "size": 1}
        return self.extract("oci-archive:/on/the/controller", identities=[identity], **params)

    def sent(self, **params: t.Any) -> dict[str, t.Any]:
        """Read what the controller has sent."""
        return self.looked_for(archive=str(self.archive), **params)

    def pulled(self, name: str = "", **params: t.Any) -> dict[str, t.Any]:
        return self.extract(f"docker://registry.example.org/kata{name or '@' + self.image.digest}", **params)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(flavours, "detect", lambda overrides: node.engine)
    monkeypatch.setattr(layouts, "check_prefix", lambda prefix: prefix)  # tests are in a directory of the system
    return node


def test_what_is_not_there_is_told_with_what_the_node_is(node: Node) -> None:
    result = node.looked_for()
    assert (result["found"], result["changed"], result["digest"]) == ("absent", False, node.image.digest)
    assert (result["architecture"], result["capabilities"]) == ("amd64", {"kvm": True})
    assert not Path(node.state.directory).exists()


@pytest.mark.parametrize("way", [Node.sent, Node.pulled])
def test_an_image_is_staged_once(node: Node, way: t.Callable[..., dict[str, t.Any]]) -> None:
    plan = way(node, check_mode=True)
    assert (plan["found"], plan["changed"], min(plan["tree"])) == ("absent", True, "bin")
    assert not Path(node.state.directory).exists()
    result = way(node)
    assert (result["found"], result["changed"], result["prefix"]) == ("absent", True, str(node.prefix))
    assert [handler["name"] for handler in result["handlers"]] == ["kata-qemu"]
    assert "unpacked" in node.told
    found = staged.find(node.state, node.image.digest)
    assert found is not None
    assert Path(found.staged, "bin/containerd-shim-kata-v2").read_bytes() == b"#!/bin/sh\n"
    node.archive.unlink()
    node.engine.asked.clear()
    for again in (node.looked_for(), node.pulled()):
        assert (again["found"], again["changed"], again["handlers"]) == ("staged", False, result["handlers"])
    assert node.engine.asked == []


def test_a_whole_image_is_kept_once(node: Node) -> None:
    plan = node.sent(whole=True, check_mode=True)
    assert (plan["found"], plan["changed"]) == ("absent", True)
    assert not Path(node.state.directory).exists()
    result = node.sent(whole=True)
    assert (result["found"], result["changed"], result["contract"]) == ("absent", True, "kata")
    assert node.told[-1] == "kept"
    again = node.looked_for(whole=True)
    assert (again["found"], again["changed"], again["contract"]) == ("kept", False, "kata")


def test_a_tag_is_resolved_without_pulling(node: Node) -> None:
    result = node.pulled(":3", access=Access("robot", "hunter2"))
    assert result == {"changed": False, "digest": node.image.digest}
    assert node.engine.asked == ["registry.example.org/kata:3 as robot"]
    assert node.told == []


def test_a_look_asks_no_registry(node: Node) -> None:
    assert node.pulled(look=True) == {"changed": False, "found": "absent"}
    assert node.engine.asked == []


def test_a_registry_that_sends_nothing_is_seen(node: Node) -> None:
    node.pulled()
    assert node.told[:2] == ["the registry has sent nothing yet", "pulled"]


def test_an_engine_that_could_not_serve_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at before anything is sent or pulled, and only where something would be."""

    def refuses(overrides: Overrides, config_mode: str, enable_cri: bool) -> t.NoReturn:
        raise Refusal("an engine", f"{overrides.unit}, {config_mode}, {enable_cri}", "Start it.")

    monkeypatch.setattr(readiness, "require", refuses)
    asks: dict[str, t.Any] = {"require_engine": True, "engine": Overrides(unit="x.service"), "enable_cri": True}
    for way in (node.looked_for, node.pulled):
        with pytest.raises(Refusal, match=r"x\.service, auto, True"):
            way(**asks)
        assert way(**{**asks, "whole": True, "check_mode": True})["found"] == "absent"
    assert node.sent(**asks)["changed"]  # it was looked at before the archive was sent
    assert node.looked_for(**asks)["found"] == "staged"


def test_whether_it_is_kept_is_remembered(node: Node) -> None:
    node.sent()
    node.looked_for(keep=True, check_mode=True)
    assert not t.cast(staged.Staged, staged.find(node.state, node.image.digest)).keep
    node.looked_for(keep=True)
    assert t.cast(staged.Staged, staged.find(node.state, node.image.digest)).keep


def install(node: Node, drifted: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the payload one that is installed, with artifacts that have drifted."""
    node.sent()
    found = staged.find(node.state, node.image.digest)
    assert found is not None
    receipt = Receipt(payload=found.payload, prefix=str(node.prefix), tree=found.tree or {})
    node.state.write_receipt(receipt)
    staged.forget(node.state)
    monkeypatch.setattr(artifacts, "drift", lambda prefix, tree, verify: drifted)


@pytest.mark.parametrize(
    ("drifted", "keep_edited", "found"),
    [
        ({}, True, "installed"),
        ({"share/x": "edited"}, True, "installed"),
        ({"share/x": "edited"}, False, "absent"),
        ({"share/x": "missing"}, True, "absent"),
    ],
)
def test_an_installed_payload(
    node: Node, monkeypatch: pytest.MonkeyPatch, drifted: dict[str, str], keep_edited: bool, found: str
) -> None:
    install(node, drifted, monkeypatch)
    result = node.looked_for(keep_edited=keep_edited)
    assert result["found"] == found
    if found == "installed":
        assert result["edited"] == [f"{node.prefix}/{path}" for path in drifted]


def test_a_second_place_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(node, {"bin": "missing"}, monkeypatch)
    with pytest.raises(Refusal, match=f"Found one below {node.prefix}. Uninstall that one first"):
        node.sent(prefix=str(tmp_path / "other"))


def test_what_has_no_room_leaves_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: str, least: int, what: str, remedy: str) -> t.NoReturn:
        raise Refusal(f"room for {what}", f"{directory} is full", remedy)

    with monkeypatch.context() as patch:
        patch.setattr(files, "require_room", full)
        with pytest.raises(Refusal, match="set coco_prefix to a directory of a larger file system"):
            node.looked_for()
        with pytest.raises(Refusal, match="Make room there"):
            node.sent(whole=True)
    assert not list(node.prefix.parent.iterdir())
    assert not Path(node.state.payloads).exists()


@pytest.mark.parametrize(
    ("payload", "params", "words"),
    [
        ("tarball:/x.tar", {"whole": True}, "a tarball is installed natively"),
        ("tarball:x.tar", {"on_node": True}, "an absolute path in coco_payload"),
        ("oci-archive:/nowhere.tar", {"on_node": True}, "no such file"),
    ],
)
def test_refusals(node: Node, payload: str, params: dict[str, t.Any], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        node.extract(payload, **params)


def test_arguments_become_a_request() -> None:
    given: dict[str, t.Any] = {
        "payload": ["tarball:/a", "tarball:/b"],
        "payload_on": "node",
        "handlers": "kata-qemu",
        "edited_config": "replace",
        "registry_password": "hunter2",
        "limits": {"members": "3"},
    }
    checked = ArgumentSpecValidator(_arguments.PAYLOAD_EXTRACT).validate(given)
    assert not checked.error_messages
    request = Request.of(checked.validated_parameters, Overrides(unit="x.service"), check_mode=True)
    assert request.reference == parse(given["payload"])
    assert (request.on_node, request.keep_edited, request.check_mode, request.prefix) == (True, False, True, "")
    assert request.selection.asked == ["kata-qemu"]
    assert request.access == Access(password="hunter2")
    assert request.engine.unit == "x.service"
    assert request.limits == {"members": 3, "bytes": None, "ratio": None}
