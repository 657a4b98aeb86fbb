# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tarballs and directories on the node are read once, whether or not the node knows them already."""

from __future__ import annotations

import gzip
import os
import types
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.extraction import Extraction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import Request
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, streams, tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import parse
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.selection import Selection
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged as staged_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Payload
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.staged import find, forget
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.archives import digest_of, directory, file, tar

SHIM = "opt/kata/bin/containerd-shim-kata-v2"
CONFIGURATION = "opt/kata/share/defaults/kata-containers/configuration-qemu.toml"
RELEASE = gzip.compress(
    tar(
        directory("opt/kata"),
        file(SHIM, b"#!/bin/sh\n", 0o755),
        file(CONFIGURATION, b""),
        file("opt/kata/share/x", b"x"),
    )
)
OTHER = gzip.compress(tar(file("opt/kata/share/y", b"y")))


class Node:
    """A node with tarballs on it."""

    def __init__(self, root: Path) -> None:
        self.state = State(str(root / "state"))
        self.prefix = root / "opt/kata"
        self.release, self.other = root / "kata.tar.gz", root / "other.tar.gz"
        self.release.write_bytes(RELEASE)
        self.other.write_bytes(OTHER)
        self.prefix.parent.mkdir()
        #: How many bytes of tarballs were read.
        self.read = 0

    def extract(self, *paths: Path, **params: t.Any) -> dict[str, t.Any]:
        request = Request(
            parse([f"tarball:{path}" for path in paths or (self.release,)]),
            Selection(["kata-qemu"], [], [], "amd64", {"kvm": True}),
            on_node=True,
            prefix=str(self.prefix),
        )
        self.read = 0
        return Extraction(replace(request, **params), self.state, lambda *told: None).run()

    def left(self) -> list[str]:
        """Return what of payloads is there: records and artifacts."""
        working = self.prefix.parent / ".confidential-containers"
        return sorted(
            path.name for place in (Path(self.state.payloads), working) if place.is_dir() for path in place.iterdir()
        )


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    really = streams.Checked.read

    def read(self: streams.Checked, size: int = -1) -> bytes:
        data = really(self, size)
        node.read += len(data)
        return data

    monkeypatch.setattr(streams.Checked, "read", read)
    monkeypatch.setattr(layouts, "check_prefix", lambda prefix: prefix)  # tests are in a directory of the system
    return node


def both() -> str:
    return digest_of("".join(sorted(f"{digest_of(one)[7:]}\n" for one in (RELEASE, OTHER))).encode())


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_an_unknown_tarball_is_read_once(node: Node, several: bool, expected: bool) -> None:
    paths = (node.release, node.other) if several else (node.release,)
    digest = both() if several else digest_of(RELEASE)
    wanted = {"digest": digest} if expected else {}
    plan = node.extract(*paths, **wanted, check_mode=True)
    assert (plan["digest"], plan["changed"], node.left()) == (digest, True, [])
    assert node.read == sum(path.stat().st_size for path in paths)
    result = node.extract(*paths, **wanted)
    assert (result["digest"], result["found"], result["changed"]) == (digest, "absent", True)
    assert node.read == sum(path.stat().st_size for path in paths)
    staged = find(node.state, digest)
    assert staged is not None
    assert node.left() == sorted([digest.replace(":", "-"), os.path.basename(staged.staged)])
    assert Path(staged.staged, "share/x").read_bytes() == b"x"
    # What is staged is known by the files' state: nothing is read.
    again = node.extract(*paths, **wanted)
    assert (again["found"], again["changed"], node.read) == ("staged", False, 0)


def test_a_tarball_with_another_digest_than_expected_leaves_nothing(node: Node) -> None:
    with pytest.raises(Refusal, match=f"Found a payload with file {digest_of(RELEASE)}.*nothing of it was used"):
        node.extract(digest=digest_of(OTHER))
    assert node.left() == []
    with pytest.raises(Refusal, match="the digest of one of them"):
        node.extract(node.release, node.other, digest=digest_of(OTHER))
    assert node.left() == []
    with pytest.raises(Refusal, match="64 hexadecimal digits"):
        node.extract(digest="sha256:12")
    assert node.read == 0


def test_a_damaged_tarball_is_told_with_its_own_digest(node: Node) -> None:
    broken = RELEASE[:-9]
    node.release.write_bytes(broken)
    with pytest.raises(Refusal, match=f"a whole tar archive with digest {digest_of(broken)} in "):
        node.extract()
    assert node.left() == []


def test_a_tarball_that_is_written_to_while_it_is_unpacked(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    really = streams.Checked.digest

    def written_to(self: streams.Checked) -> str:
        with node.release.open("ab") as file:
            file.write(b"more")
        return really(self)

    monkeypatch.setattr(streams.Checked, "digest", written_to)
    with pytest.raises(Refusal, match=r"kata.tar.gz to stay as it is while it is read. Found that it changed"):
        node.extract()
    assert node.left() == []


def test_a_known_payload_under_another_name(node: Node) -> None:
    """It is found when it was unpacked: what is there already stays, and nothing beside it."""
    node.extract()
    before = node.left()
    copy = node.release.with_name("copy.tar.gz")
    copy.write_bytes(RELEASE)
    result = node.extract(copy)
    assert (result["found"], result["digest"], node.left()) == ("staged", digest_of(RELEASE), before)


def test_what_is_installed_from_the_same_path_is_read_before_it_is_unpacked(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the same file with another time: then nothing is unpacked."""
    reference = parse([f"tarball:{node.release}"])
    with tarball.open_source(reference) as source:
        known = source.images()[0].identity()
    payload = Payload.from_plain({**known, "reference": str(reference), "source": "as it was"})
    node.state.create()
    node.state.write_receipt(
        replace(
            node.state.receipt(), payload=payload, tree={"x": {"type": "link", "target": "y"}}, prefix=str(node.prefix)
        )
    )
    monkeypatch.setattr(artifacts, "drift", lambda prefix, tree, verify: {"x": "changed"})
    result = node.extract()
    assert (result["found"], node.read) == ("absent", 2 * node.release.stat().st_size)


@pytest.mark.parametrize(
    ("module", "name"), [(tarball, "open_source"), (staged_module, "complete"), (files, "sync_filesystem")]
)
def test_whatever_fails_leaves_nothing_or_a_record(
    node: Node, monkeypatch: pytest.MonkeyPatch, module: types.ModuleType, name: str
) -> None:
    really, calls = getattr(module, name), 0

    def fails(*args: t.Any, **kwargs: t.Any) -> t.Any:
        nonlocal calls
        calls += 1
        if name == "open_source" and calls == 1:
            return really(*args, **kwargs)
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fails)
        with pytest.raises(OSError, match="no space"):
            node.extract()
    forget(node.state)
    assert node.left() == []
