# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd would start, from what ``systemctl show`` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import unit_command
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import execstart
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.execstart import (
    Options,
    Planned,
)


def show(exec_start: str, *, env: str = "", files: tuple[str, ...] = (), directory: str = "") -> dict[str, list[str]]:
    path = exec_start.split()[0]
    return {
        "ExecStart": [f"{{ path={path} ; argv[]={exec_start} ; ignore_errors=no ; start_time=[n/a] ; pid=0 }}"],
        "Environment": [env],
        "EnvironmentFiles": [f"{path} (ignore_errors=yes)" for path in files],
        "WorkingDirectory": [directory],
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Options()),
        ("--config /a.toml", Options(config="/a.toml")),
        ("-c=/a.toml", Options(config="/a.toml")),
        ("-config /a.toml -a /s", Options(config="/a.toml", address="/s")),
        ("--c /a.toml --address=/s --root /r", Options(config="/a.toml", address="/s", root="/r")),
        ("-l debug --config /a.toml", Options(config="/a.toml")),
        ("--log-level --config --config /a.toml", Options(config="/a.toml")),
        ("--config /a.toml --config /b.toml", Options(config="/b.toml")),
        ("--config a.toml --root ../r", Options(config="/srv/x/a.toml", root="/srv/r")),
        ("--address /s publish --topic t --config /no", Options(address="/s", command="publish")),
        ("--config", Options()),
    ],
)
def test_options(words: str, expected: Options) -> None:
    assert execstart.options(words.split(), "/srv/x") == expected


CONTAINERD = "/usr/bin/containerd"
PLAIN = Options(config="/x.toml")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (show(CONTAINERD), Planned(CONTAINERD, Options())),
        (show(f"{CONTAINERD} --config /x.toml"), Planned(CONTAINERD, PLAIN)),
        (show(f"{CONTAINERD} --config ${{C}}", env="A=b C=/x.toml"), Planned(CONTAINERD, PLAIN)),
        (show(f"{CONTAINERD} --config=${{D}}/x.toml", env="D="), Planned(CONTAINERD, PLAIN)),
        (show(f"{CONTAINERD} $OPTIONS", env='"OPTIONS=-l debug --config /x.toml"'), Planned(CONTAINERD, PLAIN)),
        (show(f"{CONTAINERD} $OPTIONS", env="OPTIONS="), Planned(CONTAINERD, Options())),
        (show(f"{CONTAINERD} --config $$x"), Planned(CONTAINERD, Options(config="/$x"))),
        (show(f"{CONTAINERD} --config x.toml"), Planned(CONTAINERD, PLAIN)),
        (show(f"{CONTAINERD} -c x.toml", directory="!/srv"), Planned(CONTAINERD, Options(config="/srv/x.toml"))),
        (show("/usr/bin/nice -n -5 /opt/bin/containerd -c /x.toml"), Planned("/opt/bin/containerd", PLAIN)),
        (show("/opt/bin/containerd --root /var/lib/containerd"), Planned("/opt/bin/containerd", Options("", "", "/var/lib/containerd"))),
        # What cannot be known: with the reason.
        (show(f"{CONTAINERD} --config ${{C}}"), "uses C, which"),
        (show(f"{CONTAINERD} $OPTIONS ${{B}}/x"), "uses OPTIONS, B, which"),
        (show(f"{CONTAINERD} --config ${{C:-/x.toml}}"), "uses ${C:-/x.toml}, which"),
        (show("/bin/sh -c exec containerd --config '/x.toml'"), "begins with /bin/sh"),
        (show("/usr/local/bin/start-containerd --config /x.toml"), "begins with /usr/local/bin/start-containerd"),
        (show(f"{CONTAINERD} -c x.toml", directory="~"), "WorkingDirectory"),
        ({}, "no ExecStart"),
    ],
)  # fmt: skip
def test_what_systemd_would_start(properties: dict[str, list[str]], expected: Planned | str) -> None:
    found = execstart.planned(properties)
    if isinstance(expected, Planned):
        assert found == expected
    else:
        assert found.options is None
        assert expected in found.why


def test_a_program_of_this_name_is_preferred_to_a_value_of_it(tmp_path: Path) -> None:
    binary = tmp_path / "containerd"
    binary.touch()
    found = execstart.planned(show(f"/usr/bin/systemd-run --scope --unit containerd {binary} --config /x.toml"))
    assert found == Planned(str(binary), PLAIN)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OPTIONS=--config /x.toml", "--config /x.toml"),
        ("# OPTIONS=no\n OPTIONS = '--config /x.toml' \n", "--config /x.toml"),
        ('OPTIONS="--config /x.toml"', "--config /x.toml"),
        ("OPTIONS=--config /a.toml\nOPTIONS=", ""),
        # Beyond what is read here: unknown rather than wrong.
        ("OPTIONS=--config \\\n  /x.toml", None),
        ('OPTIONS="a\\"b"', None),
        ("OPTIONS=a'b c'", None),
    ],
)
def test_files_of_variables(tmp_path: Path, text: str, expected: str | None) -> None:
    (tmp_path / "containerd").write_text(text)
    properties = show(CONTAINERD, env="OPTIONS=less OTHER=1", files=("/no/such", f"{tmp_path}/*"))
    found = unit_command.environment(properties)
    assert found["OTHER"] == "1"
    assert found.get("OPTIONS") == expected
