# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit of an open run, where systemd does not do what it is asked."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import unit


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose systemd does not read its units again."""
    monkeypatch.setattr(unit, "_PATH", str(tmp_path / "etc" / unit.NAME))
    monkeypatch.setattr(unit, "_WANTED", str(tmp_path / "etc/wants" / unit.NAME))
    (tmp_path / "etc").mkdir()
    refused = subprocess.CompletedProcess([], 1, "", "Failed to reload daemon: Connection timed out\n")
    monkeypatch.setattr(process, "run", lambda argv: refused)
    return tmp_path / "journal"


def test_a_run_does_not_begin_without_its_unit(journal: Path) -> None:
    with pytest.raises(Refusal, match=r"read its units again.*Connection timed out"):
        unit.enable(str(journal))


def test_a_run_that_is_over_is_not_undone_for_it(journal: Path) -> None:
    with pytest.raises(Refusal):
        unit.enable(str(journal))
    assert "Connection timed out" in unit.disable(str(journal))
    assert not journal.exists()
    assert unit.disable(str(journal)) == ""


_ALL = """
import importlib, os, sys, zipfile
sys.path.insert(0, {program!r})
for name in zipfile.ZipFile({program!r}).namelist():
    if name != "__main__.py":
        importlib.import_module(name[:-3].replace("/", ".").replace(".__init__", ""))
assert all(module.__file__.startswith({program!r}) for name, module in sys.modules.items() if name.startswith("ansible_coll"))
"""


def test_the_program_needs_nothing_but_python(tmp_path: Path) -> None:
    """Every file of it, rooms included, is imported from it alone: neither site-packages nor the environment nor Ansible."""
    program = tmp_path / "transaction.zip"
    program.write_bytes(unit._program())
    names = zipfile.ZipFile(program).namelist()
    package = Refusal.__module__.rpartition(".")[0].replace(".", "/")
    source = Path(unit.__file__).parents[[path.name for path in Path(unit.__file__).parents].index("module_utils")]
    files = {f"{package}/{path.relative_to(source)}" for path in source.rglob("*.py")} - {f"{package}/_module.py"}
    assert files <= set(names)
    argv = [sys.executable, "-S", "-I", "-c", _ALL.format(program=str(program))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
