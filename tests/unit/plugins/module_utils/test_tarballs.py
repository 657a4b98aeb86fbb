# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases that come in two tarballs, as Kata's do since 4.1: Rust's shims, and Go's."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import shims, tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import select
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import (
    How,
    Unpacked,
    unpack,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import parse
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    Entry,
    digest_of,
    directory,
    file,
    hard_link,
    link,
    tar,
    tree_of,
)

DEFAULTS = "share/defaults/kata-containers"
GO, RUST = "bin/containerd-shim-kata-v2", "runtime-rs/bin/containerd-shim-kata-v2"


def kata(path: str, content: bytes = b"") -> Entry:
    return file(f"./opt/kata/{path}", content, 0o755 if "/bin/" in f"/{path}" else 0o644)


def rust() -> list[Entry]:
    return [
        directory("./opt/kata"),
        kata(RUST, b"rust"),
        kata(f"{DEFAULTS}/runtime-rs/configuration-qemu-runtime-rs.toml", b'a = "/opt/kata/bin/x"'),
        kata(f"{DEFAULTS}/runtime-rs/configuration-remote.toml"),
        kata("share/vmlinux", b"kernel" * 99999),
        link("./opt/kata/share/vmlinux.container", "vmlinux"),
        hard_link("./opt/kata/share/vmlinux-again", "./opt/kata/share/vmlinux"),
    ]


def go() -> list[Entry]:
    return [
        directory("./opt/kata", 0o700),
        kata(GO, b"go"),
        kata(f"{DEFAULTS}/configuration-qemu.toml", b'a = "/opt/kata/bin/x"'),
        kata(f"{DEFAULTS}/configuration-remote.toml"),
    ]


def written(directory: Path, *tarballs: t.Sequence[Entry]) -> list[str]:
    """Write tarballs, and return the reference to them."""
    for number, entries in enumerate(tarballs):
        (directory / f"{number}.tar").write_bytes(tar(*entries))
    return [f"tarball:{directory}/{number}.tar" for number in range(len(tarballs))]


def extracted(payload: list[str], target: Path | None = None, **options: t.Any) -> Unpacked:
    with tarball.open_source(parse(payload), **options) as source:
        [image] = source.images()
        return unpack(source, image, (lambda layout: str(target)) if target else None, How(prefix="/srv/kata"))


def test_two_tarballs_are_one_payload(tmp_path: Path) -> None:
    payload, target = written(tmp_path, rust(), [*go(), *rust()[2:]]), tmp_path / "target"
    target.mkdir()
    found = extracted(payload, target)
    assert found == extracted(payload)
    assert found.layout is not None
    assert tree_of(target) == found.tree
    handlers = shims.offered(found.tree, found.layout, "/srv/kata")
    assert [(handler.name, handler.runtime_path) for handler in handlers] == [
        ("kata-qemu", f"/srv/kata/{GO}"),
        ("kata-qemu-runtime-rs", f"/srv/kata/{RUST}"),
        ("kata-remote", f"/srv/kata/{GO}"),
    ]
    # Copies on a node, whose digests are known from here.
    with tarball.open_source(parse(payload)) as source:
        assert isinstance(source, tarball.Tarballs)
        [image] = source.images()
        for name, path in source.files().items():
            (tmp_path / "sent" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "sent" / name).write_bytes(Path(path).read_bytes())
    sent: dict[str, t.Any] = {"path": str(tmp_path / "sent"), "digest": " ".join(image.identity()["parts"])}
    assert extracted(payload, **sent) == found


def test_the_digest_of_two_tarballs(tmp_path: Path) -> None:
    payload = written(tmp_path, rust(), go())
    images = []
    for one in (payload, payload[::-1]):
        with tarball.open_source(parse(one)) as source:
            images += source.images()
    printed = subprocess.run(
        "sha256sum *.tar | cut -d' ' -f1 | sort | sha256sum",
        shell=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
    )
    digest = "sha256:" + printed.stdout.decode().split()[0]
    assert [image.chain for image in images] == [{digest: "file"}] * 2
    identity = images[0].identity()
    assert identity["parts"] == [digest_of((tmp_path / f"{number}.tar").read_bytes()) for number in (0, 1)]
    assert select([identity], "amd64", digest) == identity
    for part in identity["parts"]:
        with pytest.raises(Refusal, match=f"all tarballs together in coco_payload_digest .{digest}.*digest of one of"):
            select([identity], "amd64", part)


@pytest.mark.parametrize(
    "other",
    [
        kata(RUST, b"another"),
        file(f"./opt/kata/{RUST}", b"rust", 0o644 | 0o20),
        kata(f"{DEFAULTS}/runtime-rs/configuration-qemu-runtime-rs.toml", b'a = "/opt/kata/bin/y"'),
        kata("share/vmlinux", b"kernel" * 99998 + b"Kernel"),
        link("./opt/kata/share/vmlinux.container", "vmlinux-again"),
        file("./opt/kata/share/vmlinux.container", b"kernel"),
        directory("./opt/kata/share/vmlinux.container"),
        hard_link("./opt/kata/share/vmlinux-again", f"./opt/kata/{GO}"),
        file("./opt/kata/runtime-rs", b"a file"),
    ],
    ids=lambda made: f"{made[0].name} {made[0].type!r} {made[0].mode:o}",
)
@pytest.mark.parametrize("first", [True, False])
def test_another_content_in_the_same_place(tmp_path: Path, other: Entry, first: bool) -> None:
    tarballs = [rust(), [*go(), other]]
    payload = written(tmp_path, *(tarballs if first else tarballs[::-1]))
    (tmp_path / "target").mkdir()
    for target in (None, tmp_path / "target"):
        with pytest.raises(Refusal, match=r"the same share|the same runtime-rs|which is no directory"):
            extracted(payload, target)


def test_a_tarball_that_is_missing_or_changed(tmp_path: Path) -> None:
    payload = written(tmp_path, rust(), go())
    with pytest.raises(Refusal, match="nothing there"):
        extracted([payload[0], f"tarball:{tmp_path}/none"])
    with pytest.raises(Refusal, match="sha256:1111"):
        extracted(payload, digest=f"{digest_of((tmp_path / '0.tar').read_bytes())} sha256:{'1' * 64}")


def test_the_state_of_two_tarballs(tmp_path: Path) -> None:
    paths = parse(written(tmp_path, rust(), go())).paths
    before = tarball.state_of(*paths)
    assert before == tarball.state_of(*paths)
    Path(paths[1]).write_bytes(tar(*go(), kata("x")))
    assert before != tarball.state_of(*paths)
