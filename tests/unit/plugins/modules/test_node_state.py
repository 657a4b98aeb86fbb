# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cleanup lets the node's lock go while the unit works: what another run does meanwhile stays."""

from __future__ import annotations

import contextlib
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    Installer,
    Payload,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.plugins.modules import node_state
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played

LEFT = Receipt(installer=Installer(left={"/etc/x": {"before": None, "after": None, "edited": False}}))
INSTALLED = Receipt(tree={"bin/x": {}}, prefix="/opt/x", payload=Payload("sha256:1"))


class Node:
    """A node on which a cleanup runs; ``meanwhile`` is what another run does while its unit works."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = State(str(directory / "state"))
        self.meanwhile: t.Callable[[], None] = lambda: None
        self.sessions = 0
        self.result: dict[str, t.Any] | str = ""
        monkeypatch.setattr(node_state, "AnsibleModule", lambda **spec: self)
        monkeypatch.setattr(_module, "session", self.session)
        monkeypatch.setattr(_module, "enter", self.enter)
        monkeypatch.setattr(flavours, "detect", self.detect)
        monkeypatch.setattr(transaction, "edited", lambda receipt: [])
        monkeypatch.setattr(transaction, "bring_back", lambda state: None)
        monkeypatch.setattr(_handover, "leave_request", lambda *_words, **_how: None)
        monkeypatch.setattr(_handover, "carried_out", lambda run: self.meanwhile())

    check_mode = False
    params: t.Mapping[str, t.Any] = {"engine_timeout": 120}

    @contextlib.contextmanager
    def session(self, module: t.Any) -> t.Iterator[tuple[State, str]]:
        self.sessions += 1
        yield self.state, ""

    def detect(self, overrides: t.Any, restarting: bool) -> t.Any:
        return Played(Path(self.state.directory, "config.toml"))

    def enter(self, module: t.Any, act: t.Callable[[], dict[str, t.Any]]) -> None:
        self.result = act()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(_module, "overrides", lambda params: None)
    return Node(tmp_path, monkeypatch)


def test_what_was_installed_meanwhile_stays(node: Node) -> None:
    node.state.write_receipt(LEFT)
    node.meanwhile = lambda: node.state.write_receipt(INSTALLED)
    with pytest.raises(Refusal, match="Uninstall first"):
        node_state.main()
    assert node.state.receipt().tree == {"bin/x": {}}


@pytest.mark.parametrize(("receipt", "sessions"), [(LEFT, 2), (Receipt(), 1)], ids=["left behind", "nothing left"])
def test_a_cleanup_forgets(node: Node, receipt: Receipt, sessions: int) -> None:
    node.state.write_receipt(receipt)
    node_state.main()
    assert node.sessions == sessions
    assert not os.path.exists(node.state.directory)
    assert isinstance(node.result, dict)
    assert node.result["changed"] is True


def test_what_is_installed_is_not_forgotten(node: Node) -> None:
    node.state.write_receipt(INSTALLED)
    with pytest.raises(Refusal, match="sha256:1 below /opt/x"):
        node_state.main()
    assert os.path.exists(node.state.directory)


def test_files_of_a_payload_are_gone_for_good_before_their_record(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged, record = tmp_path / "opt/.work/staged", Path(node.state.payload("sha256:1"), "payload.json")
    staged.mkdir(parents=True)
    record.parent.mkdir(parents=True)
    files.write_json(str(record), {"digest": "sha256:1", "staged": str(staged)})
    found: list[tuple[bool, bool]] = []
    monkeypatch.setattr(files, "sync_filesystem", lambda path: found.append((staged.exists(), record.exists())))
    node_state.main()
    assert found == [(False, True)]
