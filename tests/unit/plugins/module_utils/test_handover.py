# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the unit leaves for the module that waits for it, when it fails in a way that nobody has foreseen."""

from __future__ import annotations

import contextlib
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _handover
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State


@pytest.mark.parametrize(
    ("error", "found"),
    [
        pytest.param(PermissionError(1, "Not permitted", "/opt/x"), "[Errno 1] Not permitted: '/opt/x'", id="system"),
        pytest.param(ValueError('password = "x"'), "ValueError", id="anything else, without its words"),
    ],
)
def test_an_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, found: str) -> None:
    def fail(*_args: t.Any) -> t.NoReturn:
        raise error

    state = State(str(tmp_path / "state"))
    Journal(state).record()
    monkeypatch.setattr(_handover, "State", lambda: state)
    monkeypatch.setattr(f"{_handover.__name__}._state.locked", contextlib.nullcontext)
    monkeypatch.setattr(f"{_handover.__name__}._transaction.recover", fail)
    for name in ("_DIRECTORY", "_ORDER", "_RESULT"):
        monkeypatch.setattr(_handover, name, str(tmp_path / name))
    with pytest.raises(type(error)):
        _handover.main()
    assert json.loads((tmp_path / "_RESULT").read_text())["refusal"]["found"] == f"that it failed: {found}"
