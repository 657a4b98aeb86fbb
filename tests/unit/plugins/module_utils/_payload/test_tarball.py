# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Release tarballs, extracted payloads, components, and other prefixes."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import tarfile
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import streams, tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import (
    Components,
    parse,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import How, unpack
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.relocate import Relocation
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    Entry,
    digest_of,
    directory,
    entry,
    extract,
    file,
    link,
    simple,
    tar,
)

DEFAULTS = "share/defaults/kata-containers"
SHIM = "bin/containerd-shim-kata-v2"
X86 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00"
S390X = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x03\x00\x16"


def release(shim: bytes = X86) -> list[Entry]:
    """Return what a release tarball of Kata has in it, in small."""
    return [
        directory("./opt/kata"),
        file(f"./opt/kata/{SHIM}", shim, 0o755),
        file("./opt/kata/bin/qemu-system-x86_64", b"qemu", 0o755),
        file(
            f"./opt/kata/{DEFAULTS}/configuration-qemu.toml",
            b'path = "/opt/kata/bin/qemu-system-x86_64"\nvalid = ["/opt/kata/bin/qemu-system-x86_64"]\n'
            b'kernel = "/opt/kata/share/vmlinux"\nother = "/opt/kata2/x"\n',
        ),
        link(f"./opt/kata/{DEFAULTS}/configuration.toml", "configuration-qemu.toml"),
        link("./opt/kata/share/vmlinux", "/opt/kata/share/vmlinux-6.1"),
        file("./opt/kata/share/vmlinux-6.1", b"kernel"),
    ]


def packed(content: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return subprocess.run(["zstd", "--stdout"], input=content, capture_output=True, check=True).stdout
    if compression == "xz":
        return lzma.compress(content)
    return gzip.compress(content) if compression else content


@pytest.mark.parametrize("compression", ["", "gzip", "xz", "zstd"])
def test_a_release_tarball(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "kata-static.tar"
    path.write_bytes(packed(tar(*release()), compression))
    found = extract(path, transport="tarball", how=How(architecture="amd64"))
    assert found.layout is not None
    assert found.layout.name == "kata"
    assert {SHIM, "share/vmlinux", f"{DEFAULTS}/configuration-qemu.toml"} < set(found.tree)
    with tarball.open_source(Reference("tarball", str(path))) as source:
        [image] = source.images()
    assert (image.digest, image.digest_kind, image.architecture) == (digest_of(path.read_bytes()), "file", "")


@pytest.mark.parametrize("compression", ["", "gzip", "xz", "zstd"])
def test_a_damaged_tarball(tmp_path: Path, compression: str) -> None:
    whole = packed(tar(*release(), file("./opt/kata/x", os.urandom(5000))), compression)
    path = tmp_path / "kata-static.tar"
    # A plain tar archive has no sums over its contents.
    for content in (whole[: len(whole) // 2], *((whole[:-600] + b"x" * 600,) if compression else ())):
        path.write_bytes(content)
        with pytest.raises(Refusal, match="Compare it with the original"):
            extract(path, transport="tarball")


def test_a_tarball_for_another_architecture(tmp_path: Path) -> None:
    path = tmp_path / "kata-static.tar"
    path.write_bytes(tar(*release(S390X)))
    with pytest.raises(Refusal, match=r"for amd64.*for s390x"):
        extract(path, transport="tarball", how=How(architecture="amd64"))
    extract(path, transport="tarball", how=How(architecture="s390x"))


def test_a_tarball_that_changed_since_its_digest_was_read(tmp_path: Path) -> None:
    path = tmp_path / "kata-static.tar"
    path.write_bytes(tar(*release()))
    with tarball.open_source(Reference("tarball", str(path)), digest=digest_of(b"other")) as source:
        assert source.images()[0].digest == digest_of(b"other")
    with pytest.raises(Refusal, match="a directory"):
        tarball.open_source(Reference("tarball", str(tmp_path)))
    with pytest.raises(Refusal, match="nothing there"):
        tarball.open_source(Reference("tarball", str(tmp_path / "none")))


@pytest.mark.parametrize("base", ["", "opt/kata-artifacts"])
def test_an_extracted_payload(tmp_path: Path, base: str) -> None:
    root = tmp_path / "root"
    with tarfile.open(fileobj=io.BytesIO(tar(*release()))) as archive:
        archive.extractall(root / base)
    (root / "etc").mkdir()
    (root / "etc/shadow").write_bytes(b"not for the node")
    os.mkfifo(root / "etc/fifo")
    if not base:
        shutil.rmtree(root / "etc")
    target = tmp_path / "target"
    target.mkdir()
    found = extract(root, target, transport="dir")
    assert found == extract(root, transport="dir")
    assert (target / SHIM).read_bytes() == X86
    with tarball.open_source(Reference("dir", str(root))) as source:
        [image] = source.images()
    stream = b"".join(tarball.tar_of(str(root)))
    assert (image.digest, image.digest_kind) == (digest_of(stream), "directory")
    sent = tmp_path / "sent.tar"
    sent.write_bytes(stream)
    with tarball.open_source(Reference("dir", str(root)), str(sent)) as source:
        assert source.images()[0].digest == image.digest
    os.mkfifo(root / base / "opt/kata/fifo")
    with pytest.raises(Refusal, match="special file"):
        extract(root, transport="dir")


@pytest.mark.parametrize("number", [1, 5, 512, 700, 1 << 20, -1])
def test_a_generated_stream_has_all_its_bytes(tmp_path: Path, number: int) -> None:
    for name, size in (("a", 0), ("b", 512), ("c", 100_000)):
        (tmp_path / name).write_bytes(os.urandom(size))
    whole = b"".join(tarball.tar_of(str(tmp_path)))
    with tarball.Tarball(Reference("dir", str(tmp_path))).open_layer(t.cast(t.Any, None)) as stream:
        assert b"".join(iter(lambda: stream.read(number), b"")) == whole


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: path.write_bytes(b"12"), "became shorter: 2 of 900 bytes"),
        (lambda path: path.unlink(), "that it is gone"),
    ],
)
def test_a_directory_that_changes_while_it_is_read(
    tmp_path: Path, change: t.Callable[[Path], object], says: str
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 900)
    stream = tarball.tar_of(str(tmp_path))
    for _part in ("a", "its content", "zeros behind it", "b"):
        next(stream)
    change(tmp_path / "b")
    with pytest.raises(Refusal, match=f"Expected {tmp_path}/b to stay as it is.*{says}.*Start again when"):
        list(stream)


@pytest.mark.parametrize("transport", ["dir", "tarball"])
def test_what_changes_between_two_readings(tmp_path: Path, transport: str) -> None:
    path = tmp_path / "payload"
    if transport == "dir":
        (path / "opt/kata/bin").mkdir(parents=True)
        changing = path / "opt/kata/bin/x"
    else:
        changing = path
    changing.write_bytes(tar(*release()))
    with tarball.open_source(Reference(transport, str(path))) as source:
        [image] = source.images()
        changing.write_bytes(tar(*release(S390X)))
        with pytest.raises(
            Refusal, match=f"to stay as it was when its digest was read, {image.digest}.*Start again when"
        ):
            unpack(source, image, None)


def test_a_tarball_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kata-static.tar"
    path.write_bytes(tar(*release()))

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(Refusal, match=r"Permission denied\. Make it readable"):
        tarball.open_source(Reference("tarball", str(path))).images()


# Another prefix.


def test_another_prefix(tmp_path: Path) -> None:
    path, target = tmp_path / "kata-static.tar", tmp_path / "target"
    path.write_bytes(tar(*release()))
    target.mkdir()
    how = How(prefix="/srv/kata")
    found = extract(path, target, "tarball", how)
    assert found.tree == extract(path, None, "tarball", how).tree
    assert (target / f"{DEFAULTS}/configuration-qemu.toml").read_text() == (
        'path = "/srv/kata/bin/qemu-system-x86_64-installation-prefix"\n'
        'valid = ["/srv/kata/bin/qemu-system-x86_64-installation-prefix"]\n'
        'kernel = "/srv/kata/share/vmlinux"\nother = "/opt/kata2/x"\n'
    )
    assert (
        found.tree["share/vmlinux"]["target"] == os.readlink(target / "share/vmlinux") == "/srv/kata/share/vmlinux-6.1"
    )
    wrapper = target / "bin/qemu-system-x86_64-installation-prefix"
    assert wrapper.stat().st_mode & 0o777 == 0o755
    assert found.tree["bin/qemu-system-x86_64-installation-prefix"]["digest"] == digest_of(wrapper.read_bytes())
    assert wrapper.read_text().splitlines()[1] == (
        'exec "/srv/kata/bin/qemu-system-x86_64" "$@" -L "/srv/kata/share/kata-qemu/qemu/"'
    )
    assert extract(path, None, "tarball", How(prefix="/srv/../srv//kata/")).tree == found.tree
    for same in ("/opt/kata/", ""):
        assert extract(path, None, "tarball", How(prefix=same)).tree == extract(path, None, "tarball").tree


def test_the_firmware_of_a_special_qemu() -> None:
    relocation = Relocation("/opt/kata", "/x")
    paths = ["bin/qemu-system-x86_64-snp-experimental", "bin/qemu-img", "libexec/qemu-system-x86_64"]
    assert [path.rpartition("/")[2] for path in relocation.wrappers(paths)] == [
        "qemu-system-x86_64-snp-experimental-installation-prefix"
    ]
    text = relocation.wrappers(paths)[paths[0] + "-installation-prefix"]
    assert b'-L "/x/share/kata-qemu-snp-experimental/qemu/"' in text
    assert relocation.link("/opt/kata") == "/x"
    assert relocation.link("/opt/kata2") == "/opt/kata2"
    assert relocation.link("bin") == "bin"


# Components.

NEEDED = {
    "shims": {
        "qemu": {"x86_64": ["shim-v2-go", "qemu", "kernel"], "s390x": ["shim-v2-go", "qemu"]},
        "clh": {"x86_64": ["shim-v2-go", "clh", "kernel"]},
        "dragonball": {"x86_64": ["shim-v2-rust"]},
    }
}

MANIFEST = file("opt/kata-artifacts/shim-components.json", json.dumps(NEEDED).encode())


def component(name: str, *entries: Entry) -> Entry:
    return file(f"opt/kata-artifacts/tarballs/kata-static-{name}.tar.zst", packed(tar(*entries), "zstd"))


def components() -> list[Entry]:
    configurations = [file(f"opt/kata/{DEFAULTS}/configuration-{shim}.toml", b"") for shim in ("qemu", "clh")]
    return [
        component("clh", file("./opt/kata/bin/cloud-hypervisor", b"clh", 0o755)),
        component("kernel", file("opt/kata/share/vmlinux", b"kernel")),
        component("qemu", file("opt/kata/bin/qemu-system-x86_64", b"qemu", 0o755)),
        component("shim-v2-go", file(f"opt/kata/{SHIM}", X86, 0o755), *configurations),
        component("shim-v2-rust", file(f"opt/kata/runtime-rs/{SHIM}", X86, 0o755)),
    ]


@pytest.mark.parametrize("apart", [True, False])
def test_only_the_components_that_are_needed(tmp_path: Path, apart: bool) -> None:
    path, target = tmp_path / "payload.tar", tmp_path / "target"
    target.mkdir()
    if apart:
        simple(path, components(), [MANIFEST])
    else:
        simple(path, [*components(), MANIFEST])
    how = How(architecture="amd64", choose=lambda shims: ["qemu"] if "qemu" in shims else [])
    found = extract(path, target, how=how)
    assert found == extract(path, how=how)
    assert found.components == Components(
        {shim: of["x86_64"] for shim, of in NEEDED["shims"].items()}, ("kernel", "qemu", "shim-v2-go")
    )
    assert {name for name in found.tree if name.startswith("bin/")} == {SHIM, "bin/qemu-system-x86_64"}
    assert "runtime-rs" not in found.tree
    assert found.components.suffice(["qemu"])
    assert not found.components.suffice(["qemu", "clh"])


def test_a_component_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "payload.tar"
    simple(path, components()[2:], [MANIFEST])
    with pytest.raises(Refusal, match="Found none of kernel in"):
        extract(path, how=How(architecture="amd64", choose=lambda shims: ["qemu"]))
    extract(path, how=How(architecture="amd64", choose=lambda shims: ["dragonball"]))


def test_a_hostile_component(tmp_path: Path) -> None:
    path, target = tmp_path / "payload.tar", tmp_path / "1/target"
    target.mkdir(parents=True)
    for made in (
        file("opt/kata/../../x", b"x"),
        link("opt/kata/x", "../../../etc"),
        entry("opt/kata/x", tarfile.FIFOTYPE),
    ):
        simple(path, [MANIFEST, component("qemu", made)])
        with pytest.raises(Refusal, match="Nothing was installed"):
            extract(path, target, how=How(architecture="amd64"))
        assert list(tmp_path.glob("**/x")) == []
    simple(path, [MANIFEST, file("opt/kata-artifacts/tarballs/kata-static-qemu.tar.zst", b"no tarball")])
    with pytest.raises(Refusal):
        extract(path, how=How(architecture="amd64"))


@pytest.mark.parametrize("cut", [40, -1])
def test_a_component_that_is_damaged_behind_a_whole_one(tmp_path: Path, cut: int) -> None:
    """The first one may still be on its way to the disk: the second one's damage is told, and no thread stays."""
    path, target, threads = tmp_path / "payload.tar", tmp_path / "target", threading.active_count()
    target.mkdir()
    large = component("kernel", file("opt/kata/share/vmlinux", os.urandom(6 * streams.BLOCK)))
    name = "opt/kata-artifacts/tarballs/kata-static-qemu.tar.zst"
    broken = file(name, packed(tar(file("opt/kata/bin/qemu", os.urandom(3 * streams.BLOCK))), "zstd")[:cut])
    simple(path, [large, broken, *components()[3:], MANIFEST])
    with pytest.raises(Refusal, match=f"'{name}': .*Its digest is right, so the image was built like that"):
        extract(path, target, how=How(architecture="amd64", choose=lambda shims: ["qemu"]))
    assert threading.active_count() == threads


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_component_that_cannot_be_written_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    """More is read ahead than is ever used: no thread waits for somebody to take it."""
    path, target, threads = tmp_path / "payload.tar", tmp_path / "target", threading.active_count()
    target.mkdir()
    large = component("kernel", file("opt/kata/share/vmlinux", os.urandom(40 * streams.BLOCK)))
    simple(path, [large, *components()[2:], MANIFEST])
    written: list[int] = []

    def write(_target: t.Any, block: bytes) -> None:
        written.append(len(block))
        if len(written) == 3:
            raise stop

    monkeypatch.setattr(files, "write_with_holes", write)
    with pytest.raises(type(stop)):
        extract(path, target, how=How(architecture="amd64", choose=lambda shims: ["qemu"]))
    assert len(written) == 3
    assert threading.active_count() == threads


def test_limits_hold_for_all_components_together(tmp_path: Path) -> None:
    path, size = tmp_path / "payload.tar", 2 * streams.BLOCK
    whole = [component(name, file(f"opt/kata/share/{name}", b"x" * size)) for name in ("kernel", "qemu")]
    simple(path, [*whole, components()[3], MANIFEST])

    def limited(limits: Limits) -> t.Mapping[str, t.Any]:
        how = How(architecture="amd64", choose=lambda shims: ["qemu"], limits=limits)
        return extract(path, how=how).tree

    assert {"share/kernel", "share/qemu"} < set(limited(Limits(bytes=5 * size)))
    with pytest.raises(Refusal, match=f"'opt/kata/share/qemu' in .*: more than {2 * size - 1} bytes"):
        limited(Limits(bytes=2 * size - 1))
    with pytest.raises(Refusal, match="more than 5 members so far"):
        limited(Limits(members=5))


def test_the_same_path_in_two_components(tmp_path: Path) -> None:
    """As of layers, the last one counts: in the result, and on the disk."""
    path, target = tmp_path / "payload.tar", tmp_path / "target"
    target.mkdir()
    contents = [os.urandom(2 * streams.BLOCK), b"another"]
    names = ("kernel", "qemu")
    twice = [component(name, file("opt/kata/x", one)) for name, one in zip(names, contents, strict=True)]
    for order in (1, -1):
        simple(path, [*twice[::order], components()[3], MANIFEST])
        found = extract(path, target, how=How(architecture="amd64", choose=lambda shims: ["qemu"]))
        last = contents[::order][-1]
        assert found.tree["x"]["digest"] == digest_of(last)
        assert (target / "x").read_bytes() == last
        shutil.rmtree(target)
        target.mkdir()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON at the whole document .* Found Expecting value"),
        ("[" * 9999, "JSON at the whole document .* Found maximum recursion|a list"),
        ("[]", "an object at the whole document .* Found a list"),
        ("{}", "an object at shims in /opt/kata-artifacts/shim-components.json of the payload. Found nothing"),
        ('{"shims": []}', "an object at shims in .* Found a list"),
        ('{"shims": {"a": 1}}', "an object at shims.a in .* Found a number"),
        ('{"shims": {"a": {"x86_64": [1]}}}', r"list of names of components at shims.a.x86_64 in .* Found \[1\]"),
        ('{"shims": {"a": {"x86_64": "b"}}}', 'list of names of components at shims.a.x86_64 in .* Found "b"'),
        ('{"shims": {}, "requiredComponents": []}', "an object at requiredComponents in .* Found a list"),
        ('{"shims": {}, "requiredComponents": {"x86_64": 1}}', "at requiredComponents.x86_64 in .* Found 1"),
    ],
)
def test_a_manifest_of_another_shape(tmp_path: Path, text: str, says: str) -> None:
    """No damaged archive: its key is named."""
    path = tmp_path / "payload.tar"
    simple(path, components(), [file("opt/kata-artifacts/shim-components.json", text.encode())])
    with pytest.raises(Refusal, match=says) as refused:
        extract(path, how=How(architecture="amd64"))
    assert "truncated" not in str(refused.value)


def test_components_that_all_shims_need() -> None:
    text = json.dumps({"shims": {"a": {"x86_64": ["x"]}}, "requiredComponents": {"x86_64": ["y"]}})
    assert parse(text.encode(), "amd64") == {"a": ["y", "x"]}
    assert parse(text.encode(), "arm64") == {}


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd"])
def test_compression_is_told_from_the_first_bytes(compression: str) -> None:
    assert streams.compression_of(packed(b"x", compression)) == compression
    assert streams.compression_of(b"x") == ""


@pytest.mark.parametrize("kind", ["tarball", "dir"])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[::-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.chmod(0o600),
        lambda path: Path(shutil.copy2(path, f"{path}.new")).replace(path),
    ],
    ids=["content", "size", "mode", "another file"],
)
def test_state_without_reading(tmp_path: Path, kind: str, change: t.Callable[[Path], object]) -> None:
    root = tmp_path / "payload"
    (root / "bin").mkdir(parents=True)
    changed = root / "bin/program"
    changed.write_bytes(b"1234")
    os.symlink("program", root / "bin/link")
    path = root if kind == "dir" else changed
    before, times = tarball.state_of(str(path)), os.stat(changed)
    assert tarball.state_of(str(path)) == before
    change(changed)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert tarball.state_of(str(path)) != before


def test_state_of_a_directory_covers_its_names(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"")
    before = tarball.state_of(str(tmp_path))
    (tmp_path / "one").rename(tmp_path / "two")
    assert tarball.state_of(str(tmp_path)) != before
