# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit in which a payload's command runs, and its environment. That systemd reads them so is shown on real nodes."""

from __future__ import annotations

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _service
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._service import Command


def line(text: str, key: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{key}="))


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("install", '"install"'),
        ("two words", '"two words"'),
        ("a \"b\" 'c'", '"a \\"b\\" \'c\'"'),
        ("$HOME 100%", '"$$HOME 100%%"'),
        ("back\\slash", '"back\\\\slash"'),
        ("a\nb\rc", '"a\\x0ab\\x0dc"'),
        ("; rm", '"; rm"'),
        ("", '""'),
    ],
)
def test_arguments_arrive_as_they_are(word: str, written: str) -> None:
    text = _service.unit(Command(["/bin/sh", word], "/", {}, "/root"))
    assert line(text, "ExecStart") == f'ExecStart="/bin/sh" {written}'


def test_the_unit() -> None:
    text = _service.unit(Command(["/x"], "/work", {"A": "secret"}, "/var/lib/r%", ["BindPaths=/a:/b"]))
    assert line(text, "RootDirectory") == "RootDirectory=/var/lib/r%%"
    assert line(text, "MountAPIVFS") == "MountAPIVFS=yes"
    assert line(text, "WorkingDirectory") == "WorkingDirectory=/work"
    assert "BindPaths=/a:/b" in text.splitlines()
    # Units are shown to everybody.
    assert "secret" not in text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "plain"),
        ('"quoted" `x` $y \\z', '\\"quoted\\" \\`x\\` \\$y \\\\z'),
        ("it's 100 %", "it's 100 %"),
        ("two\nlines", "two\nlines"),
        ("", ""),
    ],
)
def test_the_environment(value: str, written: str) -> None:
    assert _service.environment({"NAME": value}) == f'NAME="{written}"\n'


@pytest.mark.parametrize(
    ("name", "value"), [("A B", "x"), ("", "x"), ("1A", "x"), ("A=B", "x"), ("A", "\0"), ("A\n", "x")]
)
def test_names_that_are_none(name: str, value: str) -> None:
    with pytest.raises(Refusal, match="coco_environment_variables"):
        _service.environment({name: value})
