# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From layers to artifacts: what comes out of honest archives, and that hostile ones are refused without a trace."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import tarfile
import threading
import typing as t
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import decoders, layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layers as layers_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import How, unpack
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import open_source
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    LAYER,
    MTIME,
    ROOT,
    Entry,
    OciArchive,
    artifact,
    digest_of,
    directory,
    docker_entries,
    entry,
    extract,
    file,
    hard_link,
    link,
    members,
    raw,
    simple,
    surroundings,
    tar,
    tree_of,
    unfinished_sparse,
)

PREFIX = "/opt/confidential-containers"

A_FILE = {"type": "file", "mode": 0o644, "size": 1, "digest": digest_of(b"a")}
DIR = {"type": "directory", "mode": 0o755}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar"


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    target = tmp_path / "destination"
    target.mkdir()
    return target


@pytest.fixture(autouse=True)
def no_thread_is_left() -> t.Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def both(path: Path, destination: Path) -> dict[str, dict[str, t.Any]]:
    """Extract, and plan to extract: both have to find the same tree, and the disk has to hold it."""
    planned = extract(path).tree
    extracted = extract(path, destination).tree
    assert planned == extracted
    assert tree_of(destination) == extracted
    return extracted


# What comes out.


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_an_image(path: Path, destination: Path, compression: str) -> None:
    simple(
        path,
        [directory("etc"), file("etc/passwd", b"root"), link("bin", "usr/bin"), file("usr/bin/su", mode=0o4755)],
        [
            directory("opt"),
            directory("opt/kata-artifacts"),
            directory(f"{ROOT}"),
            artifact(directory("bin")),
            artifact(file("bin/containerd-shim-kata-v2", b"shim", 0o755)),
            artifact(file("bin/script", b"#!", 0o600)),
            artifact(directory("share", 0o750)),
            artifact(file("share/image", b"image", 0o640)),
            artifact(link("share/current", "image")),
            artifact(link("share/absolute", f"{PREFIX}/share/image")),
            artifact(hard_link("share/same", "share/image")),
            file("opt/kata-artifacts/scripts/kata-deploy.sh", b"#!", 0o755),
        ],
        compression=compression,
    )
    image = {"type": "file", "mode": 0o640, "size": 5, "digest": digest_of(b"image")}
    assert both(path, destination) == {
        "bin": DIR,
        "bin/containerd-shim-kata-v2": {"type": "file", "mode": 0o755, "size": 4, "digest": digest_of(b"shim")},
        "bin/script": {"type": "file", "mode": 0o711, "size": 2, "digest": digest_of(b"#!")},
        "share": {"type": "directory", "mode": 0o750},
        "share/image": image,
        "share/current": {"type": "link", "target": "image"},
        "share/absolute": {"type": "link", "target": f"{PREFIX}/share/image"},
        "share/same": image,
    }
    assert (destination / "share/same").samefile(destination / "share/image")
    assert (destination / "share/image").stat().st_mtime == MTIME


def test_docker_archive(path: Path, destination: Path) -> None:
    layers = [tar(artifact(file("a", b"old"))), tar(artifact(file("a", b"a")))]
    path.write_bytes(tar(*docker_entries(*layers)))
    assert both(path, destination) == {"a": A_FILE}


def test_the_result_knows_the_layout(path: Path) -> None:
    simple(path, [artifact(file("a", b"a"))])
    found = extract(path)
    assert found.layout
    assert found.layout.name == "confidential-containers"


def test_the_layout_of_kata(path: Path) -> None:
    simple(path, [file("opt/kata-artifacts/opt/kata/a", b"a")])
    found = extract(path)
    assert found.layout
    assert (found.layout.name, found.tree) == ("kata", {"a": A_FILE})


def test_the_place_to_write_to_is_asked_for_once_the_layout_is_known(path: Path, destination: Path) -> None:
    """Other layouts have other prefixes, perhaps on other file systems. What comes before is not written anywhere."""
    simple(
        path,
        [file("usr/bin/sh", b"sh")],
        [file("opt/kata-artifacts/opt/kata/a", b"a")],
        [file("opt/kata-artifacts/opt/kata/b", b"b")],
    )
    asked = []

    def begin(layout: layouts.Layout) -> str:
        asked.append(layout.prefix)
        return str(destination)

    with open_source(Reference("oci-archive", str(path))) as source:
        unpack(source, source.images()[0], begin)
    assert asked == ["/opt/kata"]
    assert sorted(tree_of(destination)) == ["a", "b"]


@pytest.mark.parametrize(
    ("mode", "place", "becomes"),
    [
        (0o644, "share/x", 0o644),
        (0o755, "share/x", 0o755),
        (0o666, "share/x", 0o664),
        (0o777, "share/x", 0o775),
        (0o1755, "share/x", 0o755),
        (0o000, "share/x", 0o000),
        (0o644, "bin/x", 0o755),
        (0o600, "bin/x", 0o711),
        (0o644, "runtime-rs/bin/x", 0o755),
        (0o644, "bin/below/x", 0o644),
        (0o644, "sbin/x", 0o644),
    ],
)
def test_modes(path: Path, destination: Path, mode: int, place: str, becomes: int) -> None:
    simple(path, [artifact(file(place, b"a", mode))])
    assert both(path, destination)[place]["mode"] == becomes


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        pytest.param([["d/a", "d/b"], ["d/.wh.a"]], ["d", "d/b"], id="a file"),
        pytest.param([["d/a", "e/b"], [".wh.d"]], ["e", "e/b"], id="a directory"),
        pytest.param([["d/a"], [".wh.d", "d/b"]], ["d", "d/b"], id="a directory, and a new one"),
        pytest.param([["d/a"], ["d/.wh..wh..opq", "d/b"]], ["d", "d/b"], id="the content of a directory"),
        pytest.param([["d/a"], ["d/b", "d/.wh..wh..opq"]], ["d", "d/b"], id="the marker after the new content"),
        pytest.param(
            [["d/e/a"], ["d/e/b", "d/.wh..wh..opq"]], ["d", "d/e", "d/e/b"], id="the marker after new content further below"
        ),
        pytest.param([["d/a"], ["d/a", "d/.wh.a"]], ["d", "d/a"], id="a whiteout is for lower layers only"),
        pytest.param([["d/a", "x"], [".wh..wh..opq"]], [], id="everything"),
        pytest.param([["d/a"], ["d/.wh.a"], ["d/a"]], ["d", "d/a"], id="and back"),
        pytest.param([["d/a"], ["d/.wh.x"]], ["d", "d/a"], id="what is not there"),
        pytest.param([["da"], [".wh.d"]], ["da"], id="a name that begins alike"),
        pytest.param([["d/a"], ["d/.wh."]], ["d", "d/a"], id="nothing"),
        pytest.param([["d/a"], [".wh."]], ["d", "d/a"], id="nothing, at the top"),
        pytest.param([[".wh.x", "a"]], ["a"], id="in the first layer"),
    ],
)  # fmt: skip
def test_whiteouts(path: Path, destination: Path, layers: list[list[str]], names: list[str]) -> None:
    simple(path, *([artifact(file(name, b"a")) for name in layer] for layer in layers))
    assert sorted(both(path, destination)) == names


@pytest.mark.parametrize("hidden", ["opt", "opt/kata-artifacts", "opt/kata-artifacts/opt", ROOT])
def test_whiteouts_above_the_artifacts(path: Path, destination: Path, hidden: str) -> None:
    parent, _slash, name = hidden.rpartition("/")
    gone = file(os.path.join(parent, f".wh.{name}"))
    opaque = file(f"{hidden}/.wh..wh..opq")
    for number, marker in enumerate((gone, opaque)):
        simple(path, [artifact(file("a", b"a"))], [marker], [artifact(file("b", b"a"))])
        target = destination / str(number)
        target.mkdir()
        assert both(path, target) == {"b": A_FILE}


@pytest.mark.parametrize(
    ("layers", "tree"),
    [
        pytest.param([[file("x", b"a")], [directory("x"), file("x/y", b"a")]], {"x": DIR, "x/y": A_FILE}, id="file, directory"),
        pytest.param([[directory("x"), file("x/y")], [file("x", b"a")]], {"x": A_FILE}, id="directory, file"),
        pytest.param([[link("x", "y")], [file("x", b"a")]], {"x": A_FILE}, id="link, file"),
        pytest.param([[link("x", ".")], [directory("x")]], {"x": DIR}, id="link, directory"),
        pytest.param([[directory("x"), file("x/y")], [link("x", "y")]], {"x": {"type": "link", "target": "y"}}, id="directory, link"),
        pytest.param(
            [[directory("x", 0o700), file("x/y", b"a")], [directory("x")]], {"x": DIR, "x/y": A_FILE}, id="directory, mode"
        ),
        pytest.param([[file("x", b"b", 0o600)], [file("x", b"a")]], {"x": A_FILE}, id="file, file"),
        pytest.param([[directory("x", 0o700), directory("x")]], {"x": DIR}, id="a directory twice in one layer"),
    ],
)  # fmt: skip
def test_the_last_one_counts(
    path: Path, destination: Path, layers: list[list[Entry]], tree: dict[str, dict[str, t.Any]]
) -> None:
    simple(path, *([artifact(made) for made in layer] for layer in layers))
    assert both(path, destination) == tree


def test_a_replaced_file_does_not_change_the_other_name_of_its_inode(path: Path, destination: Path) -> None:
    simple(
        path,
        [artifact(file("x", b"a")), artifact(hard_link("y", "x"))],
        [artifact(file("x", b"other")), artifact(hard_link("z", "y"))],
    )
    found = both(path, destination)
    assert (found["y"], found["z"], found["x"]["size"]) == (A_FILE, A_FILE, 5)


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_zeros_become_holes(path: Path, destination: Path, compression: str) -> None:
    zeros, data = bytes(5 << 20), os.urandom(3000)
    contents = {
        "all": zeros,
        "end": data + zeros,
        "start": zeros + data,
        "middle": data + zeros + data,
        "none": os.urandom(1 << 20) * 3,
        "short": bytes(100),
        "empty": b"",
    }
    simple(path, [artifact(file(name, content)) for name, content in contents.items()], compression=compression)
    both(path, destination)
    for name, content in contents.items():
        assert (destination / name).read_bytes() == content
        used = (destination / name).stat().st_blocks * 512
        holes = content.count(bytes(64 << 10)) * (64 << 10)
        assert used <= len(content) - holes + (256 << 10), name


def test_a_sparse_file_in_the_notation_of_gnu_tar(path: Path, destination: Path) -> None:
    source = path.parent / "source"
    target = source / ROOT / "disk.image"
    target.parent.mkdir(parents=True)
    with target.open("wb") as stream:
        stream.seek(4 << 20)
        stream.write(b"in the middle")
        stream.truncate(8 << 20)
    layer = path.parent / "layer.tar"
    command = f"tar --sparse --format=gnu --create --file={layer} --directory={source} opt"
    if shutil.which("tar") is None or os.system(command) != 0:
        pytest.skip("no GNU tar")
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(layer.read_bytes())))
    assert both(path, destination)["disk.image"]["digest"] == digest_of(target.read_bytes())


# What is refused.


def test_zstd_without_a_way_to_read_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = OciArchive()
    layer = archive.layer(b"\x28\xb5\x2f\xfd", "zstd")
    archive.write(path, archive.image(layer))
    monkeypatch.setitem(decoders._DECODERS, "zstd", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refusal, match="Install the package that has the program zstd"):
        extract(path)


@pytest.mark.parametrize("again", [file("x", b"b"), directory("x"), link("x", "y"), hard_link("x", "y")])
def test_a_name_twice_in_the_same_layer(path: Path, destination: Path, again: Entry) -> None:
    simple(path, [artifact(file("y", b"a")), artifact(file("x", b"a")), artifact(again)])
    for target in (None, destination):
        with pytest.raises(Refusal, match="twice"):
            extract(path, target)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        pytest.param([], "Found other files only", id="nothing"),
        pytest.param([file("etc/passwd")], "Found other files only", id="another image"),
        pytest.param(
            [file("opt/kata-artifacts/tarballs/kata-static-x.tar.zst")], "shim-components.json", id="components only"
        ),
        pytest.param([file("opt/kata-artifacts/opt/kata2/x")], r"\(opt/kata2\)", id="an unknown layout"),
        pytest.param([artifact(file("x")), file("opt/kata-artifacts/opt/kata/x")], "a second layout", id="two layouts"),
    ],
)
def test_no_payload(path: Path, destination: Path, entries: list[Entry], says: str) -> None:
    simple(path, entries)
    for target in (None, destination):
        with pytest.raises(Refusal, match=says):
            extract(path, target)


def pax(name: str, **records: str) -> Entry:
    info, content = artifact(file(name, b"x"))
    info.pax_headers = records
    return info, content


# The hostile member is the last one of its layer.
HOSTILE = [
    pytest.param([file(f"{ROOT}/../../../../escaped", b"x")], id="climbs out"),
    pytest.param([file(f"{ROOT}/x/../../../../../../../escaped", b"x")], id="climbs out from below"),
    pytest.param([file(f"../{ROOT}/x", b"x")], id="comes from above"),
    pytest.param([file(f"{ROOT}/a/../b", b"x")], id="climbs, but stays inside"),
    pytest.param([file(f"tmp/../{ROOT}/b", b"x")], id="climbs into the artifacts"),
    pytest.param([file(f"/{ROOT}/x", b"x")], id="absolute name"),
    pytest.param([file(f"//{ROOT}/x", b"x")], id="absolute name with two slashes"),
    pytest.param([artifact(link("x", "../escaped"))], id="link to a neighbour"),
    pytest.param([artifact(link("x", ".."))], id="link to the parent"),
    pytest.param([artifact(link("a/b/x", "../../../../../etc/passwd"))], id="link that climbs out"),
    pytest.param([artifact(link("a/x", "b/../../../etc"))], id="link that climbs out in its middle"),
    pytest.param([artifact(link("x", "/etc/passwd"))], id="absolute link"),
    pytest.param([artifact(link("x", "/"))], id="link to the root"),
    pytest.param([artifact(link("x", f"{PREFIX}/../kata/x"))], id="absolute link that climbs out"),
    pytest.param([artifact(link("x", f"{PREFIX}-of-another/x"))], id="absolute link to a similar name"),
    pytest.param([artifact(link("a/b/top", "../..")), artifact(link("a/b/x", "top/../../etc"))], id="link through a link"),
    pytest.param(
        [artifact(link("a/b/top", "../..")), artifact(link("x", f"{PREFIX}/a/b/top/../../etc"))],
        id="absolute link through a link",
    ),
    pytest.param([artifact(link("x", ""))], id="link to nothing"),
    pytest.param([artifact(link("d", ".")), artifact(file("d/x", b"x"))], id="through a link"),
    pytest.param([artifact(link("d", PREFIX)), artifact(file("d/x", b"x"))], id="through an absolute link"),
    pytest.param([artifact(link("d", ".")), artifact(directory("d/x"))], id="a directory through a link"),
    pytest.param([artifact(link("d", ".")), artifact(link("d/x", "y"))], id="a link through a link's place"),
    pytest.param([artifact(file("d")), artifact(file("d/x", b"x"))], id="through a file"),
    pytest.param([file("etc/shadow", b"s"), (hard_link(f"{ROOT}/x", "etc/shadow"))], id="hard link to the image"),
    pytest.param([hard_link(f"{ROOT}/x", "/etc/passwd")], id="hard link to the host"),
    pytest.param([hard_link(f"{ROOT}/x", f"{ROOT}/../../../../etc/passwd")], id="hard link that climbs out"),
    pytest.param([artifact(hard_link("x", "nothing"))], id="hard link to nothing"),
    pytest.param([artifact(hard_link("x", "x"))], id="hard link to itself"),
    pytest.param([artifact(file("y")), artifact(link("d", ".")), artifact(hard_link("x", "d/y"))], id="hard link by a link"),
    pytest.param([artifact(link("l", "y")), artifact(hard_link("x", "l"))], id="hard link to a link"),
    pytest.param([artifact(directory("d")), artifact(hard_link("x", "d"))], id="hard link to a directory"),
    pytest.param([artifact(entry("x", tarfile.CHRTYPE, devmajor=1, devminor=3))], id="character device"),
    pytest.param([artifact(entry("x", tarfile.BLKTYPE, devmajor=8, devminor=0))], id="block device"),
    pytest.param([artifact(entry("x", tarfile.FIFOTYPE))], id="FIFO"),
    pytest.param([artifact(entry("x", b"s"))], id="a type that nobody knows"),
    pytest.param([artifact(file("x", b"x", 0o4755))], id="setuid"),
    pytest.param([artifact(file("x", b"x", 0o2755))], id="setgid"),
    pytest.param([artifact(directory("x", 0o2755))], id="setgid directory"),
    pytest.param([artifact(file("x\udcff", b"x"))], id="name that is no UTF-8"),
    pytest.param([artifact(link("x", "y\udcff"))], id="target that is no UTF-8"),
    pytest.param([pax("x", path=f"{ROOT}/../../../../escaped")], id="climbs out in a PAX header"),
    pytest.param([pax("x", path=f"{ROOT}/nul\0")], id="NUL in a PAX header"),
]  # fmt: skip


@pytest.mark.parametrize("entries", HOSTILE)
@pytest.mark.parametrize("dry", [True, False], ids=["plan", "extract"])
def test_a_hostile_member_is_refused_by_name(tmp_path: Path, entries: list[Entry], dry: bool) -> None:
    name = entries[-1][0].pax_headers.get("path", entries[-1][0].name)
    # Deep enough that climbing out stays inside of the test's own directory.
    destination = tmp_path / "1/2/3/4/5/6/destination"
    destination.mkdir(parents=True)
    path = tmp_path / "archive.tar"
    archive = OciArchive()
    layer = archive.layer(members(artifact(file("honest", b"x"))) + raw(*entries))
    archive.write(path, archive.image(layer))
    around = surroundings(tmp_path)
    with pytest.raises(Refusal) as refused:
        extract(path, None if dry else destination)
    assert repr(name) in str(refused.value)
    assert surroundings(tmp_path) == around
    if dry:
        assert not list(destination.iterdir())


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(file("usr/bin/su", b"x", 0o4755), id="setuid"),
        pytest.param(link("etc/mtab", "/proc/mounts"), id="absolute link"),
        pytest.param(link("lib", "../../../lib"), id="link that climbs"),
        pytest.param(entry("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3), id="device"),
        pytest.param(entry("run/fifo", tarfile.FIFOTYPE), id="FIFO"),
        pytest.param(file("usr/na\udcefve", b"x"), id="no UTF-8"),
        pytest.param(file("../escaped", b"x"), id="climbs out"),
        pytest.param(file("/etc/passwd", b"x"), id="absolute"),
    ],
)
def test_what_the_rest_of_an_image_holds_is_neither_written_nor_refused(
    path: Path, destination: Path, made: Entry
) -> None:
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(members(artifact(file("a", b"a"))) + raw(made))))
    assert both(path, destination) == {"a": A_FILE}


def test_more_members_than_there_may_be(path: Path) -> None:
    how = How(limits=Limits(members=3))
    simple(path, [artifact(file(name)) for name in "abc"])
    assert len(extract(path, how=how).tree) == 3
    simple(path, [artifact(file(name)) for name in "ab"], [artifact(file(name)) for name in "cd"])
    with pytest.raises(Refusal, match="more than 3 members"):
        extract(path, how=how)


def test_more_bytes_than_there_may_be(path: Path) -> None:
    layers = [[artifact(file("a", os.urandom(50_000)))], [file("etc/b", os.urandom(50_000))]]
    simple(path, *layers)
    assert set(extract(path, how=How(limits=Limits(bytes=150_000))).tree) == {"a"}
    with pytest.raises(Refusal, match="more than 90000 bytes"):
        extract(path, how=How(limits=Limits(bytes=90_000)))


@pytest.mark.parametrize("made", [artifact(file("bomb", bytes(20 << 20))), file("../elsewhere", bytes(20 << 20))])
def test_a_bomb(path: Path, made: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    simple(path, [made], [artifact(file("x"))])
    extract(path, how=How(limits=Limits(ratio=100)))
    monkeypatch.setattr(layers_module, "_UNSUSPICIOUS", 10 << 20)
    with pytest.raises(Refusal, match="100 times"):
        extract(path, how=How(limits=Limits(ratio=100)))


def test_a_member_of_more_bytes_than_there_are_on_earth(path: Path) -> None:
    info = tarfile.TarInfo("etc/x")
    info.size = 1 << 62
    archive = OciArchive()
    for made in (info.tobuf(tarfile.GNU_FORMAT), info.tobuf(tarfile.PAX_FORMAT)):
        archive.write(path, archive.image(archive.layer(raw(artifact(file("a")))[:-1024] + made + bytes(1024))))
        with pytest.raises(Refusal, match=r"unexpected end of data.*Its digest is right"):
            extract(path)


def test_a_sparse_member_of_any_size(path: Path) -> None:
    info, _content = artifact(file("x"))
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(raw((info, b"")))))
    with pytest.raises(Refusal, match="coco_limits"):
        extract(path)


# What is damaged.


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_a_layer_that_is_not_what_its_digest_says(path: Path, destination: Path, compression: str) -> None:
    honest, forged = (tar(artifact(file("a", content))) for content in (b"honest", b"forged"))
    if compression:
        honest, forged = (gzip.compress(content, compresslevel=0, mtime=0) for content in (honest, forged))
    archive = OciArchive()
    layer = archive.blob(honest, LAYER + (f"+{compression}" if compression else ""))
    manifest = archive.image(layer)
    archive.blobs[layer["digest"]] = forged
    archive.write(path, manifest)
    for target in (None, destination):
        with pytest.raises(Refusal, match=f"layer {layer['digest']}.*{digest_of(forged)}.*not the bytes"):
            extract(path, target)


def test_bytes_behind_the_end_of_a_layer_count(path: Path) -> None:
    archive = OciArchive()
    content = tar(artifact(file("a", b"a")))
    layer = archive.layer(content + b"\0" * 9999, "")
    archive.write(path, archive.image(layer))
    assert extract(path).tree == {"a": A_FILE}
    archive.blobs[layer["digest"]] = content + b"\0" * 9998 + b"x"
    archive.write(path, archive.image(layer))
    with pytest.raises(Refusal, match="not the bytes"):
        extract(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no gzip at all", id="text"),
        pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + b"\xff" * 100, id="broken gzip"),
        pytest.param(b"\x1f\x8b", id="the beginning of gzip"),
    ],
)
def test_a_layer_that_is_no_gzip(path: Path, content: bytes) -> None:
    archive = OciArchive()
    layer = archive.blob(content, "application/vnd.oci.image.layer.v1.tar+gzip")
    archive.write(path, archive.image(layer))
    with pytest.raises(Refusal, match=layer["digest"]):
        extract(path)


def long_name(size: int) -> bytes:
    """Return the header of a name that long, and the name: zeros, of which there are any number in little compressed data."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(size) + artifact(file("x"))[0].tobuf()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"no tar", id="text"),
        pytest.param(b"\1" * 2000, id="more text"),
        pytest.param(tarfile.TarInfo("x" * 120).tobuf(tarfile.GNU_FORMAT)[:1024] * 3000, id="very many long names"),
        pytest.param(long_name(20 << 20), id="a name of many megabytes"),
        pytest.param(unfinished_sparse(artifact(file("x"))), id="a sparse member whose header goes on"),
    ],
)
def test_a_layer_that_is_no_tar(path: Path, content: bytes) -> None:
    archive = OciArchive()
    layer = archive.layer(content)
    archive.write(path, archive.image(layer))
    with pytest.raises(Refusal, match=layer["digest"]):
        extract(path)


def payload_archive(path: Path, kind: str) -> Path:
    layers = [
        [file("etc/passwd", b"x"), artifact(directory("bin")), artifact(file("bin/x", os.urandom(2000)))],
        [artifact(file("bin/y", bytes(70_000))), artifact(link("z", "bin/x")), artifact(file("bin/.wh.x"))],
    ]
    if kind == "docker":
        path.write_bytes(tar(*docker_entries(*(tar(*layer) for layer in layers))))
        return path
    return simple(path, *layers, compression=kind)


@pytest.mark.parametrize("kind", ["gzip", "", "docker"], ids=["gzip", "plain", "docker"])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path, kind: str) -> None:
    whole = payload_archive(tmp_path / "whole.tar", kind)
    content = whole.read_bytes()
    expected = extract(whole).tree
    blocks = range(0, len(content), 512)
    offsets = {max(0, block + distance) for block in blocks for distance in (-1, 0, 1, 100)}
    complete = 0
    path = tmp_path / "part.tar"
    for offset in sorted(offsets):
        path.write_bytes(content[:offset])
        destination = tmp_path / "destination"
        destination.mkdir()
        try:
            found = extract(path, destination).tree
        except Refusal:
            assert not complete, "a longer part is refused, a shorter one was not"
        else:
            complete += 1
            assert found == expected
            assert not content[offset:].strip(b"\0"), "something was missing"
        shutil.rmtree(destination)
    assert complete < len(offsets) / 10


@pytest.mark.parametrize("kind", ["gzip", "", "docker"], ids=["gzip", "plain", "docker"])
def test_a_flipped_bit_is_refused_or_without_effect(tmp_path: Path, kind: str) -> None:
    whole = payload_archive(tmp_path / "whole.tar", kind)
    content = whole.read_bytes()
    expected = extract(whole)
    chance = random.Random(1)
    path = tmp_path / "flipped.tar"
    refused = 0
    for _dummy in range(300):
        flipped = bytearray(content)
        flipped[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            found = extract(path)
        except Refusal:
            refused += 1
        else:
            assert found == expected
    assert refused > 30


def seal(layer: bytearray) -> None:
    """Write the checksums of a layer's headers anew: whoever forges one would do so."""
    for start in range(0, len(layer), tarfile.BLOCKSIZE):
        if layer[start + 257 : start + 262] == b"ustar":
            layer[start + 148 : start + 156] = b" " * 8
            layer[start + 148 : start + 156] = b"%06o\0 " % sum(layer[start : start + 512])


def test_a_forged_header_is_refused_or_obeys_the_rules(tmp_path: Path) -> None:
    """The digests are those of the forged layer: it is the extraction that has to withstand it."""
    entries = [
        directory("opt"),
        artifact(file("bin/x", b"content")),
        artifact(link("y", "bin/x")),
        artifact(hard_link("z", "bin/x")),
        pax("long", path=f"{ROOT}/{'l' * 150}"),
    ]
    content = raw(*entries)
    chance = random.Random(2)
    path = tmp_path / "forged.tar"
    passed = 0
    for _dummy in range(400):
        layer = bytearray(content)
        for _dummy in range(chance.randint(1, 3)):
            layer[chance.randrange(len(layer) - 1024)] = chance.choice(
                (0, 0x2E, 0x2F, 0x35, 0xFF, chance.randrange(256))
            )
        seal(layer)
        archive = OciArchive()
        archive.write(path, archive.image(archive.layer(bytes(layer), "")))
        destination = tmp_path / "1/2/3/destination"
        destination.mkdir(parents=True)
        around = surroundings(tmp_path)
        trees = []
        for target in (None, destination):
            try:
                trees.append(extract(path, target).tree)
            except Refusal:
                trees.append({})
        assert trees[0] == trees[1]
        if trees[1]:
            passed += 1
            assert tree_of(destination) == trees[1]
        assert surroundings(tmp_path) == around
        shutil.rmtree(tmp_path / "1")
    assert 10 < passed < 390


# Any order of members: what is planned is what is extracted, and that is what the result says.

NAMES = ["a", "b", "a/a", "a/b", "b/a", "a/a/a", "bin", "bin/a"]
TARGETS = ["a", "b", ".", "..", "../a", "a/..", "a/b", "/etc", PREFIX, f"{PREFIX}/a", "a/a/../.."]
MADE = strategies.one_of(
    strategies.builds(file, strategies.sampled_from(NAMES), strategies.sampled_from([b"", b"x", b"yy"])),
    strategies.builds(directory, strategies.sampled_from(NAMES), strategies.sampled_from([0o755, 0o700])),
    strategies.builds(link, strategies.sampled_from(NAMES), strategies.sampled_from(TARGETS)),
    strategies.builds(hard_link, strategies.sampled_from(NAMES), strategies.sampled_from(NAMES)),
    strategies.builds(file, strategies.sampled_from(["a/.wh.a", ".wh.a", ".wh.b", ".wh..wh..opq", "a/.wh..wh..opq"])),
)
LAYERS = strategies.lists(strategies.lists(MADE, max_size=6), min_size=1, max_size=3)


@hypothesis.settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(layers=LAYERS)
def test_the_plan_is_what_is_extracted(tmp_path: Path, layers: list[list[Entry]]) -> None:
    path, destination = tmp_path / "archive.tar", tmp_path / "destination"
    copies = [
        [(tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict"), data) for info, data in one] for one in layers
    ]
    simple(path, *([artifact(made) for made in layer] for layer in copies), compression="")
    shutil.rmtree(destination, ignore_errors=True)
    destination.mkdir()
    outcomes: list[t.Any] = []
    for target in (None, destination):
        try:
            outcomes.append(extract(path, target).tree)
        except Refusal as refusal:
            outcomes.append(str(refusal))
    assert outcomes[0] == outcomes[1]
    if isinstance(outcomes[1], dict):
        assert tree_of(destination) == outcomes[1]
        for link_path in destination.rglob("*"):
            target_path = os.readlink(link_path) if link_path.is_symlink() else "."
            if target_path.startswith("/"):
                target_path = str(destination) + target_path.removeprefix(PREFIX)
            leads_to = os.path.realpath(link_path.parent / target_path)
            assert leads_to == str(destination) or leads_to.startswith(f"{destination}/") or not link_path.is_symlink()


# Capabilities of a program are the one extended attribute that counts.


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a program capabilities")
def test_capabilities(path: Path, destination: Path) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep
    record = {"SCHILY.xattr.security.capability": value.decode("utf-8", "surrogateescape")}
    info, content = artifact(file("bin/x", b"program", 0o755))
    info.pax_headers = record
    simple(path, [(info, content), artifact(file("bin/y", b"program", 0o755))])
    found = extract(path, destination)
    assert found.tree == extract(path).tree
    assert os.getxattr(destination / "bin/x", "security.capability") == value
    assert os.listxattr(destination / "bin/y") == []
    assert found.tree["bin/x"] == {**found.tree["bin/y"], "capability": value.hex()}


ENCLAVE = "opt/enclave-cc-artifacts"


def enclave(*system: Entry) -> list[Entry]:
    """Return a layer of an enclave-cc payload, with root file systems that have something of everything."""
    usual = [
        directory("."),
        directory("./usr/bin"),
        link("./bin", "usr/bin"),
        file("./usr/bin/agent", b"a", mode=0o4755),
    ]
    return [
        directory(ENCLAVE),
        file(f"{ENCLAVE}/containerd-shim-rune-v2", b"shim"),
        file(f"{ENCLAVE}/shim-rune-config.toml", b"root = '/opt/confidential-containers/share'\n"),
        file(f"{ENCLAVE}/config.json", b"{}"),
        file(f"{ENCLAVE}/agent-instance.tar", tar(*usual, *system)),
        file(f"{ENCLAVE}/boot-instance.tar", tar(*usual)),
        file(f"{ENCLAVE}/scripts/enclave-cc-deploy.sh", b"#!/bin/bash"),
    ]


def test_enclave_cc(tmp_path: Path) -> None:
    """What its own installer makes of the flat payload: root file systems, the shim, configurations."""
    more = [
        link("./etc/mtab", "/proc/mounts"),
        entry("./dev/null", tarfile.CHRTYPE),
        hard_link("./usr/bin/agent-2", "usr/bin/agent"),
        hard_link("./usr/bin/agent-3", "./usr/bin/agent"),
        hard_link("./usr/bin/agent-4", "/usr/bin/agent"),
    ]
    (tmp_path / "staged").mkdir()
    found = extract(simple(tmp_path / "payload.tar", enclave(*more)), tmp_path / "staged")
    assert found.layout and found.layout.name == "enclave-cc"
    agent = "share/enclave-cc-agent-instance"
    names = [f"usr/bin/agent-{number}" for number in (2, 3, 4)]
    assert {path for path, one in found.tree.items() if one["type"] != "directory"} == {
        "bin/containerd-shim-rune-v2",
        "share/defaults/enclave-cc/configuration-enclave-cc.toml",
        f"{agent}/config.json",
        *(f"{agent}/rootfs/{name}" for name in ("bin", "usr/bin/agent", *names, "etc/mtab")),
        *(f"share/enclave-cc-boot-instance/rootfs/{name}" for name in ("bin", "usr/bin/agent")),
    }
    assert found.tree["bin/containerd-shim-rune-v2"]["mode"] == 0o755
    assert found.tree[f"{agent}/rootfs/usr/bin/agent"]["mode"] == 0o755  # no setuid bit
    assert found.tree[f"{agent}/rootfs/etc/mtab"] == {"type": "link", "target": "/proc/mounts"}
    for name in names:
        assert (tmp_path / f"staged/{agent}/rootfs/{name}").read_bytes() == b"a"


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (file("../../../etc/passwd"), "climbs out"),
        (file("bin/x"), "no directory"),  # through a link
        (hard_link("x", "../../../../bin/containerd-shim-rune-v2"), "outside of its directory"),
        (hard_link("x", "a/../../../../bin/containerd-shim-rune-v2"), "outside of its directory"),
        (hard_link("x", "/etc/passwd"), "no artifact"),
        (file("usr/bin/agent"), "twice"),
    ],
)
def test_hostile_root_file_systems(tmp_path: Path, member: Entry, says: str) -> None:
    (tmp_path / "staged").mkdir()
    with pytest.raises(Refusal, match=says):
        extract(simple(tmp_path / "payload.tar", enclave(member)), tmp_path / "staged")
