# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The door of a payload's commands: what is handed over to the unit, and what is told of what it did."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import asdict
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import command
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Kind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    CommandDone,
    Installer,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.plugins.modules import payload_command
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played

DIGEST = "sha256:" + "1" * 64
HOOK = {"commands": {"pre_install": ["/bin/prepare"]}}


class Call:
    """One call of the module on a node with an engine; ``outcome`` is what the unit answers."""

    check_mode = False

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = State(str(directory / "state"))
        self.warnings: list[str] = []
        self.requests: list[tuple[Kind, _handover.Request]] = []
        self.outcome = command.CommandOutcome(files={"/etc/x": "added"}, output=["prepared"])
        self.recovered = ""
        self.params: dict[str, t.Any] = {}
        self.result: dict[str, t.Any] = {}
        driver = Played(directory / "config.toml")
        monkeypatch.setattr(payload_command, "AnsibleModule", lambda **spec: self)
        monkeypatch.setattr(_module, "session", self.session)
        monkeypatch.setattr(_module, "enter", self.enter)
        monkeypatch.setattr(_module, "overrides", lambda params: None)
        monkeypatch.setattr(flavours, "detect", lambda overrides: driver)
        monkeypatch.setattr(_handover, "leave_request", self.leave_request)
        monkeypatch.setattr(_handover, "carried_out", lambda run: asdict(self.outcome))

    def warn(self, words: str) -> None:
        self.warnings.append(words)

    @contextlib.contextmanager
    def session(self, module: t.Any) -> t.Iterator[tuple[State, str]]:
        yield self.state, self.recovered

    def enter(self, module: t.Any, act: t.Callable[[], dict[str, t.Any]]) -> None:
        self.result = act()

    def leave_request(self, state: State, journal: Journal, request: _handover.Request) -> None:
        self.requests.append((journal.kind, request))

    def __call__(self, name: str, **given: t.Any) -> dict[str, t.Any]:
        nothing = dict.fromkeys(("digest", "volumes", "volume_mounts", "environment", "kubectl", "limits"))
        defaults = {"commands": {}, "done": "", "handlers": [], "timeout": 600, "ignore_running_pods": False}
        self.params = {"command": name, **nothing, **defaults, "engine_timeout": 120, **given}
        payload_command.main()
        return self.result


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    return Call(tmp_path, monkeypatch)


def test_a_command_is_handed_over_and_what_it_did_is_told(call: Call) -> None:
    result = call("pre_install", digest=DIGEST, **HOOK)
    ((kind, request),) = call.requests
    assert (kind, request.task, request.timeout) == (Kind.INSTALLER, _handover.Task.COMMAND, 120)
    assert command.Command(**request.work).argv == ["/bin/prepare"]
    assert (result["changed"], result["argv"], result["output"]) == (True, ["/bin/prepare"], ["prepared"])
    assert result["diff"] == {"prepared": "added /etc/x\n"}
    assert call.warnings == []


def test_what_went_wrong_after_the_work_is_a_warning(call: Call) -> None:
    call.outcome.warning = "it ended with exit status 1"
    call("pre_install", digest=DIGEST, **HOOK)
    assert call.warnings == ["it ended with exit status 1"]


def test_check_mode_hands_nothing_over(call: Call) -> None:
    call.check_mode = True
    result = call("pre_install", digest=DIGEST, **HOOK)
    assert not call.requests
    assert (result["changed"], result["argv"]) == (True, ["/bin/prepare"])
    assert "run /bin/prepare\n" in result["diff"]["prepared"]


@pytest.mark.parametrize("recovered", ["", "rolled back"])
def test_the_same_command_is_not_run_again(call: Call, recovered: str) -> None:
    call("pre_install", digest=DIGEST, **HOOK)
    done = command.Command(**call.requests.pop()[1].work)
    known = CommandDone(DIGEST, done.fingerprint, **done.known)
    call.state.write_receipt(Receipt(installer=Installer({"pre_install": known})))
    call.recovered = recovered
    assert call("pre_install", digest=DIGEST, **HOOK) == {"changed": bool(recovered), "recovered": recovered}
    assert not call.requests


def test_a_cleanup_without_a_command_is_only_told(call: Call) -> None:
    assert call("cleanup") == {"changed": False, "recovered": ""}
    (warning,) = call.warnings
    assert "its layers are no longer on the node" in warning
    assert not call.requests
