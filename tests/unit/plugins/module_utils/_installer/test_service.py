# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The unit in which a payload's command runs, and its environment. Integration tests show that systemd reads them in this way."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import service
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.service import Program
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process


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
    text = service.unit(Program(["/bin/sh", word], "/", {}, "/root"))
    assert line(text, "ExecStart") == f'ExecStart="/bin/sh" {written}'


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("$(TOKEN)", '"${TOKEN}"'),
        ("--token=$(TOKEN)/$(MODE)%", '"--token=${TOKEN}/${MODE}%%"'),
        ("$(OTHER) $(", '"$$(OTHER) $$("'),
        ("$$(TOKEN)", '"$$(TOKEN)"'),
        ("$$$(TOKEN)", '"$$${TOKEN}"'),
        ("${TOKEN}", '"$${TOKEN}"'),
        ('"$(TOKEN)"', '"\\"${TOKEN}\\""'),
    ],
)
def test_variables_are_put_in_where_nobody_sees_them(word: str, written: str) -> None:
    known = {"TOKEN": "hunter2", "MODE": "$(TOKEN)"}
    text = service.unit(Program(["/bin/sh", word], "/", known, "/root", known=list(known)))
    assert line(text, "ExecStart") == f'ExecStart="/bin/sh" {written}'


KEY = "-----BEGIN KEY-----\nhunter2/one\r\nhunter2/two\n\nx\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("the mode is node, or a=node", "the mode is node, or a=node"),
        ("qemu true install hunter", "qemu true install hunter"),
        ("token hunter2 and hunter2-and-more.", "token … and …."),
        ("x hunter2/one hunter2/two", "x … …"),
        ("-----BEGIN KEY-----", "…"),
        ("via http://user:hunter3@proxy:3128, and HTTPS://t@x/", "via http://…@proxy:3128, and HTTPS://…@x/"),
        ("mail to jo@example.com", "mail to jo@example.com"),
    ],
)
def test_what_a_command_says(said: str, shown: str) -> None:
    variables = {
        "MODE": "node",
        "SHIM": "qemu",
        "BYPASS": "true",
        "KEYMAP": "install",
        "MONKEY": "hunter",
        "AUTHOR": "mail",
        "ACCESS_TOKEN": "hunter2",
        "DB_PASS": "hunter2-and-more",
        "TLS_KEY": KEY,
        "EMPTY_SECRET": "",
    }
    assert service.masked([said], variables) == [shown]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "PASSWORD",
            "MYSQL_PASSWD",
            "db_pass",
            "REGISTRY_AUTH",
            "SECRET",
            "CLIENT_SECRET_2",
            "GITHUB_TOKEN",
            "API_KEY",
        ),
        *("APIKEY", "KEY", "TLS_KEY", "SSH_KEYS", "CREDENTIALS", "KEY_PASSPHRASE", "accessToken", "HTTP_AUTHORIZATION"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert service.masked(["it is hunter2."], {name: "hunter2"}) == ["it is …."]


def test_the_unit() -> None:
    text = service.unit(Program(["/x"], "/work", {"A": "secret"}, "/var/lib/r%", ["BindPaths=/a:/b"]))
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
    assert service.environment({"NAME": value}) == f'NAME="{written}"\n'


@pytest.mark.parametrize(
    ("name", "value"), [("A B", "x"), ("", "x"), ("1A", "x"), ("A=B", "x"), ("A", "\0"), ("A\n", "x")]
)
def test_names_that_are_none(name: str, value: str) -> None:
    with pytest.raises(Refusal, match="coco_environment_variables"):
        service.environment({name: value})


def test_nothing_is_started_that_systemd_has_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could start the command of an earlier run, under the same name."""
    asked: list[t.Sequence[str]] = []

    def refused(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        asked.append(argv)
        return subprocess.CompletedProcess(argv, 1, "", "Connection timed out")

    monkeypatch.setattr(service, "_PATH", str(tmp_path / service.NAME))
    monkeypatch.setattr(service, "_ENVIRONMENT", str(tmp_path / "environment"))
    monkeypatch.setattr(process, "run", refused)
    with pytest.raises(Refusal, match="Connection timed out"):
        service.start(Program(["/bin/true"], "/", {}, "/root"))
    assert asked == [["systemctl", "daemon-reload"]]
