# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a controller says in check mode about a payload that a node does not have."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference, parse
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import foresee as foresee_module
from ansible_collections.confidential_containers.runtime.tests.unit.archives import file, tar

FOUND = {"architecture": "amd64", "capabilities": {"kvm": True}}
DEFAULTS = "opt/kata/share/defaults/kata-containers"


def converted(**options: t.Any) -> dict[str, t.Any]:
    validated = ArgumentSpecValidator(_arguments.PAYLOAD_EXTRACT).validate({"payload": "x", **options})
    assert not validated.error_messages
    return t.cast("dict[str, t.Any]", validated.validated_parameters)


def foresee(directory: Path, **options: t.Any) -> dict[str, t.Any]:
    path = directory / "kata.tar"
    configurations = [file(f"{DEFAULTS}/configuration-{shim}.toml") for shim in ("clh", "qemu", "qemu-snp")]
    path.write_bytes(tar(file("opt/kata/bin/containerd-shim-kata-v2", b"shim", 0o755), *configurations))
    with tarball.open_source(Reference("tarball", str(path))) as source:
        return foresee_module.foresee(source, source.images()[0], converted(**options), FOUND)


def names(foreseen: dict[str, t.Any]) -> list[str]:
    return [handler["name"] for handler in foreseen["handlers"]]


def test_the_handlers(tmp_path: Path) -> None:
    foreseen = foresee(tmp_path)
    assert names(foreseen) == ["kata-clh", "kata-qemu"]
    assert "SEV-SNP" in foreseen["excluded"]["kata-qemu-snp"]
    assert foreseen["prefix"] == "/opt/kata"


@pytest.mark.parametrize("limits", [{"members": 3}, {"members": "3"}, '{"members": 3}', "members=3"])
def test_limits(tmp_path: Path, limits: t.Any) -> None:
    assert foresee(tmp_path, limits={"members": 4})
    with pytest.raises(Refusal, match="coco_limits"):
        foresee(tmp_path, limits=limits)


@pytest.mark.parametrize("handlers", [["kata-qemu"], "kata-qemu"])
def test_options_as_text(tmp_path: Path, handlers: t.Any) -> None:
    """As ``-e`` gives them."""
    assert names(foresee(tmp_path, handlers=handlers)) == ["kata-qemu"]
    assert names(foresee(tmp_path, candidates=handlers)) == ["kata-qemu"]


def test_two_tarballs_are_one_payload(tmp_path: Path) -> None:
    made = {
        "kata-static.tar": [file("opt/kata/runtime-rs/bin/containerd-shim-kata-v2", b"rust", 0o755)],
        "kata-go-static.tar": [
            file("opt/kata/bin/containerd-shim-kata-v2", b"go", 0o755),
            file(f"{DEFAULTS}/configuration-qemu.toml"),
        ],
    }
    for name, entries in made.items():
        (tmp_path / name).write_bytes(tar(*entries))
    with tarball.open_source(parse([f"tarball:{tmp_path / name}" for name in made])) as source:
        [image] = source.images()
        assert names(foresee_module.foresee(source, image, converted(), FOUND)) == ["kata-qemu"]
