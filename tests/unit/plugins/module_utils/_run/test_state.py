# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The receipt and the lock."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
import time
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import SCHEMA, Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import (
    COLLECTION_VERSION,
    State,
    locked,
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "a/state"))


def test_nothing_is_created_by_looking(state: State, tmp_path: Path) -> None:
    assert state.receipt() == Receipt()
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_a_mount_point_stays(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a node on which nothing is installed would fail in its last step."""
    state.create()

    def busy(path: str) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", path)

    monkeypatch.setattr(os, "rmdir", busy)
    state.remove_if_empty()


def test_a_receipt_comes_back(state: State) -> None:
    state.write_receipt(Receipt(prefix="/x", tree={"a": {"type": "link", "target": "b"}}))
    first = state.receipt()
    assert first.prefix == "/x"
    assert first.tree == {"a": {"type": "link", "target": "b"}}
    assert first.collection == COLLECTION_VERSION
    assert first.installed_at == first.changed_at
    document = json.loads(Path(state.directory, "receipt.json").read_text())
    assert document["schema"] == SCHEMA
    state.write_receipt(replace(first, installed_at="2026-01-01T00:00:00Z", collection="0.0.1", changed_at="x"))
    second = state.receipt()
    assert second.installed_at == "2026-01-01T00:00:00Z"
    assert second.collection == COLLECTION_VERSION
    assert second.changed_at != "x"


def test_only_root_may_look(state: State) -> None:
    state.write_receipt(state.receipt())
    directory = Path(state.directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "receipt.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param({"schema": 2, "collection": "9.0.0"}, "schema 2, written by version 9.0.0", id="newer"),
        pytest.param({"schema": 0}, "schema 0", id="older"),
        pytest.param({"collection": "9.0.0"}, "schema None, which no version.*from a backup", id="none"),
        pytest.param({"schema": "1"}, "schema '1', which no version", id="text"),
        pytest.param([], "receipt", id="a list"),
        pytest.param(7, "receipt", id="a number"),
        pytest.param({"schema": 1, "edits": {"/etc/x": {}}}, "KeyError: 'before'.*from a backup", id="without a part"),
        pytest.param({"schema": 1, "installer": 7}, "AttributeError.*from a backup", id="a number as a part"),
    ],
)
def test_a_receipt_of_another_schema_is_refused(state: State, content: t.Any, says: str) -> None:
    state.create()
    (Path(state.directory) / "receipt.json").write_text(json.dumps(content))
    with pytest.raises(Refusal, match=says):
        state.receipt()


@pytest.mark.parametrize("content", [b"", b'{"schema": 1', b"\xff\xfe"], ids=["empty", "half", "bytes"])
def test_a_damaged_receipt_is_refused(state: State, content: bytes) -> None:
    state.create()
    (Path(state.directory) / "receipt.json").write_bytes(content)
    with pytest.raises(Refusal, match=r"receipt\.json"):
        state.receipt()


@pytest.mark.parametrize(
    ("receipt", "installed"),
    [
        ({}, False),
        ({"schema": 1, "prefix": "/x", "directories": ["/x"], "payload": {"digest": "d"}}, False),
        ({"tree": {}, "edits": {}, "links": {}, "handlers": {}}, False),
        ({"tree": {"a": {}}}, True),
        ({"edits": {"/etc/x": {"before": None, "after": ""}}}, True),
        ({"installer": {"done": {"install": {"digest": "d"}}, "left": {}}}, True),
        ({"installer": {"done": {"uninstall": {"digest": "d"}}, "left": {}}}, False),
        ({"links": {"/usr/local/bin/x": "/x"}}, True),
        ({"handlers": {"kata-qemu": {}}}, True),
    ],
)
def test_is_installed(receipt: dict[str, t.Any], installed: bool) -> None:
    assert Receipt.from_plain(receipt).is_installed is installed


def test_a_payload_has_a_directory_that_is_one_name(state: State) -> None:
    assert state.payload("sha256:abc") == f"{state.payloads}/sha256-abc"


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import state
with state.locked("payload_artifacts", sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> t.Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends, or until it is killed."""
    roots = next((path for path in sys.path if path.endswith(".ansible/collections")), "")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), roots, str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_is_refused_with_the_name_of_the_first(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        pytest.raises(Refusal, match=f"by payload_artifacts, process {holder.pid}"),
        locked("me", str(tmp_path / "lock"), timeout=0.3),
    ):
        pytest.fail("both hold the lock")
    assert 0.3 <= time.monotonic() - began < 5
    assert f"process {holder.pid}" in (tmp_path / "lock").read_text()


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_a_second_run_waits_for_the_first(holder: subprocess.Popen[str], tmp_path: Path, end: str) -> None:
    if end == "ends":
        assert holder.stdin
        holder.stdin.close()
    else:
        holder.kill()
    with locked("me", str(tmp_path / "lock"), timeout=10):
        assert (tmp_path / "lock").read_text().startswith("me, process ")


def test_the_lock_is_let_go_and_its_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(RuntimeError, match="broken"), locked("one with a long name", str(path)):
        raise RuntimeError("broken")
    with locked("two", str(path), timeout=0):
        assert path.read_text().startswith("two, process ")
        assert path.read_text().count("\n") == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_lock_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("victim")
    (tmp_path / "victim").write_text("content")
    with pytest.raises(OSError, match="symbolic"), locked("me", str(tmp_path / "lock")):
        pytest.fail("held")
    assert (tmp_path / "victim").read_text() == "content"
