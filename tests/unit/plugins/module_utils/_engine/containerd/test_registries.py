# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A registry's own part of the node's ``hosts.toml``: what a password may be sent with."""

from __future__ import annotations

import tomllib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import registries
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


@pytest.mark.parametrize(
    ("url", "host", "own"),
    [
        ("https://h:5000", "h:5000", True),
        ("http://h:5000/v2", "h:5000", True),
        ("h:5000", "h:5000", True),
        ("https://h:443", "h", True),
        ("http://h:80/", "h", True),
        ("https://registry-1.docker.io", "docker.io", True),
        ("https://h", "h:5000", False),
        ("http://h:443", "h", False),
        ("https://h.example.com", "h", False),
        ("https://h@evil.example.com", "h", False),
        ("https://evil.example.com/h:5000", "h:5000", False),
    ],
)
def test_own_urls(url: str, host: str, own: bool) -> None:
    assert registries.is_own(url, host) is own


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ('server = "https://h:5000" # it\nca = "ca.crt"\n', {"server": "https://h:5000", "ca": "ca.crt"}),
        ("server = 'http://h:5000'\n", {"server": "http://h:5000"}),
        (
            '# ours\nskip_verify = true\n[host."https://mirror"]\nca = "/m"\n[host."https://mirror".header]\nx = "y"\n',
            {"skip_verify": True},
        ),
        (
            'server = "https://h:5000"\n[ host . \'https://h:5000\' ] # it\nca = [\n"/a",\n"/b"]\n[host."https://h:5000".header]\nx = ["y"]\n',
            {"server": "https://h:5000", "host": {"https://h:5000": {"ca": ["/a", "/b"], "header": {"x": ["y"]}}}},
        ),
        # All before the first table is about the server that it names: a mirror's goes as a whole.
        ('server = "https://mirror"\nca = "/m"\n[host."http://h:5000"]\n', {"host": {"http://h:5000": {}}}),
        # What looks like a table in a text is none.
        ('ca = """\n[host]\n"""\n', {"ca": "[host]\n"}),
    ],
)  # fmt: skip
def test_without_mirrors(text: str, expected: dict[str, t.Any]) -> None:
    assert tomllib.loads(registries.without_mirrors(text, "h:5000", "/x")) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('host = { "https://mirror" = { capabilities = ["pull"] } }', 1),
        ('host."https://mirror".capabilities = ["pull"]', 1),
        ('"host"."https://mirror".skip_verify = true', 1),
        ('\n[host]\n"https://mirror" = {}', 2),
        ('["host"."https://mirror"]', 1),
        ('[host."https://\\u006dirror"]', 1),
        ("[host.mirror]", 1),
        ('server = """https://h:5000"""', 1),
        ('"server" = "https://mirror"', 1),
    ],
)
def test_what_could_hide_a_mirror_is_refused(text: str, line: int) -> None:
    tomllib.loads(text)
    with pytest.raises(Refusal, match=f"in line {line}") as refused:
        registries.without_mirrors(text, "h:5000", "/certs.d/h/hosts.toml")
    assert "/certs.d/h/hosts.toml" in str(refused.value)
    assert 'mirror"' not in refused.value.found


def test_files_that_are_named_relative_to_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "certs").mkdir(parents=True)
    (source / "certs" / "client.key").write_text("key")
    (source / "hosts.toml").write_text('client = "certs/client.key"\n[host."https://mirror"]\n')
    registries.copy(str(source), str(tmp_path / "made"), "h:5000")
    for name in ("h_5000_", "h:5000"):
        made = tmp_path / "made" / name
        assert (made / "hosts.toml").read_text() == 'client = "certs/client.key"\n'
        assert (made / "certs" / "client.key").read_text() == "key"
        assert made.stat().st_mode & 0o077 == 0


def test_certificates_without_a_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "ca.crt").write_text("ca")
    registries.copy(str(source), str(tmp_path / "made"), "h")
    assert (tmp_path / "made" / "h" / "ca.crt").read_text() == "ca"
