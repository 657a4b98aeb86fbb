# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stands in the places that this collection may write to."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import decoded
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.reading import read
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played, table


@pytest.fixture
def node(tmp_path: Path) -> Played:
    (tmp_path / "main").write_text(table("runc"))
    return Played(tmp_path / "main", tmp_path / "drop-in")


def found(node: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes | None]:
    # The played engine reads its files as text. Here it has read the main one only.
    monkeypatch.setattr(node, "text", node.paths[0].read_text)
    monkeypatch.setattr(node, "files", lambda: {str(node.paths[0]): node.paths[0].read_bytes()})
    return {Path(path).name: decoded(text) for path, text in read(State(str(tmp_path / "s")), node)["files"].items()}


def test_files_that_exist_and_that_do_not(node: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(node, tmp_path, monkeypatch) == {"main": table("runc").encode(), "drop-in": None}
    node.paths[1].write_bytes(b"\xff")
    assert found(node, tmp_path, monkeypatch)["drop-in"] == b"\xff"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkdir, "something else"),
        (os.mkfifo, "something else"),  # whoever opens it waits for a writer
        (lambda path: os.symlink("/absent", path), "a link to /absent"),
    ],
)
def test_what_is_no_file_is_refused(
    node: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: t.Callable[[Path], None], words: str
) -> None:
    make(node.paths[1])
    with pytest.raises(Refusal, match=words):
        found(node, tmp_path, monkeypatch)
