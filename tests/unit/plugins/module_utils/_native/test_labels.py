# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Labels of SELinux, which test nodes do not have."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import labels
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process


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
    monkeypatch.setattr(labels, "_ENFORCING", str(path))
    answer = subprocess.CompletedProcess(
        [], status, "", "restorecon: Could not set context for /opt/x: Not permitted\n"
    )
    monkeypatch.setattr(process, "run", lambda argv, timeout: answer)
    warnings: list[str] = []
    refused = pytest.raises(Refusal, match="Not permitted") if outcome == "refused" else contextlib.nullcontext()
    with refused:
        labels.restore("/opt/x", warnings.append)
    assert bool(warnings) == (outcome == "warned")
