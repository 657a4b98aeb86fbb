# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which errors undo a command of a payload: all of them. What it does to a real engine is shown on real nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _command,
    _containerd,
    _installer,
    _probe,
    _service,
    _unit,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._containerd import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State

ENGINE = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/etc/containerd/config.toml", "/s", True)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Refusal("this", "that", "Do so."), "Expected this. Found that. Do so. It had touched"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("a line with a password"), "Found ValueError in test_installer.py, line "),
    ],
)
def test_every_error_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, says: str) -> None:
    # An engine that is there and serves nothing: what is looked at is the files.
    monkeypatch.setattr(_installer, "_configured", lambda engine: set())
    monkeypatch.setattr(_installer, "_serves", lambda engine, handlers: True)
    run = _containerd.run
    monkeypatch.setattr(
        _containerd, "run", lambda argv, timeout=60.0: run(["true"] if argv[0] == "systemctl" else argv, timeout)
    )
    for name, answer in (("served", []), ("invocation", "1"), ("last_words", ""), ("restart", [])):
        monkeypatch.setattr(_probe, name, lambda *_words, answer=answer: answer)
    monkeypatch.setattr(_service, "remove", lambda: None)
    monkeypatch.setattr(_unit, "reload", lambda: None)
    root, state = tmp_path / "etc", State(str(tmp_path / "state"))
    root.mkdir()
    (root / "config.toml").write_text("before")

    def work(before: set[str]) -> _command.Outcome:
        (root / "config.toml").write_text("after")
        raise error

    journal = Journal(state)
    with pytest.raises(Refusal) as raised:
        _installer._safely(state, journal, ENGINE, [str(root)], [], 10, work, lambda outcome, changed: {})
    assert says in str(raised.value)
    assert "all as before now" in str(raised.value)
    assert "password" not in str(raised.value)
    assert (root / "config.toml").read_text() == "before"
    assert Journal.find(state) is None
