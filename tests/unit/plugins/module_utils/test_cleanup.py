# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cleanup removes what is remembered, and lets the node's lock go while the unit works: what another run does meanwhile stays."""

from __future__ import annotations

import contextlib
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import record
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, mounts, systemd
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    Difference,
    Installer,
    Payload,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.plugins.modules import node_state
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played

INSTALLED = Receipt(tree={"bin/x": {}}, prefix="/opt/x", payload=Payload("sha256:1"))


class Cleaned(Played):
    """An engine that counts how often what pulls have left in it was removed."""

    cleaned = 0

    def clean(self) -> None:
        self.cleaned += 1


class Node:
    """A node on which a cleanup runs; ``meanwhile`` is what another run does while its unit works."""

    check_mode = False

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = State(str(directory / "state"))
        self.left = directory / "left"
        self.meanwhile: t.Callable[[], None] = lambda: None
        self.requests: list[_handover.Request] = []
        self.sessions = 0
        self.params: t.Mapping[str, t.Any] = {"engine_timeout": 120}
        self.result: dict[str, t.Any] = {}
        self.driver: Cleaned | None = Cleaned(directory / "config.toml")
        monkeypatch.setattr(node_state, "AnsibleModule", lambda **spec: self)
        monkeypatch.setattr(_module, "session", self.session)
        monkeypatch.setattr(_module, "enter", self.enter)
        monkeypatch.setattr(_module, "overrides", lambda params: None)
        monkeypatch.setattr(flavours, "detect", self.detect)
        monkeypatch.setattr(systemd, "reload", lambda: None)
        monkeypatch.setattr(_handover, "leave_request", self.leave_request)
        monkeypatch.setattr(_handover, "carried_out", lambda run: self.meanwhile())

    def leave_request(self, state: State, journal: Journal, request: _handover.Request) -> None:
        self.requests.append(request)

    @contextlib.contextmanager
    def session(self, module: t.Any) -> t.Iterator[tuple[State, str]]:
        self.sessions += 1
        yield self.state, ""

    def detect(self, overrides: t.Any, restarting: bool) -> Cleaned:
        if self.driver is None:
            raise Refusal("an engine", "none", "Install one.")
        return self.driver

    def enter(self, module: t.Any, act: t.Callable[[], dict[str, t.Any]]) -> None:
        self.result = act()

    def remember(self, receipt: Receipt | None = None) -> None:
        """Remember a receipt, or that a command has left a file behind."""
        if receipt is None:
            self.left.write_text("left")
            entry = record.entry_at(str(self.left))
            item: Difference = {"before": None, "after": entry, "edited": False}
            receipt = Receipt(installer=Installer(left={str(self.left): item}))
        self.state.write_receipt(receipt)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_what_was_installed_meanwhile_stays(node: Node) -> None:
    node.remember()
    node.meanwhile = lambda: node.state.write_receipt(INSTALLED)
    with pytest.raises(Refusal, match="Uninstall first"):
        node_state.main()
    assert node.state.receipt().tree == {"bin/x": {}}


@pytest.mark.parametrize("left", [True, False], ids=["left behind", "nothing left"])
def test_a_cleanup_forgets(node: Node, left: bool) -> None:
    """What was left behind is brought back by the unit."""
    node.remember(None if left else Receipt())
    node_state.main()
    assert [request.task for request in node.requests] == ([_handover.Task.RESTORE] if left else [])
    assert node.sessions == 1 + left
    assert not os.path.exists(node.state.directory)
    assert node.result == {"changed": True, "recovered": "", "edited": []}
    assert node.driver is not None
    assert node.driver.cleaned == 1


def test_without_an_engine_what_was_left_is_brought_back_at_once(node: Node) -> None:
    node.remember()
    node.driver = None
    node_state.main()
    assert not node.left.exists()
    assert not node.requests
    assert not os.path.exists(node.state.directory)


def test_what_somebody_has_edited_stays_and_is_told(node: Node) -> None:
    node.remember()
    node.left.write_text("edited")
    node.driver = None
    node_state.main()
    assert node.left.read_text() == "edited"
    assert node.result["edited"] == [str(node.left)]


def test_check_mode_only_tells(node: Node) -> None:
    node.remember()
    node.check_mode = True
    node_state.main()
    assert node.result["changed"] is True
    assert node.left.exists()
    assert os.path.exists(node.state.directory)


@pytest.mark.parametrize(
    ("content", "mounted", "changed"),
    [(None, False, False), ([], False, True), ([], True, False), (["x"], True, True)],
    ids=["no directory", "an empty one", "a mount point", "a mount point with something in it"],
)
def test_whether_there_is_anything_to_remove(
    node: Node, monkeypatch: pytest.MonkeyPatch, content: list[str] | None, mounted: bool, changed: bool
) -> None:
    monkeypatch.setattr(mounts, "is_point", lambda path: mounted)
    if content is not None:
        os.makedirs(node.state.directory)
        for name in content:
            Path(node.state.directory, name).touch()
    node.check_mode = True
    node_state.main()
    assert node.result["changed"] is changed


def test_what_is_installed_is_not_forgotten(node: Node) -> None:
    node.remember(INSTALLED)
    with pytest.raises(Refusal, match="sha256:1 below /opt/x"):
        node_state.main()
    assert os.path.exists(node.state.directory)


def test_a_file_that_was_kept_aside_comes_back_where_the_edited_one_is_gone(node: Node, tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    prefix.mkdir()
    (prefix / "x.kept").write_text("theirs")
    node.remember(Receipt(prefix=str(prefix), kept=["x"]))
    node_state.main()
    assert (prefix / "x").read_text() == "theirs"


def test_files_of_a_payload_are_gone_for_good_before_their_record(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, document = tmp_path / "opt/.work/staged", Path(node.state.payload("sha256:1"), "payload.json")
    staged.mkdir(parents=True)
    document.parent.mkdir(parents=True)
    files.write_json(str(document), {"digest": "sha256:1", "staged": str(staged)})
    found: list[tuple[bool, bool]] = []
    monkeypatch.setattr(files, "sync_filesystem", lambda path: found.append((staged.exists(), document.exists())))
    node_state.main()
    assert found == [(False, True)]
