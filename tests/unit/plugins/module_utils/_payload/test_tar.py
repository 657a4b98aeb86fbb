# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damaged tar archives: none ends early without a word, wherever it lies in a payload."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layers, streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import tar as tar_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import How
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    Entry,
    OciArchive,
    artifact,
    digest_of,
    docker_entries,
    extract,
    extract_root,
    file,
    members,
    raw,
    tar,
)

BLOCK = tarfile.BLOCKSIZE

FIRST = file("first", b"1" * 600)
LAST = file("last", b"3" * 600)
TAIL = members(LAST) + bytes(2 * BLOCK)


def header(size: int = 0, **pax: str) -> bytes:
    """Return a header of the member in the middle."""
    info = tarfile.TarInfo("middle")
    info.size, info.pax_headers = size, pax
    return info.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


def resealed(made: bytes) -> bytes:
    block = bytearray(made)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


#: What stands behind the first member, and what is said of it.
DAMAGED = [
    pytest.param(header()[:100] + b"x" + header()[101:] + TAIL, "bad checksum", id="a wrong checksum"),
    pytest.param(header(size=-512) + TAIL, "invalid offset|of -512 bytes", id="a negative size"),
    pytest.param(header(size=-1024) + TAIL, "invalid offset|of -1024 bytes", id="a size that leads back"),
    pytest.param(header(size=-(1 << 40)) + TAIL, "invalid offset|of -1099511627776 bytes", id="a size far below zero"),
    pytest.param(header(size=-512, x="y") + TAIL, "invalid|of -512 bytes", id="a negative size in a pax header"),
    pytest.param(resealed(header()[:124] + b"nonsense\0\0\0\0" + header()[136:]) + TAIL, "invalid header", id="no number"),
    pytest.param(b"\xff" * BLOCK + TAIL, "no header of a member", id="garbage"),
    pytest.param(b"\xff" * 5 * BLOCK, "no header of a member", id="garbage to the end"),
    pytest.param(b"\xff" * 100, "truncated header", id="some bytes"),
    pytest.param(header()[:200], "truncated header", id="cut in a header"),
    pytest.param(header(x="y" * 2000)[:700], "truncated header|empty header|invalid header|subsequent", id="cut in a pax header"),
    pytest.param(header(x="y")[:1024], "truncated header|empty header|subsequent", id="cut behind a pax header"),
    pytest.param(header(x="y")[:1024] + bytes(1024), "end of file header|zeros|subsequent", id="a pax header of nothing"),
    pytest.param(header(size=600) + b"2" * 100, "unexpected end of data", id="cut in the content"),
    pytest.param(header(size=600) + b"2" * 600, "unexpected end of data", id="cut in the padding"),
    pytest.param(bytes(BLOCK) + TAIL, "behind the end of the archive, at byte 2048", id="zeros in the middle"),
    pytest.param(bytes(2 * BLOCK) + TAIL, "behind the end of the archive, at byte 2560", id="another archive behind it"),
    pytest.param(bytes(1 << 20) + b"x", f"behind the end of the archive, at byte {1536 + (1 << 20)}", id="garbage far behind"),
]  # fmt: skip


def ahead(content: bytes) -> t.Any:
    return streams.Ahead(t.cast("t.IO[bytes]", io.BytesIO(content)))


def names(stream: t.IO[bytes]) -> list[str]:
    with stream:
        return [member.name for member, _archive in tar_module.members(stream)]


@pytest.mark.parametrize("opened", [io.BytesIO, ahead])
@pytest.mark.parametrize(("damage", "says"), DAMAGED)
def test_damage(damage: bytes, says: str, opened: t.Callable[[bytes], t.Any]) -> None:
    with pytest.raises(tar_module.Damage, match=rf"({says}).*the last member before it: '(first|middle)'"):
        names(opened(members(FIRST) + damage))


@pytest.mark.parametrize("opened", [io.BytesIO, ahead])
@pytest.mark.parametrize("end", [0, 1, 100, 512, 700, 1024, 10240, 3 << 20])
def test_ends_that_are_taken(end: int, opened: t.Callable[[bytes], t.Any]) -> None:
    """Many tools leave the blocks of zeros out, others pad the archive with any number of them."""
    assert names(opened(members(FIRST, LAST) + bytes(end))) == ["first", "last"]
    assert end == 0 or names(opened(bytes(512 + end))) == []


class InPieces(io.BytesIO):
    """A stream that returns few bytes at once."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(13 if size is None or size < 0 else min(13, size))


@pytest.mark.parametrize("opened", [io.BytesIO, ahead, InPieces])
def test_contents(opened: t.Callable[[bytes], t.Any]) -> None:
    """Read to its end, in part, not at all, and with a look at its beginning: the next member comes after it."""
    contents = [os.urandom(size) for size in (0, 1, 511, 512, 513, 3 * 512, streams.BLOCK + 5, 20)]
    ways: list[t.Callable[[t.Any], bytes]] = [
        lambda content: bytes(content.read()),
        lambda content: b"".join(iter(lambda: content.read(100_000), b"")),
        lambda content: io.BufferedReader(content, 64).peek(20)[:20],
        lambda content: bytes(content.read(1)),
        lambda _content: b"",
    ]
    archive = members(*(file(f"{number}", one) for number, one in enumerate(contents)))
    for way in ways:
        with opened(archive) as stream:
            found = [way(tar_module.content(member, read)) for member, read in tar_module.members(stream)]
        assert [one == whole[: len(one)] for one, whole in zip(found, contents, strict=True)] == [True] * len(contents)
        if way in ways[:2]:
            assert found == contents
        if way is ways[2]:
            assert found == [one[:20] for one in contents]


def test_gnu_tar_is_read_to_its_end(tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("no GNU tar")
    (tmp_path / "a").write_bytes(b"a" * 1000)
    for form in ("gnu", "posix", "ustar", "v7"):
        made = subprocess.run(
            ["tar", f"--format={form}", "-C", tmp_path, "-c", "a"], capture_output=True, check=True
        ).stdout
        assert names(io.BytesIO(made)) == ["a"]


# Wherever the archive lies.


def damaged(*entries: Entry) -> bytes:
    """Return an archive whose member in the middle is lost."""
    return members(*entries) + header()[:100] + b"x" + header()[101:] + TAIL


def in_a_layer(compression: str, content: bytes) -> bytes:
    archive = OciArchive()
    return tar(*archive.entries(archive.image(archive.layer(content, compression))))


LAYER_SAYS = (
    r"layer sha256:[0-9a-f]{64} in .*bad checksum \(the last member before it: .*Its digest is right.*built like that"
)


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_a_layer(tmp_path: Path, compression: str) -> None:
    path, target = tmp_path / "payload.tar", tmp_path / "target"
    target.mkdir()
    path.write_bytes(in_a_layer(compression, damaged(artifact(file("bin/x", b"x")))))
    for attempt in (None, target):
        with pytest.raises(Refusal, match=LAYER_SAYS) as refused:
            extract(path, attempt)
        assert "truncated" not in str(refused.value)
    with pytest.raises(Refusal, match=LAYER_SAYS):
        extract_root(path, tmp_path / "target")


def test_a_layer_that_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "payload.tar"
    archive = OciArchive()
    layer = archive.layer(tar(artifact(file("bin/x", b"x"))), "")
    image = archive.image(layer)
    archive.blobs[layer["digest"]] = damaged(artifact(file("bin/x", b"x")))[: layer["size"]]
    archive.write(path, image)
    with pytest.raises(Refusal, match=r"bad checksum .*not the bytes that the image's manifest names"):
        extract(path)


def test_the_layer_that_is_read_ahead(tmp_path: Path) -> None:
    """The manifest of components is looked for in the layers above: the one that is damaged is named."""
    tarball = file("opt/kata-artifacts/tarballs/kata-static-qemu.tar.gz", gzip.compress(tar()))
    upper = damaged(file("etc/x"))
    archive = OciArchive()
    archive.write(tmp_path / "payload.tar", archive.image(archive.layer(tar(tarball), ""), archive.layer(upper, "")))
    with pytest.raises(Refusal, match=rf"layer {digest_of(upper)}.*bad checksum.*'etc/x'.*built like that"):
        extract(tmp_path / "payload.tar", how=How(architecture="amd64"))


def test_a_component(tmp_path: Path) -> None:
    manifest = {"shims": {"qemu": {"x86_64": ["qemu"]}}}
    inner = gzip.compress(damaged(file("opt/kata/bin/qemu-system-x86_64", b"x")))
    name = "opt/kata-artifacts/tarballs/kata-static-qemu.tar.gz"
    layer = tar(file("opt/kata-artifacts/shim-components.json", json.dumps(manifest).encode()), file(name, inner))
    (tmp_path / "payload.tar").write_bytes(in_a_layer("", layer))
    with pytest.raises(Refusal, match=rf"'{name}': .*bad checksum.*qemu-system-x86_64.*built like that"):
        extract(tmp_path / "payload.tar", how=How(architecture="amd64"))


def test_a_root_file_system_in_a_layer(tmp_path: Path) -> None:
    place = "opt/enclave-cc-artifacts/agent-instance.tar"
    layer = tar(
        file("opt/enclave-cc-artifacts/containerd-shim-rune-v2", b"shim"), file(place, damaged(file("./usr/bin/x")))
    )
    (tmp_path / "payload.tar").write_bytes(in_a_layer("", layer))
    with pytest.raises(Refusal, match=rf"'{place}': .*bad checksum.*usr/bin/x.*built like that"):
        extract(tmp_path / "payload.tar")


@pytest.mark.parametrize(("damage", "says"), DAMAGED)
def test_an_image_archive(tmp_path: Path, damage: bytes, says: str) -> None:
    """A damaged header hides blobs, or another image."""
    archive = OciArchive()
    entries = archive.entries(archive.image(archive.layer(tar(artifact(file("bin/x"))))))
    for whole in (entries, docker_entries(tar(artifact(file("bin/x"))))):
        (tmp_path / "payload.tar").write_bytes(members(*whole) + damage)
        with pytest.raises(
            Refusal, match=r"a whole image archive at .*the last member before it.*Fetch or create the archive"
        ):
            extract(tmp_path / "payload.tar")
    assert says


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_a_tarball(tmp_path: Path, compression: str) -> None:
    made = damaged(file("./opt/kata/bin/x", b"x"))
    (tmp_path / "kata.tar").write_bytes(gzip.compress(made) if compression else made)
    with pytest.raises(Refusal, match=r"a whole tar archive .*bad checksum.*opt/kata/bin/x.*Compare it"):
        extract(tmp_path / "kata.tar", transport="tarball")


def test_more_zeros_than_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_UNSUSPICIOUS", 1 << 20)
    (tmp_path / "payload.tar").write_bytes(in_a_layer("gzip", raw(artifact(file("bin/x", b"x"))) + bytes(30 << 20)))
    with pytest.raises(Refusal, match="100 times"):
        extract(tmp_path / "payload.tar", how=How(limits=layers.Limits(ratio=100)))
