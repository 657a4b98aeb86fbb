# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is told of an installation: by us, by the payload's own installer, of one that is gone, and of one that nobody can read."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layouts import LAYOUTS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    CommandDone,
    Difference,
    Installer,
    Payload,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State
from ansible_collections.confidential_containers.runtime.plugins.module_utils._status import status
from ansible_collections.confidential_containers.runtime.tests.unit.archives import tree_of

DIGEST = "sha256:" + "1" * 64
LAYOUT = LAYOUTS[0]
NOTHING = {
    "installed": False,
    "receipt": {"commands": [], "installer": "native"},
    "drift": {},
    "excluded": {},
    "remembers": False,
    "left_behind": {},
    "stays": [],
    "waiting": {},
    "interrupted": False,
}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "prefix"


def installed(prefix: Path) -> Receipt:
    """Return the receipt of two shims of which one is served, and have their files below the prefix."""
    directory = prefix / next(iter(LAYOUT.configurations))
    directory.mkdir(parents=True)
    for shim in ("qemu", "qemu-snp"):
        (directory / f"configuration-{shim}.toml").write_text(shim)
    tree = {path: artifacts.sign(str(prefix / path), entry) for path, entry in tree_of(prefix).items()}
    payload = Payload(DIGEST, reference="oci-archive:/x", layout=LAYOUT.name)
    return Receipt(payload=payload, prefix=str(prefix), tree=tree, handlers={"kata-qemu": {}})


def test_a_node_on_which_nothing_ever_was(state: State) -> None:
    assert status(state, verify=False) == (NOTHING, [])


def test_what_is_installed(state: State, prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "architecture", lambda: "amd64")
    monkeypatch.setattr(hardware, "capabilities", lambda: {"kvm": True, "snp": False})
    state.write_receipt(installed(prefix))
    found, problems = status(state, verify=False)
    assert (found["installed"], found["remembers"], found["drift"], problems) == (True, True, {}, [])
    shown = found["receipt"]
    assert (shown["installer"], shown["handlers"], shown["files"]) == ("native", ["kata-qemu"], 2)
    assert (shown["prefix"], shown["payload"]["digest"]) == (str(prefix), DIGEST)
    assert "SEV-SNP" in found["excluded"]["kata-qemu-snp"]
    assert list(found["excluded"]) == ["kata-qemu-snp"]


@pytest.mark.parametrize("verify", [False, True])
def test_files_that_are_not_as_they_were_installed(state: State, prefix: Path, verify: bool) -> None:
    receipt = installed(prefix)
    state.write_receipt(receipt)
    one, other = (path for path, entry in receipt.tree.items() if entry["type"] == "file")
    found = os.stat(prefix / one)
    (prefix / one).write_text((prefix / one).read_text().upper())
    os.utime(prefix / one, ns=(found.st_atime_ns, found.st_mtime_ns))
    (prefix / other).unlink()
    # Of the size, time and inode that it had, a file is only told by its digest.
    assert status(state, verify)[0]["drift"] == {other: "missing", **({one: "edited"} if verify else {})}


def left(path: Path) -> Installer:
    item: Difference = {"before": None, "after": {"type": "link", "target": "/x"}, "edited": False}
    return Installer({"install": CommandDone(DIGEST)}, {str(path): item})


def test_what_a_payload_has_installed_itself(state: State, tmp_path: Path) -> None:
    state.write_receipt(Receipt(payload=Payload(DIGEST), installer=left(tmp_path / "x"), handlers={"kata": {}}))
    found, _problems = status(state, verify=False)
    assert (found["installed"], found["left_behind"]) == (True, {})
    assert (found["receipt"]["installer"], found["receipt"]["commands"]) == ("payload", ["install"])
    assert found["drift"] == {str(tmp_path / "x"): "missing"}


def test_what_commands_have_left_behind(state: State, tmp_path: Path) -> None:
    installer = Installer({"uninstall": CommandDone(DIGEST)}, left(tmp_path / "x").left)
    state.write_receipt(Receipt(installer=installer))
    found, _problems = status(state, verify=False)
    assert (found["installed"], found["remembers"], found["drift"]) == (False, True, {})
    assert found["left_behind"] == {str(tmp_path / "x"): "added"}


def test_what_waits_and_what_was_interrupted(state: State, tmp_path: Path) -> None:
    staged.begin(state, DIGEST, str(tmp_path / "staged"))
    Journal(state).record()
    found, problems = status(state, verify=False)
    assert found["waiting"][DIGEST]["path"] == str(tmp_path / "staged")
    assert (found["interrupted"], problems) == (True, [])


@pytest.mark.parametrize("error", [Refusal("a record", "none", ""), FileNotFoundError(2, "No such file")])
def test_a_payload_that_goes_while_it_is_looked_at(
    state: State, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(state: State) -> t.NoReturn:
        raise error

    monkeypatch.setattr(staged, "waiting", fail)
    assert status(state, verify=False) == (NOTHING, [str(error)])


@pytest.mark.parametrize("name", ["receipt.json", "journal/journal.json"])
def test_a_document_that_nobody_can_read(state: State, name: str) -> None:
    """It counts as an installation: nobody knows that there is none."""
    path = Path(state.directory, name)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    found, (problem,) = status(state, verify=False)
    assert found == {**NOTHING, "installed": True, "remembers": True}
    assert str(path) in problem
