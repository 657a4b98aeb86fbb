# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract's volumes: what is refused, what is made of each hostPath type, and that nothing stays that was not there."""

from __future__ import annotations

import os
import socket
import stat
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import (
    Bind,
    bind_options,
    bound,
    create,
    missing,
    remove_created,
)
from ansible_collections.confidential_containers.runtime.tests.unit.archives import tree_of

WORKING = "/var/lib/confidential-containers/volumes"

TYPES = ["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"]


def host(name: str, path: str, kind: str | None = "") -> dict[str, t.Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def mounted(name: str, path: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "mountPath": path, **more}


# What is asked for.


def test_the_contract_of_the_design_document() -> None:
    volumes = [
        host("crio-conf", "/etc/crio/"),
        host("containerd-conf", "/etc/containerd/", None),
        host("kata-artifacts", "/opt/confidential-containers/", "DirectoryOrCreate"),
        {"name": "dbus", "hostPath": {"path": "/var/run/dbus/system_bus_socket"}},
        {"hostPath": {"path": "/run/systemd/system", "type": ""}, "name": "systemd", "emptyDir": None},
        {"name": "scratch", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/"}},
    ]
    mounts = [
        mounted("crio-conf", "/etc/crio/"),
        mounted("containerd-conf", "/etc/containerd", readOnly=True),
        mounted("kata-artifacts", "/opt/confidential-containers/", readOnly=False, subPath=""),
        mounted("dbus", "/var/run/dbus/system_bus_socket", mountPropagation="None"),
        mounted("systemd", "/run//systemd/./system", mountPropagation="HostToContainer"),
        mounted("scratch", "/tmp/scratch", readOnly=None),
        mounted("scratch", "/var/tmp"),
        mounted("host", "/host/"),
    ]
    binds = bound(volumes, mounts, WORKING)
    assert [(bind.source, bind.target, bind.read_only, bind.type) for bind in binds] == [
        ("/etc/crio", "/etc/crio", False, ""),
        ("/etc/containerd", "/etc/containerd", True, ""),
        ("/opt/confidential-containers", "/opt/confidential-containers", False, "DirectoryOrCreate"),
        ("/var/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket", False, ""),
        ("/run/systemd/system", "/run/systemd/system", False, ""),
        (f"{WORKING}/scratch", "/tmp/scratch", False, "emptyDir"),
        (f"{WORKING}/scratch", "/var/tmp", False, "emptyDir"),
        ("/", "/host", False, ""),
    ]
    assert binds[4].entry == "coco_installer_volumes[4]"
    assert bind_options(binds[:2]) == [
        "BindPaths=/etc/crio:/etc/crio",
        "BindReadOnlyPaths=/etc/containerd:/etc/containerd",
    ]


def test_nothing() -> None:
    assert not bound([], [], WORKING)
    assert not missing([])
    assert not bind_options([])


@pytest.mark.parametrize("kind", TYPES)
def test_types(kind: str) -> None:
    [bind] = bound([host("x", "/x", kind)], [mounted("x", "/y")], WORKING)
    assert bind.type == kind


A = host("a", "/a")
ON_A = mounted("a", "/a")


@pytest.mark.parametrize(
    ("volumes", "mounts", "says"),
    [
        ("/etc", [], "coco_installer_volumes to be a list. Found '/etc'."),
        (None, [], "coco_installer_volumes to be a list. Found None."),
        ([], {"name": "x"}, "coco_installer_volume_mounts to be a list. Found a mapping."),
        (["/etc"], [], "coco_installer_volumes[0] to be a mapping. Found '/etc'."),
        ([A], [["a"]], "coco_installer_volume_mounts[0] to be a mapping. Found a list."),
        (
            [A, {"hostPath": {"path": "/b"}}],
            [],
            "coco_installer_volumes[1].name to be a name of small letters, digits and hyphens. Found none.",
        ),
        ([{**A, "name": 7}], [], "coco_installer_volumes[0].name to be a string. Found 7."),
        (
            [{**A, "name": "../x"}],
            [],
            "coco_installer_volumes[0].name to be a name of small letters, digits and hyphens. Found '../x'.",
        ),
        ([{**A, "name": "x" * 64}], [], "coco_installer_volumes[0].name to be a name"),
        ([{**A, "name": "x-"}], [], "coco_installer_volumes[0].name to be a name"),
        (
            [A, A],
            [ON_A],
            "coco_installer_volumes[1].name to be a name of its own. Found 'a', as in coco_installer_volumes[0].",
        ),
        ([{"name": "a"}], [ON_A], "coco_installer_volumes[0] to be either hostPath or emptyDir. Found neither."),
        ([{**A, "emptyDir": {}}], [ON_A], "coco_installer_volumes[0] to be either hostPath or emptyDir. Found both."),
        (
            [{"name": "a", "configMap": {"name": "x"}}],
            [ON_A],
            "coco_installer_volumes[0] to be a mapping of name, hostPath, emptyDir. Found 'configMap'.",
        ),
        ([{"name": "a", "hostPath": "/a"}], [ON_A], "coco_installer_volumes[0].hostPath to be a mapping. Found '/a'."),
        (
            [{"name": "a", "hostPath": {}}],
            [ON_A],
            "coco_installer_volumes[0].hostPath.path to be an absolute path. Found none.",
        ),
        (
            [{"name": "a", "hostPath": {"path": None}}],
            [ON_A],
            "coco_installer_volumes[0].hostPath.path to be an absolute path. Found none.",
        ),
        (
            [{"name": "a", "hostPath": {"path": ["/a"]}}],
            [ON_A],
            "coco_installer_volumes[0].hostPath.path to be a string. Found a list.",
        ),
        (
            [{"name": "a", "hostPath": {"path": "/a", "mode": 7}}],
            [ON_A],
            "coco_installer_volumes[0].hostPath to be a mapping of path, type. Found 'mode'.",
        ),
        ([host("a", "etc")], [ON_A], "coco_installer_volumes[0].hostPath.path to be an absolute path. Found 'etc'."),
        (
            [host("a", "/etc/../x")],
            [ON_A],
            "coco_installer_volumes[0].hostPath.path to be a path without '..'. Found '/etc/../x'.",
        ),
        ([host("a", "/a b")], [ON_A], "coco_installer_volumes[0].hostPath.path to be a path without spaces, colons"),
        ([host("a", "/a:b")], [ON_A], "coco_installer_volumes[0].hostPath.path to be a path without spaces, colons"),
        ([host("a", "/a'b")], [ON_A], "coco_installer_volumes[0].hostPath.path to be a path without spaces, colons"),
        ([host("a", "/a\\b")], [ON_A], "coco_installer_volumes[0].hostPath.path to be a path without spaces, colons"),
        ([host("a", "/a\0b")], [ON_A], "coco_installer_volumes[0].hostPath.path to be a path without spaces, colons"),
        (
            [host("a", "/a", "directory")],
            [ON_A],
            (
                "coco_installer_volumes[0].hostPath.type to be one of '', BlockDevice, CharDevice, "
                "Directory, DirectoryOrCreate, File, FileOrCreate, Socket. Found 'directory'."
            ),
        ),
        ([host("a", "/a", "emptyDir")], [ON_A], "coco_installer_volumes[0].hostPath.type to be one of"),
        (
            [{"name": "a", "hostPath": {"path": "/a", "type": True}}],
            [ON_A],
            "coco_installer_volumes[0].hostPath.type to be a string. Found True.",
        ),
        (
            [{"name": "a", "emptyDir": {"path": "/a"}}],
            [ON_A],
            "coco_installer_volumes[0].emptyDir to be a mapping of medium, sizeLimit. Found 'path'.",
        ),
        (
            [A],
            [],
            "coco_installer_volumes[0].name to be a volume that one of coco_installer_volume_mounts mounts. Found 'a'.",
        ),
        (
            [A],
            [ON_A, mounted("b", "/b")],
            "coco_installer_volume_mounts[1].name to be a volume of coco_installer_volumes. Found 'b'.",
        ),
        (
            [A],
            [{"mountPath": "/a"}],
            "coco_installer_volume_mounts[0].name to be a name of small letters, digits and hyphens. Found none.",
        ),
        ([A], [{"name": "a"}], "coco_installer_volume_mounts[0].mountPath to be an absolute path. Found none."),
        ([A], [mounted("a", "a")], "coco_installer_volume_mounts[0].mountPath to be an absolute path. Found 'a'."),
        (
            [A],
            [mounted("a", "/a/..")],
            "coco_installer_volume_mounts[0].mountPath to be a path without '..'. Found '/a/..'.",
        ),
        ([A], [mounted("a", "/a:b")], "coco_installer_volume_mounts[0].mountPath to be a path without spaces, colons"),
        (
            [A],
            [mounted("a", "/./")],
            "coco_installer_volume_mounts[0].mountPath to be a directory below /, which is the payload. Found '/'.",
        ),
        (
            [A],
            [ON_A, mounted("a", "//a/")],
            "coco_installer_volume_mounts[1].mountPath to be a path of its own. Found /a, as in coco_installer_volume_mounts[0].",
        ),
        (
            [A],
            [mounted("a", "/a", readOnly="yes")],
            "coco_installer_volume_mounts[0].readOnly to be true or false. Found 'yes'.",
        ),
        (
            [A],
            [mounted("a", "/a", subPath="x")],
            "coco_installer_volume_mounts[0].subPath to be left out, and the volume's hostPath to name the directory itself. Found 'x'.",
        ),
        ([A], [mounted("a", "/a", subPathExpr="$(X)")], "coco_installer_volume_mounts[0].subPathExpr to be left out"),
        (
            [A],
            [mounted("a", "/a", mountPropagation="Bidirectional")],
            (
                "coco_installer_volume_mounts[0].mountPropagation to be None or HostToContainer: what is "
                "mounted in a unit of systemd does not reach the node. Found 'Bidirectional'."
            ),
        ),
        (
            [A],
            [mounted("a", "/a", hostPath="/a")],
            "coco_installer_volume_mounts[0] to be a mapping of name, mountPath",
        ),
    ],
)
def test_what_is_refused(volumes: t.Any, mounts: t.Any, says: str) -> None:
    with pytest.raises(Refusal) as refused:
        bound(volumes, mounts, WORKING)
    assert str(refused.value).startswith(f"Expected {says}")


def test_other_variables() -> None:
    names = ("coco_pre_install.volumes", "coco_pre_install.volumeMounts")
    with pytest.raises(Refusal, match=r"coco_pre_install\.volumeMounts\[0\]\.name to be a volume of coco_pre_install"):
        bound([], [ON_A], WORKING, names)


# What is on the node.


def bind(source: Path | str, kind: str = "", target: str = "/x") -> Bind:
    return Bind(str(source), target, False, kind, "coco_installer_volumes[0]")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with one of each kind, and a link to each."""
    node = tmp_path / "node"
    (node / "directory").mkdir(parents=True)
    (node / "file").write_bytes(b"content")
    os.mkfifo(node / "FIFO")
    # The name of a socket must be short.
    monkeypatch.chdir(node)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    (node / "character device").symlink_to("/dev/null")
    for kind in ("directory", "file", "FIFO", "socket", "character device", "nothing"):
        (node / f"link to {kind}").symlink_to(kind)
    (node / "loop").symlink_to("loop")
    return node


def there(node: Path) -> list[str]:
    return sorted(str(path.relative_to(node)) for path in node.rglob("*"))


MATCHING = {
    "": {"directory", "file", "FIFO", "socket", "character device"},
    "Directory": {"directory"},
    "DirectoryOrCreate": {"directory"},
    "File": {"file"},
    "FileOrCreate": {"file"},
    "Socket": {"socket"},
    "CharDevice": {"character device"},
    "BlockDevice": set(),
}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("found", ["directory", "file", "FIFO", "socket", "character device"])
@pytest.mark.parametrize("link", ["", "link to "], ids=["itself", "a link to it"])
def test_what_is_there_is_of_the_type_or_refused(node: Path, kind: str, found: str, link: str) -> None:
    before = there(node)
    path = node / f"{link}{found}"
    if found in MATCHING[kind]:
        assert missing([bind(path, kind)]) == []
    else:
        wanted = {
            "CharDevice": "character device",
            "BlockDevice": "block device",
        }.get(kind, kind.replace("OrCreate", "").lower())
        says = f"Expected a {wanted} at {path} (coco_installer_volumes[0], type {kind}). Found a {found}."
        with pytest.raises(Refusal) as refused:
            missing([bind(path, kind)])
        assert str(refused.value).startswith(says)
    assert there(node) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make devices")
def test_a_block_device(node: Path) -> None:
    path = node / "device"
    try:
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, 0))
    except OSError:
        pytest.skip("devices cannot be made here")
    assert missing([bind(path, "BlockDevice")]) == missing([bind(path)]) == []
    with pytest.raises(Refusal, match=r"Expected a character device at .* Found a block device"):
        missing([bind(path, "CharDevice")])


def directory(path: Path, mode: int = 0o755) -> dict[str, t.Any]:
    return {"path": str(path), "type": "directory", "mode": mode}


def a_file(path: Path) -> dict[str, t.Any]:
    return {"path": str(path), "type": "file", "mode": 0o644}


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_missing(node: Path, kind: str) -> None:
    path = node / "missing"
    if kind in ("", "DirectoryOrCreate"):
        assert missing([bind(path, kind)]) == [directory(path)]
        deep = path / "a/b"
        assert missing([bind(deep, kind)]) == [directory(one) for one in (path, path / "a", deep)]
    elif kind == "FileOrCreate":
        assert missing([bind(path, kind)]) == [a_file(path)]
        with pytest.raises(Refusal, match=f"Expected a directory at {path} .*Found nothing"):
            missing([bind(path / "file", kind)])
    else:
        with pytest.raises(Refusal, match=rf"at {path} \(coco_installer_volumes\[0\], type {kind}\)\. Found nothing"):
            missing([bind(path, kind)])


@pytest.mark.parametrize(
    ("name", "kind", "result"),
    [
        ("link to nothing", "", "a link that leads nowhere"),
        ("link to nothing", "Directory", "a link that leads nowhere"),
        ("link to nothing", "DirectoryOrCreate", "a link that leads nowhere"),
        ("link to nothing", "FileOrCreate", "nothing"),  # the link's target is made
        ("link to nothing/x", "", "a link that leads nowhere"),
        ("link to nothing/x", "FileOrCreate", "Expected a directory at {node}/nothing"),
        ("loop", "", "a link that leads nowhere"),
        ("loop", "FileOrCreate", "a link that leads nowhere"),
        ("file/x", "", "Found a file"),
        ("file/x", "DirectoryOrCreate", "Expected a directory at {node}/file"),
        ("file/x", "FileOrCreate", "Found a file"),
        ("file/x", "Socket", "Found nothing"),
        ("FIFO/x/y", "", "Found a FIFO"),
        ("link to directory/x", "", "directory/x"),
        ("link to directory/x", "FileOrCreate", "directory/x"),
    ],
)
def test_what_links_lead_to(node: Path, name: str, kind: str, result: str) -> None:
    try:
        [made] = missing([bind(node / name, kind)])
    except Refusal as refusal:
        assert result.format(node=node) in str(refusal)
    else:
        assert made["path"] == str(node / result)
        create([made])
        assert (node / name).exists()


@pytest.mark.parametrize(
    ("binds", "names"),
    [
        pytest.param([("a/b", ""), ("a/c", ""), ("a", "")], ["a", "a/b", "a/c"], id="a common parent"),
        pytest.param([("a/f", "FileOrCreate"), ("a", "DirectoryOrCreate")], ["a", "a/f"], id="a file in what another one makes"),
        pytest.param([("a", "Directory"), ("a", "DirectoryOrCreate")], ["a"], id="what another one makes"),
        pytest.param([("f", "File"), ("f", "FileOrCreate")], ["f"], id="a file that another one makes"),
        pytest.param([("f", ""), ("f", "FileOrCreate")], ["f"], id="a file, and anything"),
        pytest.param([("link to directory/x", ""), ("directory/x", "")], ["directory/x"], id="by two names"),
        pytest.param([("a", "Directory"), ("a", "")], None, id="what only the container runtime makes"),
        pytest.param([("a/f", "FileOrCreate"), ("a", "")], None, id="a file in what only the container runtime makes"),
        pytest.param([("a", "DirectoryOrCreate"), ("a", "FileOrCreate")], None, id="a directory and a file"),
        pytest.param([("f", "FileOrCreate"), ("f/x", "")], None, id="a directory in a file"),
    ],
)  # fmt: skip
def test_one_volume_and_another(node: Path, binds: list[tuple[str, str]], names: list[str] | None) -> None:
    asked = [bind(node / path, kind, f"/{number}") for number, (path, kind) in enumerate(binds)]
    before = there(node)
    if names is None:
        with pytest.raises(Refusal):
            missing(asked)
        assert there(node) == before
        return
    made = missing(asked)
    assert [entry["path"] for entry in made] == [str(node / name) for name in names]
    create(made)
    assert there(node) == sorted([*before, *names])
    assert missing(asked) == []
    assert remove_created(made) == []
    assert there(node) == before


def test_modes(tmp_path: Path) -> None:
    binds = [bind(tmp_path / "d/e"), bind(tmp_path / "f", "FileOrCreate"), bind(tmp_path / "working/x", "emptyDir")]
    before = os.umask(0o077)
    try:
        create(missing(binds))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    modes = {name: entry["mode"] for name, entry in tree_of(tmp_path).items()}
    assert modes == {"d": 0o755, "d/e": 0o755, "f": 0o644, "working": 0o755, "working/x": 0o777}


def test_what_came_meanwhile_stays(tmp_path: Path) -> None:
    made = missing([bind(tmp_path / "d/e"), bind(tmp_path / "f", "FileOrCreate"), bind(tmp_path / "g")])
    (tmp_path / "d").mkdir(mode=0o700)
    (tmp_path / "f").symlink_to("victim")
    (tmp_path / "victim").write_bytes(b"")
    create(made)
    assert tree_of(tmp_path)["d"]["mode"] == 0o700
    assert sorted(os.listdir(tmp_path)) == ["d", "f", "g", "victim"]


@pytest.mark.parametrize(
    ("changed", "stayed"),
    [
        ("nothing", []),
        ("a file in the directory", ["a", "a/b"]),
        ("content in the file", ["f"]),
        ("no directory any more", []),
        ("no file any more", []),
        ("a link for the directory", ["a", "a/b"]),
        ("a link for the file", ["f"]),
        ("a directory for the file", ["f"]),
    ],
)
def test_only_what_is_still_empty_is_removed(tmp_path: Path, changed: str, stayed: list[str]) -> None:
    made = missing([bind(tmp_path / "a/b"), bind(tmp_path / "f", "FileOrCreate")])
    create(made)
    directory, file = tmp_path / "a/b", tmp_path / "f"
    if changed == "a file in the directory":
        (directory / "x").write_bytes(b"")
    elif changed == "content in the file":
        file.write_bytes(b"x")
    elif changed.endswith("any more"):
        directory.rmdir()
        file.unlink()
    elif changed == "a link for the directory":
        directory.rmdir()
        directory.symlink_to("/")
    elif changed.endswith("for the file"):
        file.unlink()
        file.symlink_to("a") if "link" in changed else file.mkdir()
    for _again in range(2):
        assert sorted(remove_created(made)) == [str(tmp_path / name) for name in stayed]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.name != "x") == stayed


def test_a_mount_inside_of_another_one(node: Path) -> None:
    outer = bind(node, "", "/host")

    def inner(target: str, kind: str = "") -> Bind:
        return bind(node / "directory", kind, target)

    assert missing([outer, inner("/host/directory"), inner("/hosts"), inner("/host/link to nothing")]) == []
    with pytest.raises(Refusal, match=f"Expected {node}/new to be there, because /host/new is mounted inside of /host"):
        missing([outer, inner("/host/new")])
    made = missing([outer, inner("/host/made"), bind(node / "made", "DirectoryOrCreate", "/made")])
    assert [entry["path"] for entry in made] == [str(node / "made")]
    empty = bind(node / "working", "emptyDir", "/host")
    assert missing([empty, inner("/host/new")]) == [directory(node / "working", 0o777)]
    nearer = bind(node / "directory", "", "/host/directory")
    with pytest.raises(Refusal, match=f"Expected {node}/directory/new to be there"):
        missing([outer, nearer, inner("/host/directory/new")])
