# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The door through which each module goes: what it tells when it fails."""

from __future__ import annotations

import contextlib
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover, _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


class Failed(BaseException):
    """The module's process has ended."""


class Module:
    """Ansible's half of a module."""

    _name = "runtime_handlers"
    check_mode = False

    def __init__(self) -> None:
        self.params: dict[str, t.Any] = {}
        self.warnings: list[str] = []
        self.result: dict[str, t.Any] = {}

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, **result: t.Any) -> t.NoReturn:
        self.result = {"failed": True, **result}
        raise Failed

    def exit_json(self, **result: t.Any) -> t.NoReturn:
        self.result = result
        raise Failed


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(_module, "State", lambda: str(tmp_path))
    monkeypatch.setattr(_module, "locked", lambda what: contextlib.nullcontext())
    monkeypatch.setattr(_module, "_alone", lambda held, state, what, wait: None)
    monkeypatch.setattr(_module, "_recovered", [])
    monkeypatch.setattr(_handover, "unheard", lambda: "")
    monkeypatch.setattr(_module, "tidy", lambda state: "")
    return Module()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Refusal("this", "that", "Do so."), "Expected this. Found that. Do so."),
        (OSError(28, "No space left on device", "/opt/x"), "/opt/x: No space left on device"),
        (ValueError("password"), "runtime_handlers to go on to its end. Found ValueError in test_module.py, line "),
    ],
)
@pytest.mark.parametrize("recovered", ["", "rolled back"])
def test_what_was_recovered_is_told_by_a_module_that_fails(
    module: Module, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str, recovered: str
) -> None:
    monkeypatch.setattr(_handover, "recover", lambda state: (recovered, ["/x: left as found."] if recovered else []))

    def act() -> dict[str, t.Any]:
        with _module.session(t.cast("t.Any", module)):
            raise error

    with pytest.raises(Failed):
        _module.enter(t.cast("t.Any", module), act)
    assert says in module.result["msg"]
    assert "password" not in module.result["msg"]
    assert module.result.get("recovered", "") == recovered
    assert module.result.get("changed", False) is bool(recovered)
    assert ("left as found" in " ".join(module.warnings)) is bool(recovered)


def test_what_systemd_has_against_tidying_is_told(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_handover, "recover", lambda state: ("", []))
    monkeypatch.setattr(_module, "tidy", lambda state: "Expected systemd to read its units again.")
    with _module.session(t.cast("t.Any", module)):
        pass
    assert module.warnings == ["Expected systemd to read its units again."]
