# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Artifacts come to the prefix and go again: what is refused, what is told, and that a failure at any step leaves nothing."""

from __future__ import annotations

import itertools
import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import (
    installation,
    labels,
    transaction,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.installation import (
    Wanted,
    absent,
    present,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged, unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    CommandDone,
    Installer,
    Payload,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.archives import tree_of

FIRST, SECOND = "sha256:" + "1" * 64, "sha256:" + "2" * 64
CONFIGURATION = "share/defaults/kata-containers/configuration-qemu.toml"
#: Content of each file of the two payloads.
PAYLOADS = {
    FIRST: {"bin/shim": "one", "bin/gone": "gone", CONFIGURATION: "one"},
    SECOND: {"bin/shim": "two", "bin/new": "new", CONFIGURATION: "two"},
}


def write(root: Path, contents: t.Mapping[str, str]) -> None:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


class Node:
    """A node on which payloads are staged and installed, without an engine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = State(str(root / "state"))
        self.opt = root / "opt"
        self.opt.mkdir(parents=True)
        self.prefix = self.opt / "kata"
        self.warnings: list[str] = []

    def stage(self, digest: str, keep: bool = False) -> None:
        directory = staged.staging(str(self.prefix), digest)
        staged.begin(self.state, digest, directory)
        write(Path(directory), PAYLOADS[digest])
        payload = Payload(digest, chain={digest: "manifest"}, layout="kata")
        record = staged.Staged(payload, directory, str(self.prefix), tree_of(Path(directory)), keep)
        staged.remember(self.state, record)

    def present(self, digest: str, check_mode: bool = False, **more: t.Any) -> dict[str, t.Any]:
        return present(self.state, Wanted(digest, str(self.prefix), **more), check_mode, self.warnings.append)

    def absent(self, check_mode: bool = False) -> dict[str, t.Any]:
        return absent(self.state, check_mode, self.warnings.append)

    def commit(self) -> None:
        """End the open run, as serving the handlers does."""
        journal = Journal.find(self.state)
        assert journal is not None
        transaction.finish(self.state, journal)

    def install(self, digest: str) -> None:
        self.stage(digest)
        self.present(digest)
        self.commit()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(unit, "enable", lambda journal: None)
    return Node(tmp_path)


def test_a_first_installation(node: Node) -> None:
    node.stage(FIRST)
    result = node.present(FIRST)
    journal = Journal.find(node.state)
    assert journal is not None
    assert (result["changed"], result["run"]) == (True, journal.run)
    assert result["files"] == {"added": 3, "replaced": 0, "removed": 0, "kept": 0}
    assert f"+ {node.prefix}/bin/shim\n" in result["diff"]["prepared"]
    assert contents(node.prefix) == PAYLOADS[FIRST]
    assert not node.state.receipt().tree
    node.commit()
    receipt = node.state.receipt()
    assert (receipt.prefix, receipt.payload.digest) == (str(node.prefix), FIRST)
    assert {path for path, entry in receipt.tree.items() if "inode" in entry} == set(PAYLOADS[FIRST])
    assert os.listdir(node.opt) == ["kata"]


def test_nothing_to_do(node: Node) -> None:
    node.install(FIRST)
    assert node.present(FIRST) == {
        "changed": False,
        "run": "",
        "files": {"added": 0, "replaced": 0, "removed": 0, "kept": 7},
        "edited": [],
        "diff": {},
    }
    assert Journal.find(node.state) is None


def test_an_upgrade(node: Node) -> None:
    node.install(FIRST)
    node.stage(SECOND)
    result = node.present(SECOND)
    assert result["files"] == {"added": 1, "replaced": 2, "removed": 1, "kept": 4}
    assert result["diff"]["prepared"].startswith(f"payload {FIRST} becomes {SECOND}\n")
    node.commit()
    assert contents(node.prefix) == PAYLOADS[SECOND]


def test_check_mode_tells_the_same_and_changes_nothing(node: Node) -> None:
    node.install(FIRST)
    node.stage(SECOND)
    foreseen = node.present(SECOND, check_mode=True)
    assert contents(node.prefix) == PAYLOADS[FIRST]
    assert Journal.find(node.state) is None
    assert {**node.present(SECOND), "run": ""} == foreseen


def test_check_mode_of_a_payload_that_is_not_on_the_node(node: Node) -> None:
    tree = {"bin": {"type": "directory", "mode": 0o755}, "bin/shim": {"type": "file", "mode": 0o755, "size": 3}}
    result = node.present(FIRST, check_mode=True, tree=tree)
    assert (result["changed"], result["files"]["added"]) == (True, 1)
    assert not node.prefix.exists()


def test_a_payload_that_is_kept_is_copied(node: Node) -> None:
    node.stage(FIRST, keep=True)
    node.present(FIRST)
    node.commit()
    assert contents(node.prefix) == PAYLOADS[FIRST]
    assert contents(Path(staged.staging(str(node.prefix), FIRST))) == PAYLOADS[FIRST]


def test_a_file_that_is_kept_aside_comes_back(node: Node) -> None:
    write(node.prefix, {"bin/shim": "theirs"})
    node.stage(FIRST)
    result = node.present(FIRST, keep_aside=True)
    assert f"! {node.prefix}/bin/shim is kept aside\n" in result["diff"]["prepared"]
    node.commit()
    assert contents(node.prefix) == {**PAYLOADS[FIRST], "bin/shim.kept": "theirs"}
    node.absent()
    assert contents(node.prefix) == {"bin/shim": "theirs"}


@pytest.mark.parametrize("keep_edited", [True, False], ids=["keep", "replace"])
def test_an_edited_configuration_file(node: Node, keep_edited: bool) -> None:
    node.install(FIRST)
    write(node.prefix, {CONFIGURATION: "mine"})
    node.stage(SECOND)
    result = node.present(SECOND, keep_edited=keep_edited)
    node.commit()
    assert result["edited"] == ([f"{node.prefix}/{CONFIGURATION}"] if keep_edited else [])
    assert contents(node.prefix)[CONFIGURATION] == ("mine" if keep_edited else "two")


def test_an_edited_configuration_file_outlives_the_artifacts(node: Node) -> None:
    node.install(FIRST)
    write(node.prefix, {CONFIGURATION: "mine"})
    for changed in (True, False):
        result = node.absent()
        assert (result["changed"], result["edited"]) == (changed, [f"{node.prefix}/{CONFIGURATION}"])
    assert contents(node.prefix) == {CONFIGURATION: "mine"}
    node.install(FIRST)
    assert contents(node.prefix)[CONFIGURATION] == "mine"
    assert not node.state.receipt().left


def test_nothing_of_ours_stays(node: Node) -> None:
    assert node.absent()["changed"] is False
    node.install(FIRST)
    assert node.absent(check_mode=True)["files"]["removed"] == 3
    assert contents(node.prefix) == PAYLOADS[FIRST]
    assert node.absent()["changed"] is True
    assert os.listdir(node.opt) == []


def neither(node: Node) -> None:
    pass


def elsewhere(node: Node) -> None:
    node.install(FIRST)
    node.prefix = node.opt / "other"


def damaged(node: Node) -> None:
    node.install(FIRST)
    (node.prefix / "bin/shim").unlink()


def by_its_own_installer(node: Node) -> None:
    node.state.write_receipt(Receipt(installer=Installer({"install": CommandDone(FIRST)})))


def in_the_way(node: Node) -> None:
    write(node.prefix, {"bin/shim": "theirs"})
    node.stage(FIRST)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (neither, "neither staged nor installed. Run payload_extract"),
        (elsewhere, "Uninstall that one first"),
        (damaged, "changes to 1 of them. Run payload_extract"),
        (by_its_own_installer, "coco_installer=payload"),
        (in_the_way, "Move them away"),
    ],
)
def test_what_is_refused(node: Node, prepare: t.Callable[[Node], None], says: str) -> None:
    prepare(node)
    with pytest.raises(Refusal, match=says):
        node.present(FIRST)
    assert Journal.find(node.state) is None


def test_artifacts_of_handlers_do_not_go(node: Node) -> None:
    node.install(FIRST)
    node.state.write_receipt(replace(node.state.receipt(), handlers={"kata-qemu": {}}))
    with pytest.raises(Refusal, match="Remove them first"):
        node.absent()
    # The handlers would have gone before.
    assert node.absent(check_mode=True)["changed"] is True


STEPS = ("mkdir", "chmod", "link", "rename", "unlink", "rmdir", "fsync")


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int) -> t.Callable[[], bool]:
    """Have one step fail; returns how to ask whether it was taken."""
    steps = itertools.count()
    failed: list[int] = []

    def counted(real: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*words: t.Any, **options: t.Any) -> t.Any:
            if next(steps) == number:
                failed.append(number)
                raise OSError(28, "No space left on device")
            return real(*words, **options)

        return step

    for name in STEPS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return lambda: bool(failed)


@pytest.mark.parametrize("upgrade", [False, True], ids=["first", "upgrade"])
def test_a_failure_at_any_step_leaves_the_node_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgrade: bool
) -> None:
    monkeypatch.setattr(unit, "enable", lambda journal: None)
    for number in itertools.count():
        node = Node(tmp_path / str(number))
        if upgrade:
            node.install(FIRST)
        before = contents(node.opt)
        node.stage(SECOND)
        with monkeypatch.context() as patch:
            failed = fail_at(patch, number)
            try:
                node.present(SECOND)
                done = True
            except (OSError, Refusal):
                done = False
            if not failed():
                break
        if done:  # it was of no account
            node.commit()
            assert contents(node.prefix) == PAYLOADS[SECOND]
            continue
        assert Journal.find(node.state) is None, f"step {number}"
        staged.forget(node.state)
        assert contents(node.opt) == before, f"step {number}"
        assert not os.path.exists(staged.working_directory(str(node.prefix)))
    assert number > 15


@pytest.mark.parametrize("committed", [False, True])
def test_what_goes_wrong_is_put_back_until_it_is_committed(
    node: Node, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """A disk that is full when the receipt is noted, for example: after the swap."""
    rolled_back: list[str] = []

    def roll_back(state: State, journal: Journal) -> list[str]:
        rolled_back.append(journal.run)
        return ["kept"]

    monkeypatch.setattr(transaction, "roll_back", roll_back)
    with (
        pytest.raises(OSError, match="No space"),
        installation._put_back_on_error(node.state, node.warnings.append),
    ):
        Journal(node.state).record(committed=committed)
        raise OSError(28, "No space left on device")
    assert bool(rolled_back) is not committed
    assert node.warnings == ([] if committed else ["kept"])


def test_a_way_back_that_fails_is_told_with_what_went_wrong_first(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.stage(FIRST)

    def refuse(*words: t.Any) -> t.NoReturn:
        raise Refusal("labels", "none", "")

    def fail(*words: t.Any) -> t.NoReturn:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(labels, "restore", refuse)
    monkeypatch.setattr(transaction, "roll_back", fail)
    with pytest.raises(Refusal, match=r"Expected labels\..*tried again by the next run.*Input/output error"):
        node.present(FIRST)
    assert Journal.find(node.state) is not None
