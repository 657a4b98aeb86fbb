# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The progress of a pull, in a content store that others use, too."""

from __future__ import annotations

import os
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.arrivals import (
    Arrivals,
)

ONE, TWO = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "ingest").mkdir()
    (tmp_path / "blobs" / "sha256").mkdir(parents=True)
    return tmp_path


def begin(store: Path, ref: str, size: int) -> Path:
    directory = store / "ingest" / str(len(ref) + sum(map(ord, ref)))
    directory.mkdir(exist_ok=True)
    (directory / "ref").write_text(ref)
    (directory / "data").write_bytes(bytes(size))
    return directory


def end(store: Path, directory: Path, digest: str) -> None:
    os.rename(directory / "data", store / "blobs" / "sha256" / digest)
    shutil.rmtree(directory)


def test_what_arrives(store: Path) -> None:
    arrivals = Arrivals(str(store), "ours")
    assert arrivals.look() == 0
    (store / "blobs" / "sha256" / TWO).write_bytes(bytes(50))  # was there before
    one = begin(store, f"ours/1/layer-sha256:{ONE}", 10)
    other = begin(store, "k8s.io/7/layer-sha256:" + "c" * 64, 1000)
    begin(store, "ours-too/7/layer-sha256:" + "d" * 64, 1000)
    assert arrivals.look() == 10
    (one / "data").write_bytes(bytes(30))
    assert arrivals.look() == 30
    end(store, one, ONE)
    end(store, other, "c" * 64)
    assert arrivals.look() == 30
    two = begin(store, f"ours/2/config-sha256:{TWO}", 5)
    assert arrivals.look() == 35
    shutil.rmtree(two)
    begin(store, "ours/3/something", 7)
    assert arrivals.look() == 30 + 50 + 7


def test_a_download_that_starts_again(store: Path) -> None:
    arrivals = Arrivals(str(store), "ours")
    one = begin(store, f"ours/1/layer-sha256:{ONE}", 10)
    assert arrivals.look() == 10
    shutil.rmtree(one)
    assert arrivals.look() == 0
    begin(store, f"ours/1/layer-sha256:{ONE}", 4)
    assert arrivals.look() == 4


def test_blobs_are_not_walked(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look costs what is on its way, however much the store holds; and names are read once."""
    looked: list[str] = []

    def counted(look: t.Callable[[str], t.Any]) -> t.Callable[[str], t.Any]:
        def count(path: str) -> t.Any:
            looked.append(path)
            return look(path)

        return count

    monkeypatch.setattr(os, "listdir", counted(os.listdir))
    monkeypatch.setattr(os.path, "getsize", counted(os.path.getsize))
    arrivals = Arrivals(str(store), "ours")
    for number in range(100):
        (store / "blobs" / "sha256" / f"{number:064}").touch()
    begin(store, f"ours/1/layer-sha256:{ONE}", 10)
    begin(store, "k8s.io/1/layer", 10)
    arrivals.look()
    before = len(looked)
    assert before == 2
    opened: list[t.Any] = []
    monkeypatch.setattr("builtins.open", lambda *words, **how: opened.append(words))
    arrivals.look()
    assert (len(looked) - before, opened) == (2, [])


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    assert Arrivals(str(tmp_path / "none"), "ours").look() == 0
