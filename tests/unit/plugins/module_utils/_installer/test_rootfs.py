# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From layers to a root file system: what a container runtime would make of them, and that nothing gets out of it."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import typing as t
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import rootfs
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import open_source
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    LAYER,
    MTIME,
    Entry,
    OciArchive,
    digest_of,
    directory,
    docker_entries,
    entry,
    extract_root,
    file,
    hard_link,
    link,
    members,
    raw,
    simple,
    surroundings,
    tar,
    tree_of,
)

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")

DIR = {"type": "directory", "mode": 0o755}


def a_file(content: bytes = b"", mode: int = 0o644) -> dict[str, t.Any]:
    return {"type": "file", "mode": mode, "size": len(content), "digest": digest_of(content)}


def a_link(target: str) -> dict[str, t.Any]:
    return {"type": "link", "target": target}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.tar"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return an empty directory. Deep enough that what climbs out of it stays inside of the test's own directory."""
    target = tmp_path / "1/2/3/4/5/6/destination"
    target.mkdir(parents=True)
    return target


# What comes out.


@pytest.mark.parametrize("compression", ["", "gzip"])
def test_an_image(path: Path, root: Path, compression: str) -> None:
    simple(
        path,
        [
            directory("./", 0o700),
            directory("./usr/"),
            directory("./usr/bin/"),
            file("./usr/bin/bash", b"bash", 0o755),
            file("./usr/bin/su", b"su", 0o4755),
            link("./bin", "usr/bin"),
            link("./usr/bin/sh", "bash"),
            hard_link("./usr/bin/rbash", "./usr/bin/bash"),
            directory("./tmp/", 0o1777),
            file("./etc/shadow", b"secret", 0o000),
            link("./etc/mtab", "/proc/mounts"),
            entry("./dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
            entry("./dev/sda", tarfile.BLKTYPE, devmajor=8, devminor=0),
            entry("./run/initctl", tarfile.FIFOTYPE),
        ],
        [file("bin/kata-deploy.sh", b"#!", 0o755), file("bin/.wh.su")],
        [file("opt/kata-artifacts/opt/kata/bin/x", b"x", 0o777)],
        compression=compression,
    )
    before = root.stat().st_mode
    extract_root(path, root)
    assert tree_of(root) == {
        "bin": a_link("usr/bin"),
        "dev": DIR,
        "etc": DIR,
        "etc/mtab": a_link("/proc/mounts"),
        "etc/shadow": a_file(b"secret", 0o000),
        "opt": DIR,
        "opt/kata-artifacts": DIR,
        "opt/kata-artifacts/opt": DIR,
        "opt/kata-artifacts/opt/kata": DIR,
        "opt/kata-artifacts/opt/kata/bin": DIR,
        "opt/kata-artifacts/opt/kata/bin/x": a_file(b"x", 0o777),
        "run": DIR,
        "tmp": {"type": "directory", "mode": 0o1777},
        "usr": DIR,
        "usr/bin": DIR,
        "usr/bin/bash": a_file(b"bash", 0o755),
        "usr/bin/kata-deploy.sh": a_file(b"#!", 0o755),
        "usr/bin/rbash": a_file(b"bash", 0o755),
        "usr/bin/sh": a_link("bash"),
    }
    assert (root / "usr/bin/bash").samefile(root / "usr/bin/rbash")
    assert (root / "usr/bin/bash").stat().st_mtime == MTIME
    assert root.stat().st_mode == before


def test_other_kinds_of_archives(path: Path, root: Path) -> None:
    layers = [tar(file("a", b"old")), tar(file("a", b"a"))]
    path.write_bytes(tar(*docker_entries(*layers)))
    extract_root(path, root, "docker-archive")
    assert tree_of(root) == {"a": a_file(b"a")}
    path.write_bytes(layers[0])
    extract_root(path, root, "tarball")
    assert tree_of(root) == {"a": a_file(b"old")}


@pytest.mark.parametrize(
    ("made", "mode"),
    [
        (file("x", mode=0o644), 0o644),
        (file("x", mode=0o777), 0o777),
        (file("x", mode=0o000), 0o000),
        (file("x", mode=0o4755), 0o755),
        (file("x", mode=0o2755), 0o755),
        (file("x", mode=0o7777), 0o777),
        (directory("x", 0o755), 0o755),
        (directory("x", 0o500), 0o500),
        (directory("x", 0o1777), 0o1777),
        (directory("x", 0o2755), 0o755),
        (directory("x", 0o7777), 0o1777),
    ],
    ids=lambda value: oct(value) if isinstance(value, int) else value[0].type.decode(),
)
def test_modes(path: Path, root: Path, made: Entry, mode: int) -> None:
    simple(path, [made])
    before = os.umask(0o077)
    try:
        extract_root(path, root)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "x").stat().st_mode) == mode


@ROOT_ONLY
def test_owners(path: Path, root: Path) -> None:
    most = (1 << 32) - 2
    simple(
        path,
        [
            file("above/f", uid=1000, gid=1001, uname="daemon"),
            directory("d", uid=2000, gid=2001),
            link("l", "/etc/passwd", uid=3000, gid=3001),
            file("most", uid=most, gid=most),
        ],
        [directory("d", uid=0, gid=7)],
    )
    extract_root(path, root)
    owners = {name: ((root / name).lstat().st_uid, (root / name).lstat().st_gid) for name in os.listdir(root)}
    assert owners == {"above": (0, 0), "d": (0, 7), "l": (3000, 3001), "most": (most, most)}
    assert ((root / "above/f").stat().st_uid, (root / "above/f").stat().st_gid) == (1000, 1001)


def test_without_root_owners_stay(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    simple(path, [file("f", uid=1000), link("l", "f", uid=1000), directory("d", uid=1000)])
    extract_root(path, root)
    assert {(root / name).lstat().st_uid for name in "fld"} == {os.getuid()}


def test_extended_attributes_are_dropped(path: Path, root: Path) -> None:
    info, content = file("x", b"program", 0o755)
    info.pax_headers = {"SCHILY.xattr.security.capability": "\1\0\0\2\0\4\0\0", "SCHILY.xattr.user.label": "x"}
    simple(path, [(info, content)])
    extract_root(path, root)
    assert not set(os.listxattr(root / "x")) & {"security.capability", "user.label"}


def test_zeros_become_holes(path: Path, root: Path) -> None:
    zeros, data = bytes(5 << 20), os.urandom(3000)
    contents = {"all": zeros, "end": data + zeros, "middle": data + zeros + data, "none": os.urandom(1 << 20) * 2, "empty": b""}  # fmt: skip
    simple(path, [file(name, content) for name, content in contents.items()])
    extract_root(path, root)
    for name, content in contents.items():
        assert (root / name).read_bytes() == content
        assert (root / name).stat().st_blocks * 512 <= len(content) - len(zeros) * (zeros in content) + (2 << 20), name


def test_a_sparse_member(path: Path, root: Path) -> None:
    info, _content = file("x")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(8 << 20)}
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(raw((info, b"")))))
    extract_root(path, root)
    assert (root / "x").read_bytes() == bytes(8 << 20)
    assert (root / "x").stat().st_blocks == 0


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        pytest.param([["d/a", "d/b"], ["d/.wh.a"]], ["d", "d/b"], id="a file"),
        pytest.param([["d/a", "e/b"], [".wh.d"]], ["e", "e/b"], id="a directory"),
        pytest.param([["d/a"], [".wh.d", "d/b"]], ["d", "d/b"], id="a directory, and a new one"),
        pytest.param([["d/a"], ["d/b", ".wh.d"]], ["d", "d/b"], id="a new directory, and the old one"),
        pytest.param([["d/e/a"], ["d/e/b", ".wh.d"]], ["d", "d/e", "d/e/b"], id="the same further below"),
        pytest.param([["d/a"], ["d/.wh..wh..opq", "d/b"]], ["d", "d/b"], id="the content of a directory"),
        pytest.param([["d/a"], ["d/b", "d/.wh..wh..opq"]], ["d", "d/b"], id="the marker after the new content"),
        pytest.param(
            [["d/e/a", "d/f/a"], ["d/e/b", "d/.wh..wh..opq"]], ["d", "d/e", "d/e/b"], id="the marker after new content further below"
        ),
        pytest.param([["d/a"], ["d/a", "d/.wh.a"]], ["d", "d/a"], id="a whiteout is for lower layers only"),
        pytest.param([["d/a", "x"], [".wh..wh..opq"]], [], id="everything"),
        pytest.param([["d/a"], ["d/.wh.a"], ["d/a"]], ["d", "d/a"], id="and back"),
        pytest.param([["d/a"], ["d/.wh.x"]], ["d", "d/a"], id="what is not there"),
        pytest.param([["d"], ["d/.wh.x"]], ["d"], id="what is below a file"),
        pytest.param([["d"], ["d/.wh..wh..opq"]], ["d"], id="the content of a file"),
        pytest.param([["d"], ["e/.wh.x", "f/.wh..wh..opq"]], ["d"], id="where nothing is"),
        pytest.param([["da"], [".wh.d"]], ["da"], id="a name that begins alike"),
        pytest.param([[".wh.x", "a"]], ["a"], id="in the first layer"),
        pytest.param([["d/a"], ["d/.wh..wh.plnk"]], ["d", "d/a"], id="what AUFS has for itself"),
    ],
)  # fmt: skip
def test_whiteouts(path: Path, root: Path, layers: list[list[str]], names: list[str]) -> None:
    simple(path, *([file(name, b"a") for name in layer] for layer in layers))
    extract_root(path, root)
    assert sorted(tree_of(root)) == names


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        pytest.param([[directory("d"), file("d/a"), link("l", "d")], [file("l/.wh.a")]], ["d", "l"], id="through a link"),
        pytest.param([[file("d/a"), link("l", "/d")], [file("l/.wh..wh..opq")]], ["d", "l"], id="opaque, through a link"),
        pytest.param([[file("d/a"), link("l", "d")], [file(".wh.l")]], ["d", "d/a"], id="a link"),
        pytest.param([[file("d/a"), link("l", "/d")], [file("l/b"), file("l/.wh..wh..opq")]], ["d", "d/b", "l"], id="opaque, new content, through a link"),
        pytest.param([[file("d/a")], [directory("d"), file("d/.wh..wh..opq"), file("d/b")], [file("d/c"), file("d/.wh.b")]], ["d", "d/c"], id="three layers"),
    ],
)  # fmt: skip
def test_whiteouts_and_links(path: Path, root: Path, layers: list[list[Entry]], names: list[str]) -> None:
    simple(path, *layers)
    extract_root(path, root)
    assert sorted(tree_of(root)) == names


@pytest.mark.parametrize(
    ("layers", "tree"),
    [
        pytest.param([[file("x")], [directory("x"), file("x/y")]], {"x": DIR, "x/y": a_file()}, id="file, directory"),
        pytest.param([[file("x/y/z"), file("x/a")], [file("x")]], {"x": a_file()}, id="directory, file"),
        pytest.param([[link("x", "y")], [file("x")]], {"x": a_file()}, id="link, file"),
        pytest.param([[link("x", "y"), directory("y")], [directory("x")]], {"x": DIR, "y": DIR}, id="link, directory"),
        pytest.param([[file("x/y")], [link("x", "y")]], {"x": a_link("y")}, id="directory, link"),
        pytest.param([[link("x", "y"), file("y", b"y")], [hard_link("x", "y")]], {"x": a_file(b"y"), "y": a_file(b"y")}, id="link, hard link"),
        pytest.param([[directory("x", 0o700), file("x/y")], [directory("x")]], {"x": DIR, "x/y": a_file()}, id="directory, directory"),
        pytest.param([[file("x", b"b", 0o600)], [file("x")]], {"x": a_file()}, id="file, file"),
        pytest.param([[file("x/y")], [entry("x", tarfile.CHRTYPE)]], {}, id="directory, device"),
        pytest.param([[entry("x", tarfile.FIFOTYPE)], [file("x/y")]], {"x": DIR, "x/y": a_file()}, id="FIFO, directory"),
        pytest.param([[file("x", b"1"), file("x", b"2")]], {"x": a_file(b"2")}, id="twice in one layer"),
        pytest.param([[file("x"), directory("x"), link("x", "y")]], {"x": a_link("y")}, id="three times in one layer"),
        pytest.param([[file("x/y"), link("x", "z"), file("x/y")]], {"x": a_link("z"), "z": DIR, "z/y": a_file()}, id="directory, link, in one layer"),
    ],
)  # fmt: skip
def test_the_last_one_counts(
    path: Path, root: Path, layers: list[list[Entry]], tree: dict[str, dict[str, t.Any]]
) -> None:
    simple(path, *layers)
    extract_root(path, root)
    assert tree_of(root) == tree


def test_a_replaced_file_does_not_change_the_other_name_of_its_inode(path: Path, root: Path) -> None:
    simple(path, [file("x", b"old"), hard_link("y", "x")], [file("x", b"new")])
    extract_root(path, root)
    assert ((root / "x").read_bytes(), (root / "y").read_bytes()) == (b"new", b"old")


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("usr/bin", "usr/bin"),
        ("/usr/bin", "usr/bin"),
        ("//usr//./bin/", "usr/bin"),
        ("usr/lib/../bin", "usr/bin"),
        ("../../../usr/bin", "usr/bin"),
        ("/../../etc", "etc"),
        ("not/there", "not/there"),
        ("/not/there", "not/there"),
        ("up/x", "x"),
        ("abs/x", "etc/x"),
        ("a-chain", "etc"),
    ],
)
@pytest.mark.parametrize("where", ["l", "deep/down/l"])
def test_parents_that_are_links_are_followed_inside_the_root(
    path: Path, root: Path, where: str, target: str, place: str
) -> None:
    helpers = [link("up", "../.."), link("abs", "/etc"), link("a-chain", "a-link"), link("a-link", "abs")]
    depth = where.count("/")
    if depth and not target.startswith("/"):
        target = "../" * depth + target
    layers = [[directory("etc"), directory("usr/bin"), directory("usr/lib"), *helpers, link(where, target)]]
    around = surroundings(path.parent)
    for late in (False, True):
        simple(path, *([*layers, [file(f"{where}/f", b"f")]] if late else [[*layers[0], file(f"{where}/f", b"f")]]))
        shutil.rmtree(root)
        root.mkdir()
        extract_root(path, root)
        assert (root / place / "f").read_bytes() == b"f"
        assert (root / where).is_symlink()
        assert rootfs.resolve(str(root), f"/{where}/f") == str(root / place / "f")
    path.unlink()
    assert surroundings(path.parent).keys() == around.keys()


@pytest.mark.parametrize(
    ("name", "place"),
    [("/x", "x"), ("//x", "x"), ("./x", "x"), ("a/../x", "x"), ("a/./b//x", "a/b/x"), ("/a/../b/x", "b/x")],
)
def test_names_are_normalised(path: Path, root: Path, name: str, place: str) -> None:
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(raw(file(name, b"x"), hard_link("y", name)))))
    extract_root(path, root)
    assert (root / place).read_bytes() == b"x"
    assert (root / "y").samefile(root / place)


def test_hard_links_are_found_inside_the_root(path: Path, root: Path) -> None:
    simple(
        path,
        [file("usr/x", b"x"), link("l", "/usr"), link("to-x", "/etc/passwd")],
        [hard_link("1", "l/x"), hard_link("l/2", "/usr/x"), hard_link("3", "to-x")],
    )
    extract_root(path, root)
    assert (root / "1").samefile(root / "usr/x")
    assert (root / "usr/2").samefile(root / "usr/x")
    # The link itself: nothing outside is linked to.
    assert os.readlink(root / "3") == "/etc/passwd"


def test_progress_and_digests(path: Path, root: Path) -> None:
    archive = OciArchive()
    layers = [archive.layer(tar(file("a", os.urandom(5000))), "") for _number in range(2)]
    archive.write(path, archive.image(*layers))
    told: list[int] = []
    with open_source(Reference("oci-archive", str(path))) as source:
        [image] = source.images()
        rootfs.unpack(source, image, str(root), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == sum(layer["size"] for layer in layers)


# What is refused.


def pax(name: str, **records: str) -> Entry:
    info, content = file(name, b"x")
    info.pax_headers = records
    return info, content


LONG = "n" * 256
DEEP = "/".join("d" * 300)

# The hostile member is the last one.
HOSTILE = [
    pytest.param([file("../escaped", b"x")], id="climbs out"),
    pytest.param([file("x/../../escaped", b"x")], id="climbs out from below"),
    pytest.param([file("/../escaped", b"x")], id="climbs out above the root"),
    pytest.param([directory("..")], id="the directory above"),
    pytest.param([file("../.wh.victim")], id="a whiteout outside"),
    pytest.param([file("../.wh..wh..opq")], id="an opaque directory outside"),
    pytest.param([pax("x", path="../escaped")], id="climbs out in a PAX header"),
    pytest.param([pax("x", path="nul\0")], id="NUL in a PAX header"),
    pytest.param([pax("x", linkpath="nul\0")], id="NUL in the target of no link"),
    pytest.param([file("x\udcff", b"x")], id="name that is no UTF-8"),
    pytest.param([link("x", "y\udcff")], id="target that is no UTF-8"),
    pytest.param([file("", b"x")], id="no name"),
    pytest.param([file(".", b"x")], id="the root as a file"),
    pytest.param([link("./", "/etc")], id="the root as a link"),
    pytest.param([hard_link("/", "etc")], id="the root as a hard link"),
    pytest.param([link("x", "")], id="link to nothing"),
    pytest.param([file(".wh.")], id="whiteout of nothing"),
    pytest.param([file("d/.wh..")], id="whiteout of itself"),
    pytest.param([file(".wh...")], id="whiteout of what is above"),
    pytest.param([file("f"), file("f/x", b"x")], id="below a file"),
    pytest.param([file("f"), file("f/x/y", b"x")], id="far below a file"),
    pytest.param([file("f"), link("l", "f"), file("l/x", b"x")], id="below a link to a file"),
    pytest.param([link("a", "b"), link("b", "a"), file("a/x", b"x")], id="a loop of links"),
    pytest.param([link("a", "a/a"), file("a/x", b"x")], id="a link that grows"),
    pytest.param([link("a", "."), file("a/" * 300 + "x", b"x")], id="very many links"),
    pytest.param([hard_link("x", "nothing")], id="hard link to nothing"),
    pytest.param([hard_link("x", "x")], id="hard link to itself"),
    pytest.param([file("x"), hard_link("x", "x")], id="hard link over itself"),
    pytest.param([file("d/x"), hard_link("d", "d/x")], id="hard link over its target's directory"),
    pytest.param([directory("d"), hard_link("x", "d")], id="hard link to a directory"),
    pytest.param([hard_link("x", "/")], id="hard link to the root"),
    pytest.param([hard_link("x", "../victim")], id="hard link that climbs out"),
    pytest.param([file("f"), hard_link("x", "f/y")], id="hard link to something below a file"),
    pytest.param([entry("dev/x", tarfile.CHRTYPE), hard_link("x", "dev/x")], id="hard link to a device"),
    pytest.param([entry("x", b"s")], id="a type that nobody knows"),
    pytest.param([file("x", b"x", uid=(1 << 32) - 1)], id="an owner that means none"),
    pytest.param([file("x", b"x", gid=1 << 40)], id="a group out of range"),
    pytest.param([directory("x", uid=-1)], id="a negative owner"),
    pytest.param([link("x", "y", uid=-2)], id="a link's negative owner"),
    pytest.param([pax("x", mtime="nan")], id="a time that is no number"),
    pytest.param([pax("x", mtime="1e300")], id="a time after the end of the world"),
    pytest.param([file(LONG, b"x")], id="a long name"),
    pytest.param([directory(f"{LONG}/x")], id="below a long name"),
    pytest.param([file(f".wh.{LONG}")], id="whiteout of a long name"),
    pytest.param([link("x", "n" * 4095 + "/")], id="a long target"),
    pytest.param([file(DEEP, b"x")], id="far too deep"),
    pytest.param([link("a", DEEP[:400]), file(f"a/{DEEP[:201]}", b"x")], id="too deep through a link"),
]  # fmt: skip


@pytest.mark.parametrize("entries", HOSTILE)
def test_a_hostile_member_is_refused_by_name(tmp_path: Path, path: Path, root: Path, entries: list[Entry]) -> None:
    made = entries[-1][0]
    name = made.pax_headers.get("path", made.name.rstrip("/") if made.isdir() else made.name)
    (root.parent / "victim").write_bytes(b"untouched")
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(members(file("honest", b"x")) + raw(*entries))))
    around = surroundings(tmp_path)
    with pytest.raises(Refusal) as refused:
        extract_root(path, root)
    assert repr(name) in str(refused.value)
    assert "root file system" in refused.value.expected
    assert surroundings(tmp_path) == around


def test_a_name_longer_than_any_path(path: Path, root: Path) -> None:
    for made in (file("n/" * 5000), link("x", "n/" * 5000)):
        simple(path, [made])
        with pytest.raises(Refusal, match=r"target of (9999|10000) characters") as refused:
            extract_root(path, root)
        assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("step", ["{outside}", "../../../../../../../../../../../../..{outside}", "up{outside}"])
@pytest.mark.parametrize(
    "made",
    [
        pytest.param([file("l/new", b"x", 0o777)], id="a file"),
        pytest.param([file("l/victim", b"x", 0o777)], id="a file over another"),
        pytest.param([directory("l", 0o700)], id="a directory instead"),
        pytest.param([directory("l/d", 0o700), file("l/d/victim", b"x")], id="a directory"),
        pytest.param([directory("l/new/deep", 0o700)], id="a new directory"),
        pytest.param([link("l/victim", "nowhere"), link("l/new", "nowhere")], id="links"),
        pytest.param([file("f", b"x"), hard_link("l/victim", "f")], id="a hard link"),
        pytest.param([file("l/.wh.victim"), file("l/.wh.d"), file("l/.wh..wh..opq")], id="whiteouts"),
        pytest.param([entry("l/victim", tarfile.FIFOTYPE)], id="a FIFO"),
        pytest.param([link("m", "{outside}/victim"), file("m", b"x", 0o777)], id="a file over a link"),
        pytest.param([link("m", "{outside}/victim"), link("m", "x")], id="a link over a link"),
        pytest.param([link("m", "{outside}/d"), directory("m", 0o700)], id="a directory over a link"),
    ],
)
def test_what_leads_out_leads_back_in(tmp_path: Path, path: Path, root: Path, step: str, made: list[Entry]) -> None:
    outside = tmp_path / "outside"
    (outside / "d").mkdir(parents=True)
    (outside / "d/victim").write_bytes(b"untouched")
    (outside / "victim").write_bytes(b"untouched")
    for info, _content in made:
        info.linkname = info.linkname.format(outside=outside)
    lead = link("l", step.format(outside=outside))
    simple(path, [link("up", ".."), lead, *made])
    around = surroundings(tmp_path)
    extract_root(path, root)
    assert surroundings(tmp_path) == around
    simple(path, [link("up", ".."), lead], made)
    around = surroundings(tmp_path)
    shutil.rmtree(root)
    root.mkdir()
    extract_root(path, root)
    assert surroundings(tmp_path) == around


def test_a_hard_link_through_a_link_to_the_node(tmp_path: Path, path: Path, root: Path) -> None:
    (tmp_path / "victim").write_bytes(b"untouched")
    simple(path, [link("l", str(tmp_path)), hard_link("x", "l/victim")])
    with pytest.raises(Refusal, match="a hard link to 'l/victim'"):
        extract_root(path, root)
    assert (tmp_path / "victim").stat().st_nlink == 1


def test_more_members_than_there_may_be(path: Path, root: Path) -> None:
    simple(path, [file(name) for name in "ab"], [file(name) for name in "cd"])
    extract_root(path, root, limits=Limits(members=4))
    with pytest.raises(Refusal, match="more than 3 members"):
        extract_root(path, root, limits=Limits(members=3))


def test_more_directories_than_there_may_be(path: Path, root: Path) -> None:
    simple(path, [file(f"{name}/1/2/3/x") for name in "abc"])
    with pytest.raises(Refusal, match=r"'c/1/2/3/x'.*more directories"):
        extract_root(path, root, limits=Limits(members=10))


def test_more_bytes_than_there_may_be(path: Path, root: Path) -> None:
    simple(path, [file("a", os.urandom(50_000))], [file("b", os.urandom(50_000))])
    extract_root(path, root, limits=Limits(bytes=150_000))
    with pytest.raises(Refusal, match="more than 90000 bytes"):
        extract_root(path, root, limits=Limits(bytes=90_000))


def test_a_sparse_member_of_any_size(path: Path, root: Path) -> None:
    info, _content = file("x")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}
    archive = OciArchive()
    archive.write(path, archive.image(archive.layer(raw((info, b"")))))
    with pytest.raises(Refusal, match="coco_limits"):
        extract_root(path, root)


def test_a_layer_that_is_not_what_its_digest_says(path: Path, root: Path) -> None:
    honest, forged = (tar(file("a", content)) for content in (b"honest", b"forged"))
    archive = OciArchive()
    layer = archive.blob(honest, LAYER)
    manifest = archive.image(layer)
    archive.blobs[layer["digest"]] = forged
    archive.write(path, manifest)
    with pytest.raises(Refusal, match=f"layer {layer['digest']}.*not the bytes"):
        extract_root(path, root)


# Where whiteouts stand in their layer is of no matter.

NAMES = ["a", "b", "a/a", "a/b", "b/a", "a/a/a"]
MADE = strategies.one_of(
    strategies.builds(file, strategies.sampled_from(NAMES)),
    strategies.builds(directory, strategies.sampled_from(NAMES)),
)
MARKERS = strategies.builds(
    file, strategies.sampled_from(["a/.wh.a", ".wh.a", ".wh.b", ".wh..wh..opq", "a/.wh..wh..opq", "a/a/.wh.a"])
)
LAYERS = strategies.lists(
    strategies.tuples(strategies.lists(MADE, max_size=4), strategies.lists(MARKERS, max_size=2)), min_size=1, max_size=3
)


@hypothesis.settings(
    max_examples=200,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(layers=LAYERS)
def test_whiteouts_before_and_after(tmp_path: Path, layers: list[tuple[list[Entry], list[Entry]]]) -> None:
    path = tmp_path / "archive.tar"
    found: list[t.Any] = []
    for order in (1, -1):
        copies = [
            [
                (tarfile.TarInfo.frombuf(info.tobuf(), "utf-8", "strict"), data)
                for part in layer[::order]
                for info, data in part
            ]
            for layer in layers
        ]
        simple(path, *copies, compression="")
        root = tmp_path / "destination"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        try:
            extract_root(path, root)
            found.append(sorted(tree_of(root)))
        except Refusal as refusal:
            found.append(str(refusal))
    hypothesis.assume(not any(isinstance(one, str) for one in found))
    assert found[0] == found[1]


# Paths in a root file system that is there.


@pytest.fixture
def there(root: Path) -> Path:
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/sh").write_bytes(b"")
    (root / "bin").symlink_to("usr/bin")
    (root / "etc").mkdir()
    (root / "etc/mtab").symlink_to("/proc/mounts")
    (root / "etc/up").symlink_to("../../../../../..")
    (root / "run").mkdir()
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    (root / "loop").symlink_to("loop")
    return root


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/", ""),
        ("", ""),
        ("..", ""),
        ("/usr/bin/sh", "usr/bin/sh"),
        ("/bin/sh", "usr/bin/sh"),
        ("bin/../x", "usr/x"),
        ("/etc/mtab", "proc/mounts"),
        ("/etc/up", ""),
        ("/etc/up/etc/x", "etc/x"),
        ("/var/run/dbus/system_bus_socket", "run/dbus/system_bus_socket"),
        ("/not/there", "not/there"),
        ("/usr/bin/sh/x", "usr/bin/sh/x"),
    ],
)
def test_resolve(there: Path, asked: str, found: str) -> None:
    assert rootfs.resolve(str(there), asked) == str(there / found)


def test_resolve_a_loop(there: Path) -> None:
    with pytest.raises(Refusal, match="Expected /loop/x to lead somewhere"):
        rootfs.resolve(str(there), "/loop/x")


@pytest.mark.parametrize(
    ("asked", "is_directory", "found"),
    [
        ("/etc", True, "etc"),
        ("/etc/containerd/", True, "etc/containerd"),
        ("/opt/a/b", True, "opt/a/b"),
        ("/var/run/dbus", True, "run/dbus"),
        ("/etc/mtab", True, "proc/mounts"),
        ("/etc/up/x", True, "x"),
        ("/usr/bin/sh", False, "usr/bin/sh"),
        ("/bin/bash", False, "usr/bin/bash"),
        ("/var/run/dbus/system_bus_socket", False, "run/dbus/system_bus_socket"),
    ],
)
def test_mount_points(tmp_path: Path, there: Path, asked: str, is_directory: bool, found: str) -> None:
    around = surroundings(tmp_path)
    before = os.umask(0o077)
    try:
        for _again in range(2):
            assert rootfs.make_mount_point(str(there), asked, is_directory) == str(there / found)
    finally:
        os.umask(before)
    place = there / found
    assert not place.is_symlink()
    assert (place.is_dir(), place.is_file()) == (is_directory, not is_directory)
    assert stat.S_IMODE(place.stat().st_mode) == (0o755 if is_directory else 0o644)
    assert surroundings(tmp_path) == around


@pytest.mark.parametrize(
    ("asked", "is_directory", "says"),
    [
        ("/bin/sh", True, "to be a directory"),
        ("/bin/sh/x", True, "to be a directory"),
        ("/bin/sh/x/y", True, "to be a directory"),
        ("/bin", False, "to be a file to mount over. Found a directory."),
        ("/bin/sh/x", False, "to be a file"),
        ("/loop", True, "to lead somewhere"),
    ],
)
def test_no_mount_points(there: Path, asked: str, is_directory: bool, says: str) -> None:
    before = tree_of(there)
    with pytest.raises(Refusal, match=says):
        rootfs.make_mount_point(str(there), asked, is_directory)
    assert tree_of(there) == before
