# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record what a directory holds before somebody else's program runs, and put it back."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import record
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Difference, Left


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a bit of everything."""
    root = tmp_path / "etc"
    (root / "conf.d").mkdir(parents=True)
    (root / "empty").mkdir(mode=0o700)
    (root / "config.toml").write_text("version = 2\n")
    (root / "config.toml").chmod(0o640)
    (root / "conf.d/a.toml").write_text("a = 1\n")
    (root / "link").symlink_to("config.toml")
    os.mkfifo(root / "fifo")
    return root


def listing(root: Path) -> dict[str, t.Any]:
    """Return all that counts of a directory."""
    found = {}
    for path, entry in record.index([str(root)]).items():
        content = Path(path).read_bytes() if entry["type"] == "file" else b""
        found[path] = ({key: entry[key] for key in entry if key not in ("mtime_ns", "ctime_ns", "inode")}, content)
    return found


def restore(store: str) -> list[str]:
    """Put everything back in one go; return the paths that had changed."""
    changed, kept = record.restore(store, record.seen(store))
    assert kept == []
    return changed


CHANGES = {
    "nothing": "true",
    "written again": "echo 'version = 2' > config.toml",
    "written": "echo 'version = 3' > config.toml",
    "replaced": "cp conf.d/a.toml new; mv new config.toml",
    "another mode": "chmod 600 config.toml",
    "another mode of a directory": "chmod 755 empty",
    "removed": "rm config.toml",
    "a directory removed": "rm -r conf.d",
    "all removed": "cd ..; rm -r etc",
    "added": "echo b > conf.d/b.toml",
    "a directory added": "mkdir -p x/y; touch x/y/z",
    "another link": "ln -sfn conf.d link",
    "a file becomes a directory": "rm config.toml; mkdir -p config.toml/x",
    "a directory becomes a file": "rm -r conf.d; echo x > conf.d",
    "a directory becomes a link": "rm -r conf.d; ln -s /etc conf.d",
    "the fifo removed": "rm fifo",
}


@pytest.mark.parametrize("what", CHANGES)
def test_all_comes_back(tmp_path: Path, root: Path, what: str) -> None:
    store = str(tmp_path / "store")
    before = listing(root)
    record.take(store, [str(root)])
    subprocess.run(["sh", "-ec", CHANGES[what]], cwd=root, check=True)
    changed = listing(root) != before
    assert bool(record.changes(store)) is changed
    for _again in range(2):
        assert bool(restore(store)) is changed
        assert listing(root) == before
        changed = False


def test_what_somebody_mends_after_a_failure_stays(tmp_path: Path, root: Path) -> None:
    store = str(tmp_path / "store")
    record.take(store, [str(root)])
    (root / "config.toml").write_text("version = 3\n")
    (root / "conf.d/a.toml").unlink()
    (root / "conf.d/b.toml").write_text("b = 1\n")
    (root / "link").unlink()
    (root / "link").symlink_to("conf.d")
    seen = record.seen(store)
    # Rolling back failed before it came to any file, or half-way: then something of its own is there, too.
    Path(files.temporary(str(root / "config.toml"))).write_text("vers")
    (root / "conf.d/b.toml").unlink()
    (root / "config.toml").write_text("version = 2\nmended = true\n")
    (root / "conf.d/c.toml").write_text("mine\n")
    _changed, kept = record.restore(store, seen)
    assert kept == [str(root / "conf.d/c.toml"), str(root / "config.toml")]
    assert (root / "config.toml").read_text() == "version = 2\nmended = true\n"
    assert (root / "conf.d/a.toml").read_text() == "a = 1\n"
    assert sorted(path.name for path in (root / "conf.d").iterdir()) == ["a.toml", "c.toml"]
    assert os.readlink(root / "link") == "config.toml"
    assert not os.path.lexists(files.temporary(str(root / "config.toml")))
    assert record.restore(store, seen) == ([], kept)


def test_what_changed_has_a_name(tmp_path: Path, root: Path) -> None:
    store = str(tmp_path / "store")
    record.take(store, [str(root), str(tmp_path / "none")])
    (root / "config.toml").write_text("x")
    (root / "link").unlink()
    (tmp_path / "none").mkdir()
    found = {os.path.relpath(path, tmp_path): pair for path, pair in record.changes(store).items()}
    assert {path: [bool(one) for one in pair] for path, pair in found.items()} == {
        "etc/config.toml": [True, True],
        "etc/link": [True, False],
        "none": [False, True],
    }
    restore(store)
    assert not (tmp_path / "none").exists()


def test_what_is_excluded_stays(tmp_path: Path, root: Path) -> None:
    store, ours = str(tmp_path / "store"), root / "ours.service"
    ours.write_text("1")
    record.take(store, [str(root)], [str(ours)])
    ours.write_text("2")
    assert restore(store) == []
    ours.unlink()
    assert restore(store) == []


def test_a_directory_that_is_reached_through_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    store = str(tmp_path / "store")
    record.take(store, [str(tmp_path / "alias"), str(root / "conf.d")])
    (root / "conf.d/a.toml").write_text("other")
    assert restore(store) == [str(root / "conf.d/a.toml")]
    assert (root / "conf.d/a.toml").read_text() == "a = 1\n"


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/opt/kata", "/opt/kata/bin", "/opt/kata-2", "/opt/kata"], ["/opt/kata", "/opt/kata-2"]),
        (["/", "/etc"], ["/"]),
        ([], []),
    ],
)
def test_outermost(paths: list[str], expected: list[str]) -> None:
    assert record.outermost(paths) == expected


def test_a_copy_that_has_no_room(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SPARE", 1 << 60)
    with pytest.raises(Refusal, match="room for a copy"):
        record.take(str(tmp_path / "store"), [str(root)])


def test_without_a_record_nothing_has_changed(tmp_path: Path) -> None:
    assert record.changes(str(tmp_path / "none")) == {}
    assert restore(str(tmp_path / "none")) == []


# Over several commands.


def command(tmp_path: Path, root: Path, left: Left, script: str, number: int) -> Left:
    """Run one command between a record and its comparison."""
    store = str(tmp_path / f"store-{number}")
    for path in record.edited(left):
        left[path]["edited"] = True
    record.take(store, [str(root)])
    subprocess.run(["sh", "-ec", script], cwd=root, check=True)

    def is_as_before(path: str, item: Difference) -> bool:
        return record.same(item["before"], item["after"], record.saved(str(tmp_path / "store-0"), path), path)

    return record.merge(left, record.changes(store), is_as_before)


@pytest.mark.parametrize(
    ("scripts", "left"),
    [
        (["echo x > new"], {"new"}),
        (["echo x > new", "rm new"], set()),
        (["echo x >> config.toml", "echo 'version = 2' > config.toml"], set()),
        (["echo x >> config.toml", "rm config.toml"], {"config.toml"}),
        (["rm config.toml", "echo 'version = 2' > config.toml; chmod 640 config.toml"], set()),
        (["rm config.toml", "echo other > config.toml"], {"config.toml"}),
        (["mkdir d; echo x > d/f", "rm d/f"], {"d"}),
        (["echo x > new", "true", "echo y > new"], {"new"}),
    ],
)
def test_what_is_left_after_several_commands(tmp_path: Path, root: Path, scripts: list[str], left: set[str]) -> None:
    found: Left = {}
    for number, script in enumerate(scripts):
        found = command(tmp_path, root, found, script, number)
    assert {os.path.relpath(path, root) for path in found} == left
    assert record.edited(found) == set()


@pytest.mark.parametrize("script", ["echo mine >> new", "rm new", "chmod 600 new", "rm new; mkdir new"])
def test_an_edit_in_between_is_seen(tmp_path: Path, root: Path, script: str) -> None:
    left = command(tmp_path, root, {}, "echo x > new", 0)
    subprocess.run(["sh", "-ec", script], cwd=root, check=True)
    assert record.edited(left) == {str(root / "new")}
    left = command(tmp_path, root, left, "true", 1)
    assert left[str(root / "new")]["edited"]
