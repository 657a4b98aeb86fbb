# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes that the version before left, at each stage of a run: samples that its own code made, with their files, below ``/node``.

Its journals say neither schema nor kind. They are finished and rolled back as that version would have done.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._handover import recover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import service
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places, process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Kind, Stage
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.staged import find, forget
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


def owned(document: t.Any) -> t.Any:
    """Return a document whose files are those of who runs the tests."""
    if isinstance(document, dict):
        mine = {"uid": os.getuid(), "gid": os.getgid()}
        return {key: mine[key] if key in mine else owned(value) for key, value in document.items()}
    return document


class Engine(Played):
    """An engine that serves whatever is asked of it; ``starts`` counts how often it was started."""

    def load(self) -> None:
        self.starts += 1
        self.loaded = ["runc"]

    def serving(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        return list(handlers)


class Node:
    """A node as a sample has it. Its engine serves what is asked of it."""

    def __init__(self, root: Path, name: str, starts: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.state = root, State(str(root / "state"))
        self._create(sample(name))
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)
        run = process.run
        monkeypatch.setattr(
            process, "run", lambda argv, timeout=60.0: run(["true"] if argv[0] == "systemctl" else argv, timeout)
        )
        self.engine = Engine(*sorted((root / "etc").rglob("*.toml")), starts=starts - 1)
        self.engine.install(monkeypatch)
        monkeypatch.setattr(service, "remove", lambda: None)
        monkeypatch.setattr(unit, "disable", lambda directory: "")
        monkeypatch.setattr(places, "TRIAL", str(root / "trial"))

    def _create(self, entries: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
        for name, entry in entries.items():
            # Copies of files lie below their own paths.
            path = self.root / self.here(name)
            if "directory" in entry:
                path.mkdir(mode=entry["directory"], parents=True, exist_ok=True)
            elif "link" in entry:
                path.symlink_to(self.here(entry["link"]))
            elif "json" in entry:
                path.write_text(self.here(json.dumps(owned(entry["json"]))))
            else:
                path.write_text(entry["text"])
                path.chmod(entry["mode"])

    def here(self, text: str) -> str:
        return text.replace("/node", str(self.root))

    def files(self) -> dict[str, str]:
        """Return what stands outside of the state directory, in the form of :func:`files_of`."""
        return {
            str(path.relative_to(self.root)): os.readlink(path).replace(str(self.root), "/node")
            if path.is_symlink()
            else "a directory"
            if path.is_dir()
            else path.read_text()
            for path in self.root.rglob("*")
            if "state" not in path.relative_to(self.root).parts
        }

    def receipt(self) -> dict[str, t.Any]:
        path = Path(self.state.directory, "receipt.json")
        found: dict[str, t.Any] = json.loads(path.read_text().replace(str(self.root), "/node")) if path.exists() else {}
        return found


def files_of(name: str) -> dict[str, str]:
    """Return what a sample has outside of the state directory: path → content, target, or that it is a directory."""
    return {
        path: entry.get("text", entry.get("link", "a directory"))
        for path, entry in sample(name).items()
        if "state" not in path.split("/")
    }


def receipt_of(name: str) -> dict[str, t.Any]:
    found: dict[str, t.Any] = owned(sample(name).get("state/receipt.json", {}).get("json", {}))
    return found


def steady(document: t.Any) -> t.Any:
    """Return a receipt without what differs between two installations of the same (times and inodes), and without what is empty."""
    if not isinstance(document, dict):
        return document
    changing = ("changed_at", "installed_at", "mtime_ns", "ctime_ns", "inode")
    return {
        key: steady(value) for key, value in document.items() if key not in changing and value not in ({}, [], "", None)
    }


#: The run that was interrupted and the start of the engine since then; what is done about it; the sample that is like the node
#: afterwards; how often the engine is started for it.
RUNS = [
    ("native-opened", 2, "rolled back", "native-installed", 0),
    ("native-artifacts", 2, "rolled back", "native-installed", 0),
    ("native-configuration", 2, "rolled back", "native-installed", 0),
    ("native-configuration", 3, "rolled back", "native-installed", 1),
    ("native-restarting", 2, "rolled back", "native-installed", 0),
    ("native-restarting", 3, "rolled back", "native-installed", 1),
    ("native-back", 3, "rolled back", "native-installed", 1),
    ("native-back", 4, "rolled back", "native-installed", 0),
    ("native-committed", 3, "finished", "native-done", 0),
    ("absent-opened", 2, "rolled back", "native-installed", 0),
    ("absent-committed", 2, "finished", "absent-done", 0),
    ("installer-opened", 1, "rolled back", "installer-opened", 0),
    ("installer-recorded", 1, "rolled back", "installer-opened", 0),
    ("installer-command", 1, "rolled back", "installer-opened", 1),
    ("installer-back", 1, "rolled back", "installer-opened", 0),
    ("installer-back", 2, "rolled back", "installer-opened", 0),
    ("installer-committed", 2, "finished", "installer-installed", 0),
]


@pytest.mark.parametrize(("run", "start", "said", "then", "starts"), RUNS)
def test_a_run_of_the_version_before_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, start: int, said: str, then: str, starts: int
) -> None:
    node = Node(tmp_path, run, start, monkeypatch)
    assert recover(node.state) == (said, [])
    assert Journal.find(node.state) is None
    assert node.files() == files_of(then)
    assert steady(node.receipt()) == steady(receipt_of(then if said == "finished" else run))
    assert node.engine.starts - start == starts


@pytest.mark.parametrize("name", ["native-installed", "native-done", "absent-done", "installer-installed"])
def test_a_receipt_of_the_version_before_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """And written again, it says the same."""
    node = Node(tmp_path, name, 1, monkeypatch)
    receipt = node.state.receipt()
    assert receipt.is_installed is (name != "absent-done")
    node.state.write_receipt(receipt)
    assert steady(node.receipt()) == steady(receipt_of(name))
    assert node.state.receipt() == replace(receipt, changed_at=node.state.receipt().changed_at)


@pytest.mark.parametrize(
    ("name", "kind", "stage"),
    [
        ("native-opened", Kind.NATIVE, Stage.ARTIFACTS),
        ("native-artifacts", Kind.NATIVE, Stage.ARTIFACTS),
        ("native-configuration", Kind.NATIVE, Stage.CONFIGURATION),
        ("native-restarting", Kind.NATIVE, Stage.RESTARTING),
        ("native-back", Kind.NATIVE, Stage.ROLLING_BACK),
        ("native-committed", Kind.NATIVE, Stage.COMMITTED),
        ("absent-opened", Kind.NATIVE, Stage.ARTIFACTS),
        # Nothing in it says so yet, and nothing was changed.
        ("installer-opened", Kind.NATIVE, Stage.OPENED),
        ("installer-recorded", Kind.INSTALLER, Stage.COMMAND),
        ("installer-back", Kind.INSTALLER, Stage.ROLLING_BACK),
        ("installer-committed", Kind.INSTALLER, Stage.COMMITTED),
    ],
)
def test_a_journal_of_the_version_before_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: Kind, stage: Stage
) -> None:
    journal = Journal.find(Node(tmp_path, name, 1, monkeypatch).state)
    assert journal is not None
    assert (journal.kind, journal.stage) == (kind, stage)


def test_a_staged_payload_of_the_version_before_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path, "native-staged", 1, monkeypatch)
    digest, alias = "sha256:" + "2b" * 32, "sha256:" + "2b" * 31 + "ff"
    record = Path(node.state.payload(digest), "payload.json")
    staged = find(node.state, alias)
    assert staged is not None
    assert staged.plain() == {"schema": 1, **json.loads(record.read_text())}
    forget(node.state)
    assert node.files() == files_of("native-installed")
