# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Generated archives, most of them hostile: whatever is in them, nothing outside of the destination changes."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tarfile
import time
import typing as t
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import How
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    ROOT,
    OciArchive,
    extract,
    extract_root,
    surroundings,
    tree_of,
)

PREFIX = "/opt/confidential-containers"
#: How many members CI takes, and "make fuzz".
MEMBERS = 1_000_000 if os.environ.get("COCO_FUZZ") == "all" else 20_000

LIMITS = Limits(bytes=1 << 26)

PARTS = (
    "a",
    "b",
    "bin",
    "c d",
    "ü",
    "..",
    ".",
    "",
    ".wh.a",
    ".wh..wh..opq",
    "x" * 120,
    "configuration-a.toml",
)
TYPES = (*[tarfile.REGTYPE] * 6, *[tarfile.DIRTYPE] * 4, *[tarfile.SYMTYPE] * 4, *[tarfile.LNKTYPE] * 3)
STRANGE = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z")
RECORDS = ("path", "linkpath", "size", "GNU.sparse.name", "GNU.sparse.realsize", "GNU.sparse.map", "mtime", "uid")


def name(chance: random.Random) -> str:
    """Return a name, in three of four cases below the artifacts' place."""
    path = "/".join(chance.choice(PARTS) for _part in range(chance.randint(1, 3)))
    start = chance.choice((ROOT, ROOT, ROOT, f"./{ROOT}", f"/{ROOT}", "", "..", "/etc", "opt/kata-artifacts/opt/kata"))
    path += "\udcff" * (chance.random() < 0.01)
    return f"{start}/{path}" if chance.random() < 0.98 else path


def target(chance: random.Random, around: str) -> str:
    """Return where a link leads to: a directory around the destination is among the places."""
    outside = ("/etc/passwd", "../../../../victim", "..", "../..", "/", "", ".", "a/../../..", f"{PREFIX}/../victim")
    if chance.random() < 0.5:
        return chance.choice((*outside, around, f"{around}/victim"))
    return "/".join(chance.choice(("a", "b", "..", "bin", ".")) for _part in range(chance.randint(1, 3)))


def member(chance: random.Random, around: str, names: list[str]) -> bytes:
    """Return a member. ``names`` are those of the members before it, to which a hard link can lead."""
    info = tarfile.TarInfo(name(chance))
    names.append(info.name)
    info.type = chance.choice(TYPES) if chance.random() < 0.97 else chance.choice(STRANGE)
    info.mode = (
        chance.choice((0o644, 0o755, 0o755, 0o700, 0o777)) if chance.random() < 0.97 else chance.randrange(0o10000)
    )
    linked = chance.choice(names) if chance.random() < 0.8 else name(chance)
    info.linkname = linked if info.type == tarfile.LNKTYPE else target(chance, around)
    content = chance.choice((b"", b"x", b"content" * 100))
    info.size = len(content) if info.isreg() else 0
    if chance.random() < 0.05:
        info.size = chance.choice((1, 512, 1 << 20, 1 << 40))
    if chance.random() < 0.05:
        info.pax_headers = {chance.choice(RECORDS): chance.choice((name(chance), "0", "-1", "99999999999", "0,1,2"))}
    form: t.Any = chance.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    data = bytearray(info.tobuf(form, "utf-8", "surrogateescape"))
    if chance.random() < 0.02:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data) + (content + bytes(-len(content) % 512) if info.isreg() else b"")


def archive(chance: random.Random, path: Path, around: str) -> int:
    """Write an archive; return how many members it has. Members that would be refused are rare enough to let some pass."""
    made = OciArchive()
    layers, names = [], t.cast("list[str]", [])
    for _layer in range(chance.randint(1, 3)):
        content = b"".join(member(chance, around, names) for _member in range(chance.randint(1, 6)))
        layers.append(made.layer(content + bytes(1024), ""))
    made.write(path, made.image(*layers))
    return len(names)


def check_artifacts(destination: Path) -> None:
    for path in destination.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
        assert stat.S_ISLNK(mode) or not mode & 0o7002
        if stat.S_ISLNK(mode):
            to = os.readlink(path)
            to = str(destination) + to.removeprefix(PREFIX) if to.startswith("/") else str(path.parent / to)
            leads = os.path.realpath(to)
            assert leads == str(destination) or leads.startswith(f"{destination}/"), (path, os.readlink(path))


def check_root(destination: Path) -> None:
    for path in destination.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
        assert stat.S_ISLNK(mode) or not mode & (0o6000 if stat.S_ISDIR(mode) else 0o7000)
        assert not path.name.startswith(".wh.") or stat.S_ISDIR(mode)


def unpack_artifacts(path: Path, destination: Path, number: int) -> None:
    found = extract(path, destination, how=How(prefix=(None, "/srv/x")[number % 2], limits=LIMITS))
    assert found.tree == tree_of(destination)


def unpack_root(path: Path, destination: Path, _number: int) -> None:
    extract_root(path, destination, limits=LIMITS)


@pytest.mark.parametrize(
    ("unpack", "check", "least"),
    [
        pytest.param(unpack_artifacts, check_artifacts, 0.01, id="as artifacts"),
        pytest.param(unpack_root, check_root, 0.1, id="as a root file system"),
    ],
)
def test_whatever_is_in_an_archive(
    tmp_path: Path, unpack: t.Callable[[Path, Path, int], None], check: t.Callable[[Path], None], least: float
) -> None:
    chance = random.Random(MEMBERS)
    path, around = tmp_path / "archive.tar", tmp_path / "around/1/2/3"
    around.mkdir(parents=True)
    (around.parents[1] / "victim").write_bytes(b"untouched")
    (around / "victim").symlink_to("/etc/passwd")
    destination = around / "destination"
    destination.mkdir()
    before, etc = surroundings(tmp_path / "around"), os.stat("/etc/passwd")
    seen: Counter[str] = Counter()
    started = time.monotonic()
    while seen["members"] < MEMBERS:
        seen["members"] += archive(chance, path, str(around.parents[1]))
        seen["archives"] += 1
        try:
            unpack(path, destination, seen["archives"])
        except Refusal as refusal:
            seen["refused"] += 1
            assert str(path) in str(refusal)
        else:
            seen["unpacked"] += 1
        check(destination)
        assert surroundings(tmp_path / "around") == before
        shutil.rmtree(destination)
        destination.mkdir()
    now = os.stat("/etc/passwd")
    assert (now.st_ino, now.st_mtime_ns, now.st_nlink, now.st_mode) == (
        etc.st_ino,
        etc.st_mtime_ns,
        etc.st_nlink,
        etc.st_mode,
    )
    print(f"\n{dict(seen)}, {time.monotonic() - started:.0f}s")
    assert seen["unpacked"] > seen["archives"] * least
