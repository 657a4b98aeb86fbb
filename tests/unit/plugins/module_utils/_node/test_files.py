# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are either the old or the new one, with the owner and the mode of the old one."""

from __future__ import annotations

import errno
import json
import os
import signal
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("data", [b"", b"abc", bytes(3 << 20)], ids=["empty", "short", "long"])
def test_digests(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x").write_bytes(data)
    assert files.sha256_file(str(tmp_path / "x")) == files.sha256(data)


def test_the_digest_of_nothing() -> None:
    assert files.sha256(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o644, 0o755])
def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(bits)
    inode = path.stat().st_ino
    with path.open("rb") as reader:
        files.write_atomically(str(path), b"new", mode=0o666)
        assert reader.read() == b"old"
    assert (path.read_bytes(), mode(path)) == (b"new", bits)
    assert path.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["x"]


@ROOT_ONLY
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    os.chown(path, 1234, 4321)
    files.write_atomically(str(path), b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_a_file_keeps_its_extended_attributes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.label", b"ours")
    except OSError:
        pytest.skip("a file system without extended attributes")
    files.write_atomically(str(path), b"new")
    assert os.getxattr(path, "user.label") == b"ours"


class Attributes:
    """Extended attributes of a system that this machine may not have; ``refuses`` is what happens when one is set."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, old: dict[str, bytes], new: dict[str, bytes], refuses: int
    ) -> None:
        self.old, self.new, self.refuses = old, new, refuses
        for name in ("listxattr", "getxattr", "setxattr"):
            monkeypatch.setattr(os, name, getattr(self, name))

    def of(self, file: str | int) -> dict[str, bytes]:
        return self.new if isinstance(file, int) else self.old

    def listxattr(self, file: str | int) -> list[str]:
        return list(self.of(file))

    def getxattr(self, file: str | int, name: str) -> bytes:
        return self.of(file)[name]

    def setxattr(self, file: int, name: str, value: bytes) -> None:
        if self.refuses:
            raise OSError(self.refuses, os.strerror(self.refuses))
        self.new[name] = value


LABEL = {"security.selinux": b"system_u:object_r:container_config_t:s0"}


@pytest.mark.parametrize(
    ("old", "new", "refuses", "outcome"),
    [
        pytest.param(LABEL, {}, 0, LABEL, id="kept"),
        pytest.param(LABEL, LABEL, errno.EACCES, LABEL, id="there by itself"),
        pytest.param(LABEL, {}, errno.EACCES, None, id="a label that may not be given"),
        pytest.param({"system.posix_acl_access": b"x"}, {}, errno.ENOSPC, None, id="an ACL without room"),
        pytest.param({"user.x": b"x"}, {}, errno.ENOTSUP, {}, id="not supported"),
        pytest.param({"security.ima": b"digest", "security.evm": b"x"}, {}, errno.EPERM, {}, id="of the content"),
    ],
)
def test_an_attribute_that_cannot_be_kept_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    old: dict[str, bytes],
    new: dict[str, bytes],
    refuses: int,
    outcome: dict[str, bytes] | None,
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    attributes = Attributes(monkeypatch, old, dict(new), refuses)
    if outcome is None:
        with pytest.raises(
            Refusal, match=rf"x to keep its extended attribute {next(iter(old))}.*{os.strerror(refuses)}"
        ):
            files.write_atomically(str(path), b"new")
        assert path.read_bytes() == b"old"
    else:
        files.write_atomically(str(path), b"new")
        assert path.read_bytes() == b"new"
        assert attributes.new == outcome
    assert os.listdir(tmp_path) == ["x"]


def test_attributes_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> t.Callable[[t.Any], t.NoReturn]:
        def listxattr(file: t.Any) -> t.NoReturn:
            raise OSError(number, os.strerror(number))

        return listxattr

    path = tmp_path / "x"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "listxattr", fail(errno.ENOTSUP))
    files.write_atomically(str(path), b"new")
    monkeypatch.setattr(os, "listxattr", fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        files.write_atomically(str(path), b"newer")
    assert path.read_bytes() == b"new"


def test_a_new_file_has_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write_atomically(str(tmp_path / "x"), b"new")
        files.write_atomically(str(tmp_path / "y"), b"new", mode=0o600)
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in "xy"] == [0o644, 0o600]


@pytest.mark.parametrize("present", [True, False], ids=["with a target", "dangling"])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, present: bool) -> None:
    (tmp_path / "d").mkdir()
    target, path = tmp_path / "d/target", tmp_path / "link"
    path.symlink_to("d/target")
    if present:
        target.write_bytes(b"old")
        target.chmod(0o600)
    files.write_atomically(str(path), b"new")
    assert (os.readlink(path), target.read_bytes()) == ("d/target", b"new")
    assert mode(target) == (0o600 if present else 0o644)
    assert os.listdir(tmp_path / "d") == ["target"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_atomically(str(tmp_path / "x"), b"new")
    assert os.listdir(tmp_path) == ["x"]
    with pytest.raises(FileNotFoundError):
        files.write_atomically(str(tmp_path / "missing/x"), b"new")


def test_a_new_file_waits_in_another_directory(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    path = tmp_path / "d/x"
    for directory in (tmp_path, path.parent):
        Path(files.temporary(str(path), str(directory))).write_bytes(b"left by another write")
    files.write_atomically(str(path), b"new", waiting=str(tmp_path))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["d"]
    assert Path(files.temporary(str(path))).read_bytes() == b"left by another write"


def test_temporary_files_are_nothing_that_an_engine_imports() -> None:
    assert not files.TEMPORARY.endswith((".toml", ".conf"))


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert files.read_json(str(path)) is None
    files.write_json(str(path), {"b": 1, "a": ["ü"]})
    assert files.read_json(str(path)) == {"a": ["ü"], "b": 1}
    assert mode(path) == 0o600
    assert json.loads(path.read_text()) == {"a": ["ü"], "b": 1}


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "tree/below").mkdir(parents=True)
    for name, remove in (("x", files.remove_file), ("link", files.remove_file), ("tree", files.remove_tree)):
        assert remove(str(tmp_path / name))
        assert not remove(str(tmp_path / name))
    assert not os.listdir(tmp_path)


def test_a_tree_is_removed_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/x").write_bytes(b"")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/link").symlink_to("../kept")
    files.remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path / "kept") == ["x"]


def test_directories(tmp_path: Path) -> None:
    deep = tmp_path / "a/b/c"
    expected = [str(tmp_path / name) for name in ("a", "a/b", "a/b/c")]
    before = os.umask(0o077)
    try:
        assert files.missing_directories(str(deep)) == expected
        assert files.make_directories(str(deep)) == expected
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(deep) == 0o755
    assert files.missing_directories(str(deep)) == files.make_directories(str(deep)) == []
    (tmp_path / "a/kept").write_bytes(b"")
    assert files.remove_empty_directories([*expected, str(tmp_path / "missing")]) == [expected[0]]
    assert os.listdir(tmp_path / "a") == ["kept"]


def test_directories_of_a_relative_path_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        assert files.missing_directories("a/b") == ["a", "a/b"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _too_long(*_args: t.Any) -> None:
    raise TimeoutError("still looking for missing directories")


def test_nothing_here_is_immutable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert not any(map(files.is_immutable, (str(tmp_path), *(f"{tmp_path}/{name}" for name in ("file", "link", "no")))))


def test_syncing_what_is_there(tmp_path: Path) -> None:
    files.fsync_directory(str(tmp_path))
    files.sync_filesystem(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        files.sync_filesystem(str(tmp_path / "missing"))
