# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A look at a node that is good for the tasks that follow at once."""

from __future__ import annotations

import os
import stat
import typing as t
from pathlib import Path

import pytest
from ansible import constants

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import looked

FOUND = {"dump": "x", "changed": True, "recovered": "finished"}
AGAIN = {"dump": "x", "changed": False, "recovered": ""}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path), raising=False)
    return tmp_path


def test_what_was_found_is_taken_until_it_is_forgotten(directory: Path) -> None:
    assert looked.recall("n1", {}) is None
    looked.remember("n1", {}, {"dump": "old"})
    looked.remember("n1", {}, FOUND)
    assert looked.recall("n1", {}) == AGAIN
    (path,) = directory.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    looked.forget("n1", {})
    looked.forget("n1", {})
    assert looked.recall("n1", {}) is None
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "engine", "same"),
    [
        ("n1", {"engine": "auto", "engine_config": None, "engine_timeout": 120}, True),
        ("n2", {}, False),
        ("n1", {"engine_config": "/etc/other.toml"}, False),
        ("n1", {"engine_unit": "other.service"}, False),
    ],
)
def test_it_is_of_one_engine(host: str, engine: dict[str, t.Any], same: bool) -> None:
    looked.remember("n1", {}, FOUND)
    assert looked.recall(host, engine) == (AGAIN if same else None)


@pytest.mark.parametrize("age", [61, -5])
def test_it_is_good_for_a_minute(directory: Path, age: int) -> None:
    looked.remember("n1", {}, FOUND)
    (path,) = directory.iterdir()
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    assert looked.recall("n1", {}) is None
