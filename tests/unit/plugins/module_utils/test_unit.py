# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of an open run, where systemd does not do what it is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose systemd does not read its units again."""
    monkeypatch.setattr(_unit, "_PATH", str(tmp_path / "etc" / _unit.NAME))
    monkeypatch.setattr(_unit, "_WANTED", str(tmp_path / "etc/wants" / _unit.NAME))
    (tmp_path / "etc").mkdir()
    refused = subprocess.CompletedProcess([], 1, "", "Failed to reload daemon: Connection timed out\n")
    monkeypatch.setattr(_unit, "run", lambda argv: refused)
    return tmp_path / "journal"


def test_a_run_does_not_begin_without_its_unit(journal: Path) -> None:
    with pytest.raises(Refusal, match=r"read its units again.*Connection timed out"):
        _unit.enable(str(journal))


def test_a_run_that_is_over_is_not_undone_for_it(journal: Path) -> None:
    with pytest.raises(Refusal):
        _unit.enable(str(journal))
    assert "Connection timed out" in _unit.disable(str(journal))
    assert not journal.exists()
    assert _unit.disable(str(journal)) == ""
