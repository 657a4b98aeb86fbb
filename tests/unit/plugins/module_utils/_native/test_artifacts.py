# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts under the prefix: what is decided about each file, and that every step of the swap can be taken back."""

from __future__ import annotations

import contextlib
import itertools
import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts, swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import mounts as mounts_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree, TreeEntry
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.staged import working_directory
from ansible_collections.confidential_containers.runtime.tests.unit.archives import digest_of, tree_of

CONFIGURATION = "share/defaults/kata-containers/configuration-qemu.toml"


def a_file(content: str = "x", mode: int = 0o644) -> TreeEntry:
    return {"type": "file", "mode": mode, "size": len(content), "digest": digest_of(content.encode())}


def a_link(target: str) -> TreeEntry:
    return {"type": "link", "target": target}


def a_directory(mode: int = 0o755) -> TreeEntry:
    return {"type": "directory", "mode": mode}


# The decision about one file.

#: The payload's entry: none, the same as the receipt's, or another one.
NONE, SAME, OTHER = "none", "same", "other"

DECISIONS = {
    # receipt's, payload's, found    → of a configuration file, of any other
    (NONE, OTHER, "absent"): ("add", "add"),
    (NONE, OTHER, "foreign"): ("conflict", "conflict"),
    (SAME, NONE, "absent"): ("gone", "gone"),
    (SAME, NONE, "ours"): ("remove", "remove"),
    (SAME, NONE, "changed"): ("edited", "remove"),
    (SAME, SAME, "absent"): ("add", "add"),
    (SAME, SAME, "ours"): ("keep", "keep"),
    (SAME, SAME, "changed"): ("edited", "replace"),
    (SAME, OTHER, "absent"): ("add", "add"),
    (SAME, OTHER, "ours"): ("replace", "replace"),
    (SAME, OTHER, "changed"): ("edited", "replace"),
}


def test_the_table_is_complete() -> None:
    def possible(old: str, new: str, found: str) -> bool:
        # Without a receipt nothing is ours, with one nothing is foreign; one of them has the file.
        return (old == NONE) == (found == "foreign") if found != "absent" else (old, new) != (NONE, NONE)

    states = itertools.product((NONE, SAME), (NONE, SAME, OTHER), ("absent", "ours", "changed", "foreign"))
    reachable = {state for state in states if possible(*state) and state[:2] not in {(NONE, NONE), (NONE, SAME)}}
    assert reachable == set(DECISIONS)


@pytest.mark.parametrize(("state", "decisions"), DECISIONS.items(), ids="-".join)
@pytest.mark.parametrize("configuration", [True, False], ids=["configuration", "other"])
def test_decide(state: tuple[str, str, str], decisions: tuple[str, str], configuration: bool) -> None:
    entries = {NONE: None, SAME: a_file("x"), OTHER: a_file("y")}
    old, new, found = state
    decided = artifacts.decide(entries[old], entries[new], found, configuration)
    assert decided == decisions[0 if configuration else 1]


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        (a_file(), a_file(), True),
        (a_file(), {**a_file(), "mtime_ns": 1, "inode": 2}, True),
        (a_file(), a_file("y"), False),
        (a_file(), a_file(mode=0o755), False),
        (a_file(), a_link("x"), False),
        (a_link("x"), a_link("x"), True),
        (a_link("x"), a_link("y"), False),
    ],
)
def test_same(one: TreeEntry, two: TreeEntry, same: bool) -> None:
    assert artifacts.same(one, two) is same


@pytest.mark.parametrize(
    ("path", "configuration"),
    [
        (CONFIGURATION, True),
        ("share/defaults/kata-containers/configuration.toml", True),
        ("share/defaults/kata-containers/runtime-rs/configuration-dragonball.toml", True),
        ("share/defaults/kata-containers/configuration-qemu.toml.bak", False),
        ("share/defaults/configuration.toml", False),
        ("share/kata-containers/configuration.toml", False),
        ("bin/configuration.toml", False),
        ("x/share/defaults/kata-containers/configuration.toml", False),
    ],
)
def test_is_configuration(path: str, configuration: bool) -> None:
    assert layouts.is_configuration(path) is configuration


# What stands at a path.


def install(root: Path, tree: t.Mapping[str, TreeEntry | tuple[str, int] | str]) -> None:
    """Put files (content and mode) and links (target) where an installation has them."""
    for name, what in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(what, str):
            path.symlink_to(what)
        elif isinstance(what, tuple):
            path.write_text(what[0])
            path.chmod(what[1])


def signed(root: Path) -> Tree:
    return {name: artifacts.sign(str(root / name), entry) for name, entry in tree_of(root).items()}


Do = t.Callable[[Path], t.Any]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root alone gives files away, and capabilities to them")
#: As setcap(8) has it for cap_net_raw=ep, and without the effective bit.
NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
NET_RAW_P = bytes.fromhex("0000000200200000000000000000000000000000")
#: The same in the third revision, of root's own namespace, of which the kernel makes the second.
NET_RAW_3 = bytes.fromhex("010000030020000000000000000000000000000000000000")


def rewrite(path: Path, content: str, keep_time: bool = False) -> None:
    before = path.stat()
    path.write_text(content)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def renew(path: Path, content: str, mode: int) -> None:
    path.unlink()
    path.write_text(content)
    path.chmod(mode)


def become_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_link(path: Path) -> None:
    path.rename(f"{path}.moved")
    path.symlink_to(f"{path.name}.moved")


@pytest.mark.parametrize(
    ("name", "do", "found"),
    [
        pytest.param("file", lambda path: None, "ours", id="a file"),
        pytest.param("file", os.utime, "ours", id="a file, touched"),
        pytest.param("file", lambda path: renew(path, "content", 0o644), "ours", id="a file, restored"),
        pytest.param("file", lambda path: renew(path, "content", 0o600), "changed", id="a file, restored with another mode"),
        pytest.param("file", lambda path: path.chmod(0o600), "changed", id="a file's mode"),
        pytest.param("file", lambda path: path.chmod(0o4644), "changed", id="a file, setuid"),
        pytest.param("file", lambda path: os.chown(path, 1, -1), "changed", id="a file's owner", marks=AS_ROOT),
        pytest.param("file", lambda path: os.setxattr(path, files.CAPABILITY, NET_RAW), "changed", id="a file's capability", marks=AS_ROOT),
        pytest.param("file", lambda path: rewrite(path, "CONTENT"), "changed", id="a file's content"),
        pytest.param("file", lambda path: rewrite(path, "longer content", True), "changed", id="a file's size"),
        pytest.param("file", lambda path: path.unlink(), "absent", id="a file, removed"),
        pytest.param("file", become_directory, "changed", id="a file, now a directory"),
        pytest.param("file", become_link, "changed", id="a file, now a link"),
        pytest.param("link", lambda path: None, "ours", id="a link"),
        pytest.param("link", lambda path: path.unlink() or path.symlink_to("other"), "changed", id="a link's target"),
        pytest.param("link", lambda path: path.unlink() or path.write_text("x"), "changed", id="a link, now a file"),
        pytest.param("link", lambda path: path.unlink(), "absent", id="a link, removed"),
        pytest.param("directory", lambda path: None, "ours", id="a directory"),
        pytest.param("directory", lambda path: path.rmdir(), "absent", id="a directory, removed"),
        pytest.param("directory", lambda path: path.rmdir() or path.write_text("x"), "changed", id="a directory, now a file"),
        pytest.param("directory", lambda path: path.rmdir() or path.symlink_to("."), "changed", id="a directory, now a link"),
    ],
)  # fmt: skip
def test_compare_and_drift(tmp_path: Path, name: str, do: Do, found: str) -> None:
    root = tmp_path / "prefix"
    install(root, {"file": ("content", 0o644), "link": "file"})
    (root / "directory").mkdir()
    tree = signed(root)
    do(root / name)
    assert artifacts.compare(str(root / name), tree[name]) == found
    drift = {} if found == "ours" else {name: {"absent": "missing"}.get(found, found)}
    assert artifacts.drift(str(root), {name: tree[name]}) == drift


@AS_ROOT
@pytest.mark.parametrize(
    ("installed", "there", "found"),
    [
        (NET_RAW, NET_RAW, "ours"),
        (NET_RAW_3, NET_RAW_3, "ours"),
        (NET_RAW, NET_RAW_P, "changed"),
        (NET_RAW, None, "changed"),
    ],
    ids=["the same", "another revision", "not effective", "none"],
)
def test_a_capability(tmp_path: Path, installed: bytes, there: bytes | None, found: str) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    path.chmod(0o644)
    if there:
        os.setxattr(path, files.CAPABILITY, there)
    entry = artifacts.sign(str(path), {**a_file("x"), "capability": installed.hex()})
    for verify in (False, True):
        assert artifacts.compare(str(path), entry, verify) == found


def test_a_file_below_what_is_no_directory_any_more_is_absent(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("x")
    assert artifacts.compare(str(tmp_path / "d/x"), a_file()) == "absent"


def test_what_the_receipt_does_not_know_is_foreign(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert artifacts.compare(str(tmp_path / "x"), None) == "foreign"
    assert artifacts.compare(str(tmp_path / "dangling"), None) == "foreign"
    assert artifacts.compare(str(tmp_path / "missing"), None) == "absent"


def test_drift_calls_a_changed_configuration_edited(tmp_path: Path) -> None:
    install(tmp_path, {CONFIGURATION: ("x", 0o644), "bin/x": ("x", 0o755), "bin/y": ("y", 0o755)})
    tree = signed(tmp_path)
    assert artifacts.drift(str(tmp_path), tree) == {}
    (tmp_path / CONFIGURATION).write_text("mine")
    (tmp_path / "bin/x").write_text("mine")
    (tmp_path / "bin/y").unlink()
    assert artifacts.drift(str(tmp_path), tree) == {CONFIGURATION: "edited", "bin/x": "changed", "bin/y": "missing"}


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    """The receipt's digest is a lie that only reading would find out."""
    install(tmp_path, {"x": ("content", 0o644)})
    entry = signed(tmp_path)["x"]
    assert artifacts.compare(str(tmp_path / "x"), {**entry, "digest": "sha256:lie"}) == "ours"
    os.utime(tmp_path / "x")
    assert artifacts.compare(str(tmp_path / "x"), {**entry, "digest": "sha256:lie"}) == "changed"


# The changes.


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "opt/confidential-containers"


FIRST = {
    "bin": a_directory(),
    "bin/same": a_file("same", 0o755),
    "bin/other": a_file("other", 0o755),
    "bin/gone": a_file("gone", 0o755),
    "share": a_directory(),
    "share/defaults": a_directory(),
    "share/defaults/kata-containers": a_directory(),
    CONFIGURATION: a_file("configuration"),
    "link": a_link("bin/same"),
}
ON_DISK: dict[str, t.Any] = {
    "bin/same": ("same", 0o755),
    "bin/other": ("other", 0o755),
    "bin/gone": ("gone", 0o755),
    CONFIGURATION: ("configuration", 0o644),
    "link": "bin/same",
}
SECOND = {
    **{name: entry for name, entry in FIRST.items() if name != "bin/gone"},
    "bin/other": a_file("another", 0o755),
    "bin/new": a_file("new", 0o755),
    "new": a_directory(),
    "new/file": a_file("file"),
    "link": a_link("bin/new"),
}


def test_a_fresh_installation(prefix: Path) -> None:
    changes = artifacts.Comparison(str(prefix), {}, FIRST).changes()
    assert changes["add"] == sorted(name for name, entry in FIRST.items() if entry["type"] != "directory")
    below = ("bin", "share", "share/defaults", "share/defaults/kata-containers")
    assert changes.directories == [str(prefix.parent), str(prefix), *(f"{prefix}/{name}" for name in below)]
    assert changes.any
    assert not any(changes[decision] for decision in ("replace", "remove", "keep", "edited", "gone"))


def test_nothing_to_do(prefix: Path) -> None:
    install(prefix, ON_DISK)
    changes = artifacts.Comparison(str(prefix), signed(prefix), FIRST).changes()
    assert not changes.any
    assert changes["keep"] == sorted(FIRST)


def test_an_upgrade(prefix: Path) -> None:
    install(prefix, ON_DISK)
    changes = artifacts.Comparison(str(prefix), signed(prefix), SECOND).changes()
    assert changes["add"] == ["bin/new", "new/file"]
    assert changes["replace"] == ["bin/other", "link"]
    assert changes["remove"] == ["bin/gone"]
    assert changes.directories == [f"{prefix}/new"]
    assert changes.any


def test_an_uninstallation(prefix: Path) -> None:
    install(prefix, ON_DISK)
    tree = signed(prefix)
    (prefix / CONFIGURATION).write_text("mine")
    (prefix / "bin/gone").unlink()
    (prefix / "bin/of the admin").write_text("mine")
    changes = artifacts.Comparison(str(prefix), tree, {}).changes()
    assert changes["remove"] == ["bin/other", "bin/same", "link"]
    assert changes["edited"] == [CONFIGURATION]
    assert changes.directories == []


def test_a_repair(prefix: Path) -> None:
    install(prefix, ON_DISK)
    tree = signed(prefix)
    (prefix / "bin/same").write_text("damaged")
    (prefix / "bin/other").unlink()
    (prefix / CONFIGURATION).write_text("mine")
    changes = artifacts.Comparison(str(prefix), tree, FIRST).changes()
    assert (changes["add"], changes["replace"], changes["edited"]) == (["bin/other"], ["bin/same"], [CONFIGURATION])


@pytest.mark.parametrize(
    ("there", "named"),
    [
        pytest.param({"bin/same": ("mine", 0o644)}, ["bin/same"], id="a file"),
        pytest.param({"bin/same": "/etc/passwd"}, ["bin/same"], id="a link in a file's place"),
        pytest.param({"link": ("mine", 0o644)}, ["link"], id="a file in a link's place"),
        pytest.param({"bin": ("mine", 0o644)}, ["bin"], id="a file in a directory's place"),
        pytest.param({"bin": "elsewhere", "elsewhere/x": ("", 0o644)}, ["bin"], id="a link in a directory's place"),
        pytest.param({"bin/same/x": ("mine", 0o644)}, ["bin/same"], id="a directory in a file's place"),
        pytest.param({f"{CONFIGURATION}/x": ("mine", 0o644)}, [CONFIGURATION], id="a directory in a configuration file's place"),
        pytest.param(
            {"bin/gone": "x", "bin/other": "x", "bin/same": "x", "link": ("x", 0o644)}, ["bin/gone", "and 1 more"], id="many"
        ),
    ],
)  # fmt: skip
def test_a_file_of_the_user_s_in_our_place_is_refused(prefix: Path, there: dict[str, t.Any], named: list[str]) -> None:
    install(prefix, there)
    with pytest.raises(Refusal, match="Move them away") as refused:
        artifacts.Comparison(str(prefix), {}, FIRST).changes()
    for words in named:
        assert words in str(refused.value)


#: Content of a configuration file that no receipt knows, and of how it is to be treated → what happens to it.
FORGOTTEN = {
    ("configuration", False, True): "keep",
    ("configuration", True, False): "keep",
    ("mine", False, True): "edited",
    ("mine", False, False): "aside",
    ("mine", True, True): "aside",
}


@pytest.mark.parametrize(("state", "decision"), FORGOTTEN.items(), ids=str)
def test_a_configuration_file_whose_installation_a_cleanup_has_forgotten(
    prefix: Path, state: tuple[str, bool, bool], decision: str
) -> None:
    """It counts as one that its admin has edited, and is never lost."""
    content, keep_aside, keep_edited = state
    install(prefix, {CONFIGURATION: (content, 0o644)})
    changes = artifacts.Comparison(str(prefix), {}, FIRST, keep_aside, keep_edited).changes()
    assert changes.kept == ([CONFIGURATION] if decision == "aside" else [])
    assert CONFIGURATION in changes["add" if decision == "aside" else decision]


def test_a_link_in_the_place_of_a_configuration_file_counts_as_edited(prefix: Path) -> None:
    install(prefix, {CONFIGURATION: "configuration-clh.toml"})
    assert artifacts.Comparison(str(prefix), {}, FIRST).changes()["edited"] == [CONFIGURATION]


def test_what_an_uninstallation_leaves_to_the_user(prefix: Path) -> None:
    """Edited files, and what was kept aside for them; nothing that they have removed since."""
    install(prefix, {CONFIGURATION: ("mine", 0o644), f"{CONFIGURATION}.kept": ("theirs", 0o644)})
    left = {CONFIGURATION: a_file(), "share/defaults/x/configuration.toml": a_file()}
    receipt = Receipt(prefix=str(prefix), left=left, kept=[CONFIGURATION])
    assert artifacts.staying(receipt) == [f"{prefix}/{CONFIGURATION}", f"{prefix}/{CONFIGURATION}.kept"]
    assert artifacts.staying(replace(receipt, tree=FIRST)) == [f"{prefix}/{CONFIGURATION}"]
    assert artifacts.staying(Receipt()) == []
    (prefix / CONFIGURATION).unlink()  # what was kept aside for it can come back
    assert artifacts.staying(receipt) == []


def test_a_directory_that_is_there_already_is_used(prefix: Path) -> None:
    install(prefix, {"bin/of the admin": ("mine", 0o644)})
    changes = artifacts.Comparison(str(prefix), {}, FIRST).changes()
    assert f"{prefix}/bin" not in changes.directories
    assert f"{prefix}/share" in changes.directories
    assert "bin/same" in changes["add"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param({"x": "bin/same"}, {"x": a_directory(), "x/y": a_file("y")}, id="a link becomes a directory"),
        pytest.param({"x": ("x", 0o644)}, {"x": a_directory(), "x/y": a_file("y")}, id="a file becomes a directory"),
        pytest.param({"x/y": ("y", 0o644)}, {"x": a_file("x")}, id="a directory becomes a file"),
        pytest.param({"x/y": ("y", 0o644)}, {"x": a_link("z"), "z": a_directory()}, id="a directory becomes a link"),
    ],
)
def test_an_upgrade_that_turns_a_directory_into_something_else_or_back_is_refused(
    prefix: Path, old: dict[str, t.Any], new: dict[str, TreeEntry]
) -> None:
    install(prefix, old)
    with pytest.raises(Refusal, match="Uninstall the old payload first"):
        artifacts.Comparison(str(prefix), signed(prefix), new).changes()


IMMUTABLE = {
    # what the file system protects  → what the refusal of an upgrade names, None: none
    "bin/other": "bin/other",  # replaced
    "bin/gone": "bin/gone",  # removed
    "bin/same": None,  # kept
    CONFIGURATION: None,
    "bin": "bin",  # in which a file is replaced, added or removed
    "share": None,  # in which all stays
    "": "",  # in which a directory is added
}


@pytest.mark.parametrize(("protected", "named"), IMMUTABLE.items(), ids=[name or "prefix" for name in IMMUTABLE])
def test_what_the_file_system_keeps_as_it_is(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, protected: str, named: str | None
) -> None:
    """Refused before anything changes where it is in the way, and only there."""
    install(prefix, ON_DISK)
    tree = signed(prefix)
    monkeypatch.setattr(files, "is_immutable", lambda path: Path(path) == prefix / protected)
    if named is None:
        assert artifacts.Comparison(str(prefix), tree, SECOND).changes().any
    else:
        with pytest.raises(Refusal, match="chattr") as refused:
            artifacts.Comparison(str(prefix), tree, SECOND).changes()
        assert refused.value.found.startswith(f"{prefix / named}, ")


def test_an_immutable_file_of_the_user_s_is_not_kept_aside(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(prefix, {"bin/same": ("mine", 0o644)})
    monkeypatch.setattr(files, "is_immutable", lambda path: Path(path) == prefix / "bin/same")
    with pytest.raises(Refusal, match="chattr"):
        artifacts.Comparison(str(prefix), {}, FIRST, keep_aside=True).changes()


# The swap, and the way back.


def content_of(entry: TreeEntry) -> str:
    words = ("same", "other", "another", "gone", "new", "file", "configuration", "x", "y")
    return next(word for word in words if digest_of(word.encode()) == entry["digest"])


def upgrade(prefix: Path, old: Tree, new: Tree) -> Swap:
    """Stage a payload and return the run that swaps it in, as payload_artifacts does."""
    changes = artifacts.Comparison(str(prefix), old, new, keep_aside=True).changes()
    prefix.parent.parent.mkdir(exist_ok=True)
    directory = Path(working_directory(str(prefix)))
    staged = directory / "0123456789abcdef"
    for name, entry in new.items():
        path = staged / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry["type"] == "directory":
            path.mkdir(exist_ok=True)
            path.chmod(entry["mode"])
        elif entry["type"] == "link":
            path.symlink_to(entry["target"])
        else:
            path.write_text(content_of(entry))
            path.chmod(entry["mode"])
    return Swap(
        prefix=str(prefix),
        staged=str(staged),
        aside=str(directory / "aside-fedcba9876543210"),
        **{decision: changes[decision] for decision in ("add", "replace", "remove")},
        editable={path: new[path] for path in changes["add"] + changes["replace"] if layouts.is_configuration(path)},
        directories=changes.directories,
        kept=changes.kept,
    )


def everything(root: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return all that there is to know about each file below a directory, its inode included."""
    found: dict[str, tuple[t.Any, ...]] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        content: t.Any = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(root))] = (state.st_ino, state.st_mode, state.st_nlink * path.is_file(), content)
    return found


class Crash(BaseException):
    """The process ends here."""


STEPS = ("mkdir", "chmod", "link", "rename", "unlink", "rmdir")


def crash_at(monkeypatch: pytest.MonkeyPatch, number: int, do: t.Callable[..., object], *args: t.Any) -> bool:
    """Do something, but end before the step of that number; tell whether it came so far."""
    steps = itertools.count()

    def counted(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*args: t.Any, **options: t.Any) -> t.Any:
            if next(steps) == number:
                raise Crash
            return real(*args, **options)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            do(*args)
        except Crash:
            return True
    return False


def test_a_fresh_swap_brings_the_tree(prefix: Path, tmp_path: Path) -> None:
    run = upgrade(prefix, {}, FIRST)
    swap.swap_in(run)
    swap.prune(run)
    assert tree_of(prefix) == FIRST
    assert os.listdir(tmp_path) == ["opt"]
    assert os.listdir(prefix.parent) == [prefix.name]


def test_a_swap_keeps_the_modes_of_directories(prefix: Path) -> None:
    tree = {"private": a_directory(0o700), "private/x": a_file("x"), "shared": a_directory(0o775)}
    swap.swap_in(upgrade(prefix, {}, tree))
    assert tree_of(prefix) == tree


def test_an_upgrade_replaces_by_rename_and_removes_at_the_end(prefix: Path) -> None:
    install(prefix, ON_DISK)
    before = everything(prefix)
    run = upgrade(prefix, signed(prefix), SECOND)
    with (prefix / "bin/other").open() as running:
        swap.swap_in(run)
        after = everything(prefix)
        assert after["bin/same"] == before["bin/same"]
        assert after["bin/other"][0] != before["bin/other"][0]
        assert (prefix / "bin/gone").exists()
        assert (Path(run.aside) / "bin/other").lstat().st_ino == before["bin/other"][0]
        assert os.readlink(Path(run.aside) / "link") == "bin/same"
        for _dummy in range(2):
            swap.prune(run)
            assert tree_of(prefix) == SECOND
            assert os.listdir(prefix.parent) == [prefix.name]
        assert running.read() == "other"


def test_an_edited_configuration_stays(prefix: Path) -> None:
    install(prefix, ON_DISK)
    tree = signed(prefix)
    (prefix / CONFIGURATION).write_text("mine")
    before = everything(prefix)
    run = upgrade(prefix, tree, {**SECOND, CONFIGURATION: a_file("new")})
    swap.swap_in(run)
    swap.prune(run)
    assert everything(prefix)[CONFIGURATION] == before[CONFIGURATION]


@pytest.mark.parametrize("kept", [(), ("bin/same", "bin/other/mine", "lib")], ids=["", "keeping files of the user's"])
@pytest.mark.parametrize("fresh", [True, False], ids=["installation", "upgrade"])
def test_put_back_from_every_point_of_the_swap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool, kept: tuple[str, ...]
) -> None:
    points = 0
    for number in itertools.count():
        prefix = tmp_path / str(number) / "opt/confidential-containers"
        prefix.parent.parent.mkdir()
        if not fresh:
            install(prefix, ON_DISK)
        for name in kept if fresh else ():
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).write_text("mine")
        before = everything(prefix.parent.parent)
        run = upgrade(prefix, {} if fresh else signed(prefix), FIRST if fresh else SECOND)
        points = number
        went_on = crash_at(monkeypatch, number, swap.swap_in, run)
        for _dummy in range(2):
            swap.put_back(run)
            assert everything(prefix.parent.parent) == before
        if not went_on:
            break
    assert points > 8


@pytest.mark.parametrize("undo", [swap.put_back, swap.prune], ids=["put back", "prune"])
def test_an_end_that_is_interrupted_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo: t.Callable[[Swap], object]
) -> None:
    expected: dict[str, t.Any] = {}
    points = 0
    for number in itertools.count():
        prefix = tmp_path / str(number) / "opt/confidential-containers"
        install(prefix, ON_DISK)
        before = everything(prefix.parent.parent)
        run = upgrade(prefix, signed(prefix), SECOND)
        swap.swap_in(run)
        points = number
        went_on = crash_at(monkeypatch, number, undo, run)
        undo(run)
        found = tree_of(prefix.parent.parent)
        expected = expected or found
        assert found == expected, f"interrupted before step {number}"
        if undo is swap.put_back:
            assert everything(prefix.parent.parent) == before
        if not went_on:
            break
    assert points > 4
    assert not any(".confidential-containers" in name for name in expected)


@pytest.mark.parametrize("fresh", [True, False], ids=["added", "replaced"])
@pytest.mark.parametrize("how", ["in place", "by rename"])
def test_a_configuration_that_was_edited_after_the_swap_is_not_put_back(prefix: Path, fresh: bool, how: str) -> None:
    if not fresh:
        install(prefix, ON_DISK)
    old = {} if fresh else signed(prefix)
    run = upgrade(prefix, old, {**FIRST, CONFIGURATION: a_file("other")})
    swap.swap_in(run)
    path = prefix / CONFIGURATION
    if how == "by rename":
        path.with_name("new").write_text("mine")
        path.with_name("new").rename(path)
    else:
        path.write_text("mine")
    (prefix / "bin/other").write_text("no configuration, and so ours")
    assert swap.put_back(run) == [CONFIGURATION]
    assert path.read_text() == "mine"
    assert (prefix / "bin/other").exists() is not fresh
    assert not os.path.lexists(run.staged)
    assert not os.path.lexists(run.aside)
    swap.put_back(run)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("mount", "old", "new", "refused"),
    [
        ("", {}, {"share/x": a_file()}, False),
        ("share", {}, {"share/x": a_file()}, True),
        ("share", {"share/x": a_file()}, {}, True),
        ("share/x", {}, {"share/x": a_file()}, True),
        ("share/empty", {}, {"share": a_directory(), "share/empty": a_directory()}, False),
        ("share/mine", {}, {"share/x": a_file()}, False),
    ],
)
def test_a_mount_below_the_prefix(
    prefix: Path, monkeypatch: pytest.MonkeyPatch, mount: str, old: Tree, new: Tree, refused: bool
) -> None:
    """Artifacts could not be renamed into it; what lies under it could not be removed."""
    monkeypatch.setattr(mounts_module, "below", lambda directory: [mount] if mount else [])
    with pytest.raises(Refusal, match=f"mounted at {prefix}/{mount}") if refused else contextlib.nullcontext():
        artifacts.Comparison(str(prefix), old, new).changes()


def test_a_file_with_the_same_size_time_and_inode_is_only_told_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    path.chmod(0o644)
    entry = artifacts.sign(str(path), a_file("abc"))
    with path.open("r+b") as stream:
        stream.write(b"xyz")
    os.utime(path, ns=(entry["mtime_ns"], entry["mtime_ns"]))
    assert artifacts.drift(str(tmp_path), {"x": entry}) == {}
    assert artifacts.drift(str(tmp_path), {"x": entry}, verify=True) == {"x": "changed"}
    assert artifacts.Comparison(str(tmp_path), {"x": entry}, {"x": entry}, verify=True).changes()["replace"] == ["x"]
