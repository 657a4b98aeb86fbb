# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels of SELinux, which test nodes do not have, and what goes wrong at the end. All else is shown by ``_native.artifacts`` and on nodes."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.plugins.modules import payload_artifacts


class Warned:
    """A module that can only warn."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize(
    ("enforce", "status", "outcome"),
    [
        ("", 1, "nothing"),
        ("1", 0, "nothing"),
        ("0", 0, "nothing"),
        ("0", 1, "warned"),
        ("1", 1, "refused"),
        ("1", 127, "refused"),
    ],
)
def test_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enforce: str, status: int, outcome: str) -> None:
    path = tmp_path / "enforce"
    if enforce:
        path.write_text(enforce)
    monkeypatch.setattr(payload_artifacts, "_ENFORCING", str(path))
    answer = subprocess.CompletedProcess(
        [], status, "", "restorecon: Could not set context for /opt/x: Not permitted\n"
    )
    monkeypatch.setattr(process, "run", lambda argv, timeout: answer)
    module = Warned()
    if outcome == "refused":
        with pytest.raises(Refusal, match="Not permitted"):
            payload_artifacts._label(t.cast("t.Any", module), "/opt/x")
    else:
        payload_artifacts._label(t.cast("t.Any", module), "/opt/x")
    assert bool(module.warnings) == (outcome == "warned")


@pytest.mark.parametrize("committed", [False, True])
def test_what_goes_wrong_is_put_back_until_it_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """A disk that is full when the receipt is noted, for example: after the swap."""
    state = State(str(tmp_path / "state"))
    rolled_back: list[str] = []

    def roll_back(state: State, journal: Journal) -> list[str]:
        rolled_back.append(journal.run)
        return []

    monkeypatch.setattr(transaction, "roll_back", roll_back)

    def do(module: t.Any, state: State) -> dict[str, t.Any]:
        Journal(state).record(committed=committed)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        payload_artifacts._whole(do, t.cast("t.Any", None), state)
    assert bool(rolled_back) is not committed
