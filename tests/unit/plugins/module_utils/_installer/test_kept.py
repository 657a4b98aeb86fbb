# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole images that are kept on the node."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import kept as kept_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import rootfs
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Archive
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import parse
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    CommandDone,
    Installer,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.archives import OciArchive, file, tar

SCRIPT = "opt/kata-artifacts/scripts/kata-deploy.sh"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


def archive(path: Path) -> str:
    image = OciArchive()
    layers = [
        image.layer(tar(file("bin/sh", b"shell"), file("opt/kata-artifacts/opt/kata/bin/x", b"x"))),
        image.layer(tar(file(SCRIPT, b"#!/bin/sh"))),
    ]
    return str(image.write(path, image.image(*layers)))


def keep(state: State, path: str) -> kept_module.Kept:
    reference = parse(f"oci-archive:{path}")
    with Archive(reference) as source:
        (image,) = source.images()
        return kept_module.keep(state, source, image, str(reference), Limits(), lambda done: None)


def test_a_kept_image_becomes_a_root_file_system_again_and_again(state: State, tmp_path: Path) -> None:
    kept = keep(state, archive(tmp_path / "payload.tar"))
    (tmp_path / "payload.tar").unlink()
    (image,) = kept.images()
    found = kept_module.find(state, image.digest)
    assert found is not None
    assert found.images() == [image]
    assert found.contract_name == "kata"
    assert kept_module.find(state, image.config) is not None
    assert kept_module.find(state, "sha256:" + "0" * 64) is None
    for number in range(2):
        root = tmp_path / f"root-{number}"
        root.mkdir()
        rootfs.unpack(found, image, str(root))
        assert (root / SCRIPT).read_bytes() == b"#!/bin/sh"
    assert staged.find(state, image.digest) is None  # nothing of it is staged


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"other"), Path.unlink], ids=["changed", "gone"])
def test_damage_on_the_node_is_seen(state: State, tmp_path: Path, damage: t.Callable[[Path], object]) -> None:
    kept = keep(state, archive(tmp_path / "payload.tar"))
    damage(Path(kept.path, "1"))
    (tmp_path / "root").mkdir()
    with pytest.raises(Refusal):
        rootfs.unpack(kept, kept.images()[0], str(tmp_path / "root"))


def test_it_stays_as_long_as_the_receipt_knows_it(state: State, tmp_path: Path) -> None:
    kept = keep(state, archive(tmp_path / "payload.tar"))
    digest = kept.images()[0].digest
    state.write_receipt(Receipt(installer=Installer({"install": CommandDone(digest)})))
    staged.forget(state)
    assert kept_module.find(state, digest) is not None
    staged.forget(state, everything=True)
    assert kept_module.find(state, digest) is None
    assert not os.path.exists(kept.path)


def test_nothing_is_recorded_of_what_is_damaged(state: State, tmp_path: Path) -> None:
    path = Path(archive(tmp_path / "payload.tar"))
    data = bytearray(path.read_bytes())
    data[data.index(b"\x1f\x8b") + 20] ^= 1  # in a layer, which is compressed
    path.write_bytes(data)
    with pytest.raises(Refusal, match="layer"):
        keep(state, str(path))
    directories = os.listdir(state.payloads)
    assert not any(os.path.exists(os.path.join(state.payloads, name, "payload.json")) for name in directories)
