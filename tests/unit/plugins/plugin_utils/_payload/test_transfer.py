# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payloads on their way to a node: this machine stands for it."""

from __future__ import annotations

import os
import posixpath
import shlex
import shutil
import subprocess
import types
import typing as t
from pathlib import Path

import pytest
import zstandard
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import parse
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import leftovers, transfer
from ansible_collections.confidential_containers.runtime.tests.unit.archives import file, tar

SHELL = types.SimpleNamespace(join_path=posixpath.join, quote=shlex.quote)


class Node:
    """Runs commands here. ``fails`` is what a command holds that fails."""

    def __init__(self, parent: Path, fails: str = "nothing") -> None:
        self.parent = parent
        self.fails = fails

    def run(self, command: str) -> dict[str, t.Any]:
        if self.fails in command:
            return {"rc": 1, "stdout": "", "stderr": "Read-only file system\n"}
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def send(self, path: str, target: str) -> None:
        shutil.copyfile(path, target)

    def directory(self) -> transfer.Directory:
        return transfer.Directory(str(self.parent), SHELL, self.run, self.send)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    made = tmp_path / "it's a directory"
    made.mkdir()
    return made


@pytest.fixture
def sample(tmp_path: Path) -> str:
    path = tmp_path / "sample"
    path.write_bytes(b"payload")
    return str(path)


def test_a_file_lies_in_a_directory_that_goes(parent: Path, sample: str) -> None:
    with Node(parent).directory() as directory:
        directory.take({"": sample})
        [made] = parent.iterdir()
        assert made.stat().st_mode & 0o777 == 0o700
        assert directory.payload == f"{made}/payload"
        assert Path(directory.payload).read_bytes() == b"payload"
    assert not list(parent.iterdir())


def test_several_files_lie_below_the_payload(parent: Path, sample: str) -> None:
    with Node(parent).directory() as directory:
        directory.take({"blobs/sha256/1": sample, "index.json": sample})
        found = sorted(path.relative_to(directory.payload) for path in Path(directory.payload).rglob("*"))
        assert list(map(str, found)) == ["blobs", "blobs/sha256", "blobs/sha256/1", "index.json"]


def test_it_goes_when_the_work_fails(parent: Path, sample: str) -> None:
    with pytest.raises(OSError, match="full"), Node(parent).directory() as directory:
        directory.take({"": sample})
        raise OSError("full")
    assert not list(parent.iterdir())


def test_what_killed_runs_have_left_goes_and_other_things_stay(parent: Path) -> None:
    name = leftovers.name()
    here, _process, _random = name.rsplit("-", 2)
    (parent / f"{here}-{2**22 + 1}-00000000").mkdir()  # no process has such a number
    (parent / name).mkdir()  # this one is at work
    (parent / "ansible-tmp-1").mkdir()
    with Node(parent).directory():
        assert len(list(parent.iterdir())) == 3
    assert sorted(path.name for path in parent.iterdir()) == ["ansible-tmp-1", name]


def test_too_little_room_is_told_before_anything_is_sent(
    parent: Path, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "getsize", lambda path: 1 << 60)
    with pytest.raises(Refusal, match="ansible_remote_tmp"), Node(parent).directory() as directory:
        directory.take({"": sample})
    assert not list(parent.iterdir())


def test_a_directory_that_cannot_be_made(parent: Path) -> None:
    with pytest.raises(Refusal, match=r"ansible_remote_tmp.*Read-only file system"), Node(parent, "mkdir").directory():
        pytest.fail("there is no directory")


def test_a_lost_connection_is_told_as_it_is(parent: Path) -> None:
    node = Node(parent)
    with pytest.raises(AnsibleConnectionFailure, match="lost"), node.directory():
        node.fails = "rm -rf"
        raise AnsibleConnectionFailure("lost")


def test_two_tarballs_are_two_files(tmp_path: Path) -> None:
    """Each one is sent as a file of its own, decompressed where the node cannot do that."""
    made = {
        "kata-static.tar": tar(file("opt/kata/runtime-rs/bin/containerd-shim-kata-v2", b"rust", 0o755)),
        "kata-go-static.tar.zst": tar(file("opt/kata/bin/containerd-shim-kata-v2", b"go", 0o755)),
    }
    plain_one, packed_one = (tmp_path / name for name in made)
    plain_one.write_bytes(made[plain_one.name])
    packed_one.write_bytes(zstandard.compress(made[packed_one.name]))
    with tarball.open_source(parse([f"tarball:{tmp_path / name}" for name in made])) as source:
        [image] = source.images()
        with transfer.files_to_send(source, image, zstd=True, limits=Limits(), tmp=str(tmp_path)) as (files, plain):
            assert files == {"files/0": str(plain_one), "files/1": str(packed_one)}
            assert plain == {}
        with transfer.files_to_send(source, image, zstd=False, limits=Limits(), tmp=str(tmp_path)) as (files, plain):
            assert files["files/0"] == str(plain_one)
            assert Path(files["files/1"]).read_bytes() == made[packed_one.name]
            assert list(plain) == [layer.digest for layer in image.layers if layer.compression == "zstd"]
