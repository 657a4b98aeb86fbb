# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payloads that are extracted but not installed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import mounts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Payload, Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.staged import (
    Staged,
    begin,
    complete,
    discard,
    find,
    forget,
    of_source,
    remember,
    staging,
    waiting,
    working_directory,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    (tmp_path / "opt").mkdir()
    return tmp_path / "opt/confidential-containers"


def stage(state: State, prefix: Path, digest: str = DIGEST, keep: bool = False) -> Path:
    staged = Path(staging(str(prefix), digest))
    staged.mkdir(parents=True)
    (staged / "x").write_bytes(b"x")
    payload = Payload(digest, chain={digest: "manifest"})
    remember(state, Staged(payload, str(staged), str(prefix), {}, keep))
    return staged


def test_the_working_directory_is_on_the_prefix_s_file_system(tmp_path: Path) -> None:
    prefix = tmp_path / "opt/kata"
    assert working_directory(str(prefix)) == f"{tmp_path}/.confidential-containers"
    prefix.parent.mkdir()
    assert working_directory(str(prefix)) == f"{prefix.parent}/.confidential-containers"
    prefix.mkdir()
    assert working_directory(str(prefix)) == f"{prefix.parent}/.confidential-containers"
    assert working_directory("/proc") == "/proc/.confidential-containers"


@pytest.mark.parametrize(
    ("mounted", "place"),
    [
        ({}, "opt/.confidential-containers"),
        # A bind mount of the same file system is another mount.
        ({"opt/kata"}, "opt/kata/.confidential-containers"),
        ({"opt"}, "opt/.confidential-containers"),
        ({"opt", "opt/kata"}, "opt/kata/.confidential-containers"),
        ({"opt/.confidential-containers"}, "opt/kata/.confidential-containers"),
        ({"opt/.confidential-containers", "opt/kata/.confidential-containers"}, ""),
    ],
)
def test_the_working_directory_is_on_the_prefix_s_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: set[str], place: str
) -> None:
    (tmp_path / "opt/kata").mkdir(parents=True)

    def of(path: str) -> int:
        inside = [mount for mount in mounted if f"{path}/".startswith(f"{tmp_path}/{mount}/")]
        return max(map(len, inside), default=0)

    monkeypatch.setattr(mounts, "of", of)
    prefix = str(tmp_path / "opt/kata")
    if place:
        assert working_directory(prefix) == str(tmp_path / place)
    else:
        with pytest.raises(Refusal, match=f"Unmount {tmp_path}/opt/.confidential-containers"):
            working_directory(prefix)


def test_a_payload_is_staged_beside_the_prefix(prefix: Path) -> None:
    staged = staging(str(prefix), DIGEST)
    assert staged == f"{prefix.parent}/.confidential-containers/{'ab' * 8}"
    assert os.path.dirname(staged) == working_directory(str(prefix))


def test_a_payload_is_found_while_its_artifacts_are_there(state: State, prefix: Path) -> None:
    assert find(state, DIGEST) is None
    staged = stage(state, prefix)
    found = find(state, DIGEST)
    assert found is not None
    assert found.staged == str(staged)
    assert find(state, "sha256:" + "cd" * 32) is None
    (staged / "x").unlink()
    staged.rmdir()
    assert find(state, DIGEST) is None


def test_a_payload_is_not_found_where_it_cannot_be_renamed_from(
    state: State, prefix: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something was mounted at the prefix since it was staged beside it."""
    stage(state, prefix)
    monkeypatch.setattr(mounts, "of", lambda path: path == str(prefix))
    assert find(state, DIGEST) is None


def test_a_payload_whose_digest_is_known_in_the_end(state: State, prefix: Path) -> None:
    before = stage(state, prefix)
    name = "sha256:" + "cd" * 32
    staged = staging(str(prefix), name)
    begin(state, name, staged)
    payload = Staged(Payload(DIGEST, chain={DIGEST: "file"}, source="s"), staged, str(prefix), {})
    complete(state, name, payload)
    assert find(state, DIGEST) == of_source(state, "s") == payload
    assert of_source(state, "another") is None
    assert os.listdir(state.payloads) == [DIGEST.replace(":", "-")]
    assert not before.exists()
    discard(state, DIGEST)
    assert not os.path.exists(staged)
    assert find(state, DIGEST) is None


def test_a_payload_that_is_staged_anew_elsewhere_leaves_nothing_where_it_was(state: State, prefix: Path) -> None:
    before = stage(state, prefix)
    other = prefix.parent.parent / "srv"
    other.mkdir()
    staged = staging(str(other / "kata"), DIGEST)
    begin(state, DIGEST, staged)
    assert not before.parent.exists()
    forget(state)
    assert not list(other.iterdir())


def test_forgotten_payloads_leave_nothing(state: State, prefix: Path) -> None:
    stage(state, prefix)
    stage(state, prefix, "sha256:" + "cd" * 32)
    for _again in range(2):
        forget(state)
        assert not os.path.exists(state.payloads)
        assert not list(prefix.parent.iterdir())


@pytest.mark.parametrize(("keep", "digest", "stays"), [(True, DIGEST, True), (True, "", False), (False, DIGEST, False)])
def test_a_payload_that_is_kept(state: State, prefix: Path, keep: bool, digest: str, stays: bool) -> None:
    stage(state, prefix, keep=keep)
    stage(state, prefix, "sha256:" + "cd" * 32, keep=keep)
    state.write_receipt(Receipt(payload=Payload(digest)))
    forget(state)
    assert (find(state, DIGEST) is not None) is stays
    assert find(state, "sha256:" + "cd" * 32) is None


def test_a_payload_that_waits(state: State, prefix: Path) -> None:
    """Staged or half unpacked; not one that is kept for what is installed."""
    assert waiting(state) == {}
    stage(state, prefix, keep=True)
    staged = stage(state, prefix, "sha256:" + "cd" * 32)
    (staged / "large").write_bytes(os.urandom(1 << 20))
    os.link(staged / "large", staged / "again")
    half = staging(str(prefix), "sha256:" + "ef" * 32)
    begin(state, "sha256:" + "ef" * 32, half)
    state.write_receipt(Receipt(payload=Payload(DIGEST)))
    found = waiting(state)
    assert {digest: where["path"] for digest, where in found.items()} == {
        "sha256:" + "cd" * 32: str(staged),
        "sha256:" + "ef" * 32: half,
    }
    assert 1 << 20 <= found["sha256:" + "cd" * 32]["bytes"] < 2 << 20
    forget(state)
    assert waiting(state) == {}


def test_forgetting_keeps_what_else_is_in_the_working_directory(state: State, prefix: Path) -> None:
    stage(state, prefix)
    aside = Path(working_directory(str(prefix)), "aside-1")
    aside.mkdir()
    forget(state)
    assert list(aside.parent.iterdir()) == [aside]


def test_a_payload_whose_artifacts_are_gone_is_forgotten(state: State, prefix: Path) -> None:
    staged = stage(state, prefix)
    (staged / "x").unlink()
    staged.rmdir()
    forget(state)
    assert not os.path.exists(state.payloads)


@pytest.mark.parametrize(
    ("schema", "says"),
    [(2, "schema 2, written by.*Use that version"), (None, "KeyError: 'staged'.*from a backup")],
    ids=["newer", "without a part"],
)
def test_a_record_that_is_not_understood_is_refused(state: State, prefix: Path, schema: int | None, says: str) -> None:
    stage(state, prefix)
    Path(state.payload(DIGEST), "payload.json").write_text(json.dumps({"schema": schema, "digest": DIGEST}))
    with pytest.raises(Refusal, match=says):
        find(state, DIGEST)
