# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller sends to a node that has no way to read zstd."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import decoders
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import How, unpack
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import open_source
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import transfer
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    Entry,
    OciArchive,
    docker_entries,
    extract,
    file,
    link,
    tar,
)

PLACE = "opt/kata-artifacts"
SHIMS = {"shims": {"qemu": {"x86_64": ["qemu", "shim"]}, "clh": {"x86_64": ["clh"]}}}
HOW = How(architecture="amd64", choose=lambda shims: ["qemu"])


def zstd(content: bytes) -> bytes:
    if shutil.which("zstd") is None:
        pytest.skip("no program zstd")
    return subprocess.run(["zstd", "--stdout"], input=content, capture_output=True, check=True).stdout


def component(name: str, *entries: Entry) -> Entry:
    return file(f"{PLACE}/tarballs/kata-static-{name}.tar.zst", zstd(tar(*entries)))


def components() -> bytes:
    """Return a layer with something of everything between the tarballs."""
    return tar(
        file("etc/passwd", b"x" * 700, uid=7),
        component("qemu", file(f"opt/kata/bin/{'q' * 120}", b"q" * 70_000, 0o755)),
        link("usr/lib", "x" * 150),
        component("shim", file("opt/kata/bin/containerd-shim-kata-v2", b"shim", 0o755)),
        component("clh", file("opt/kata/bin/cloud-hypervisor", b"clh", 0o755)),
        file(f"{PLACE}/shim-components.json", json.dumps(SHIMS).encode()),
        file(f"{PLACE}/tarballs/other", b"no tarball"),
    )


def oci(path: Path, *layers: tuple[bytes, str]) -> Path:
    archive = OciArchive()
    return archive.write(path, archive.image(*(archive.layer(*layer) for layer in layers)))


def oci_archive(path: Path) -> tuple[str, Path]:
    small = tar(file("etc/x", b"x"))
    return "oci-archive", oci(path, (zstd(small), "zstd"), (components(), "gzip"), (small, "gzip"))


def zstd_in_zstd(path: Path) -> tuple[str, Path]:
    return "oci-archive", oci(path, (zstd(components()), "zstd"))


def docker_archive(path: Path) -> tuple[str, Path]:
    path.write_bytes(tar(*docker_entries(components(), tar(file("etc/x", b"x")))))
    return "docker-archive", path


def tarball(path: Path) -> tuple[str, Path]:
    path.write_bytes(zstd(tar(file("./opt/kata/bin/containerd-shim-kata-v2", b"shim"))))
    return "tarball", path


def directory(path: Path) -> tuple[str, Path]:
    (path / PLACE / "tarballs").mkdir(parents=True)
    (path / PLACE / "shim-components.json").write_text(json.dumps(SHIMS))
    for name in ("qemu", "shim"):
        content = zstd(tar(file(f"opt/kata/bin/{name}", b"x")))
        (path / PLACE / f"tarballs/kata-static-{name}.tar.zst").write_bytes(content)
    return "dir", path


def without_zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decoders._DECODERS, "zstd", ())
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.parametrize("make", [oci_archive, zstd_in_zstd, docker_archive, tarball, directory])
def test_a_node_without_zstd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: t.Callable[[Path], tuple[str, Path]]
) -> None:
    transport, path = make(tmp_path / "payload")
    expected = extract(path, transport=transport, how=HOW)
    assert expected.tree
    sent = tmp_path / "sent"
    with open_source(Reference(transport, str(path))) as source:
        [image] = source.images()
        with transfer.files_to_send(source, image, zstd=False, limits=Limits(), tmp=str(tmp_path)) as (files, plain):
            assert plain
            for name, made in files.items():
                target = sent / name if name else sent
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, target)
    without_zstd(monkeypatch)
    with pytest.raises(Refusal, match="a way to read zstd"):
        extract(path, transport=transport, how=HOW)
    with open_source(Reference(transport, str(path)), str(sent), plain=plain, digest=image.digest) as source:
        [copied] = source.images()
        (tmp_path / "target").mkdir()
        found = unpack(source, copied, lambda layout: str(tmp_path / "target"), HOW)
    assert copied.digest == image.digest
    assert found == expected


@pytest.mark.parametrize("reads", [True, False])
def test_what_needs_no_change_is_sent_as_it_is(tmp_path: Path, reads: bool) -> None:
    path = oci(tmp_path / "payload.tar", (components() if reads else tar(file("etc/x")), "gzip"))
    with open_source(Reference("oci-archive", str(path))) as source:
        [image] = source.images()
        with transfer.files_to_send(source, image, zstd=reads, limits=Limits(), tmp=str(tmp_path)) as sent:
            assert sent == ({"": str(path)}, {})


def test_a_damaged_component_is_found_before_it_is_sent(tmp_path: Path) -> None:
    content = bytearray(zstd(bytes(100_000) + b"x"))
    content[len(content) // 2] ^= 1
    layer = tar(file(f"{PLACE}/tarballs/kata-static-qemu.tar.zst", bytes(content)))
    path = oci(tmp_path / "payload.tar", (layer, ""))
    with open_source(Reference("oci-archive", str(path))) as source:
        [image] = source.images()
        damage = pytest.raises(Refusal, match="built like that")
        with damage, transfer.files_to_send(source, image, zstd=False, limits=Limits(), tmp=str(tmp_path)):
            pass
