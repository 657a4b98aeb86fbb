# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an engine's configuration says about registries, as ctr is told it."""

from __future__ import annotations

import tomllib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.pull import (
    Registry,
    Settings,
    check,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

ONE = 'plugins."io.containerd.grpc.v1.cri".registry'
TWO = "plugins.'io.containerd.cri.v1.images'.registry"


def test_the_root_of_the_content_store() -> None:
    assert Settings('root = "/data/containerd"\n').root == "/data/containerd"
    assert Settings("root = '/data/containerd'\n").root == "/data/containerd"
    assert Settings("").root == "/var/lib/containerd"


@pytest.mark.parametrize("table", [ONE, TWO])
@pytest.mark.parametrize("name", ["h:5000", "h_5000_", "_default"])
def test_the_engine_s_own_directory_of_hosts(tmp_path: Path, table: str, name: str) -> None:
    (tmp_path / "two" / name).mkdir(parents=True)
    settings = Settings(f"[{table}]\n  config_path = '{tmp_path}/one:{tmp_path}/two'\n")
    assert settings.hosts("h:5000", str(tmp_path / "made")) == ["--hosts-dir", f"{tmp_path}/two"]
    assert not (tmp_path / "made").exists()


def test_nothing_about_the_host(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    settings = Settings(f'[{ONE}]\n  config_path = "{tmp_path}"\n[{ONE}.mirrors."x"]\n  endpoint = ["https://m"]\n')
    assert settings.hosts("h", str(tmp_path / "made")) == []


def test_old_tables(tmp_path: Path) -> None:
    settings = Settings(
        f"""
[{ONE}]
  config_path = ""
  [{ONE}.mirrors]
    [{ONE}.mirrors."docker.io"]
      endpoint = ["https://mirror.example.com", "http://second:5000"]
  [{ONE}.configs]
    [{ONE}.configs."mirror.example.com"]
      [{ONE}.configs."mirror.example.com".tls]
        ca_file = "/etc/ca.crt"
        cert_file = "/etc/client.crt"
        insecure_skip_verify = false
        key_file = "/etc/client.key"
    [{ONE}.configs."second:5000".tls]
      insecure_skip_verify = true
"""
    )
    made = tmp_path / "made"
    assert settings.hosts("docker.io", str(made)) == ["--hosts-dir", f"{made}/hosts"]
    assert tomllib.loads((made / "hosts/docker.io/hosts.toml").read_text()) == {
        "server": "https://registry-1.docker.io",
        "host": {
            "https://mirror.example.com": {
                "capabilities": ["pull", "resolve"],
                "ca": "/etc/ca.crt",
                "client": [["/etc/client.crt", "/etc/client.key"]],
            },
            "http://second:5000": {"capabilities": ["pull", "resolve"], "skip_verify": True},
        },
    }
    assert list(tomllib.loads((made / "hosts/docker.io/hosts.toml").read_text())["host"]) == [
        "https://mirror.example.com",
        "http://second:5000",
    ]


def test_certificates_of_the_registry_itself(tmp_path: Path) -> None:
    settings = Settings(f'[{ONE}.configs."h:5000".tls]\n  ca_file = "/etc/ca.crt"\n')
    settings.hosts("h:5000", str(tmp_path))
    for name in ("h:5000", "h_5000_"):
        assert tomllib.loads((tmp_path / "hosts" / name / "hosts.toml").read_text()) == {
            "server": "https://h:5000",
            "host": {"https://h:5000": {"capabilities": ["pull", "resolve"], "ca": "/etc/ca.crt"}},
        }


@pytest.mark.parametrize("password", ["", "two words", "ünï", "x" * 4095])
def test_a_password_that_can_be_typed(password: str) -> None:
    check(Access("user", password))


@pytest.mark.parametrize(
    ("password", "found"),
    [
        ("x" * 4096, "one of 4096 bytes"),
        ("ü" * 2048, "one of 4096 bytes"),
        ("hunter2\n", "one with line breaks"),
        ("first\nhunter2", "one with line breaks"),
        ("hunter2\x04", "control characters"),
    ],
)
def test_a_password_that_a_terminal_would_cut(password: str, found: str) -> None:
    with pytest.raises(Refusal, match=found) as refused:
        check(Access("user", password))
    assert "hosts.toml" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_with_a_password_mirrors_go_and_the_rest_stays(tmp_path: Path) -> None:
    """The scheme, the CA and the client's certificates are the registry's own."""
    (tmp_path / "certs.d" / "h_5000_").mkdir(parents=True)
    (tmp_path / "certs.d" / "h_5000_" / "hosts.toml").write_text('ca = "/ca"\n[host."https://mirror"]\n')
    settings = Settings(f"[{TWO}]\n  config_path = '{tmp_path}/certs.d'\n")
    made = tmp_path / "made"
    assert settings.hosts("h:5000", str(made), mirrors=False) == ["--hosts-dir", f"{made}/hosts"]
    assert (made / "hosts/h:5000/hosts.toml").read_text() == 'ca = "/ca"\n'
    assert settings.hosts("other", str(made), mirrors=False) == []


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ('["http://h:5000"]', {"server": "http://h:5000", "host": {"http://h:5000": {"ca": "/ca"}}}),
        ('["https://mirror"]', {"server": "https://h:5000", "host": {"https://h:5000": {"ca": "/ca"}}}),
    ],
)
def test_with_a_password_old_mirrors_go(tmp_path: Path, endpoints: str, expected: dict[str, t.Any]) -> None:
    settings = Settings(
        f'[{ONE}.mirrors."h:5000"]\n  endpoint = {endpoints}\n[{ONE}.configs."h:5000".tls]\n  ca_file = "/ca"\n'
    )
    settings.hosts("h:5000", str(tmp_path), mirrors=False)
    found = tomllib.loads((tmp_path / "hosts/h:5000/hosts.toml").read_text())
    for options in found["host"].values():
        del options["capabilities"]
    assert found == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('username = "u"\n  password = "a\\"b\\\\c"', Access("u", 'a"b\\c')),
        ("username = 'u'\n  password = 'a\\'", Access("u", "a\\")),
        ('username = ""\n  auth = "dTpwOnE="', Access("u", "p:q")),
        ('auth = "no base64!"', None),
        ('identitytoken = "x"', None),
        ("", None),
    ],
)
def test_credentials_in_old_tables(lines: str, expected: Access | None) -> None:
    settings = Settings(f'[{ONE}.configs."h:5000".auth]\n  {lines}\n[{ONE}.configs."h".auth]\n  username = "no"\n')
    assert settings.credentials("h:5000") == expected
    assert settings.credentials("other") is None


def test_credentials_of_the_engine_come_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror may want none. What the user gives comes first, and alone."""
    asked: list[Access] = []

    def run(self: Registry, access: Access, words: t.Sequence[str], pulling: object) -> bytes:
        asked.append(access)
        if not access.username:
            raise Refusal("", "401 Unauthorized", "")
        return b"{}"

    monkeypatch.setattr(Registry, "_run", run)
    dump = f'[{ONE}.configs."h:5000".auth]\n  username = "u"\n  password = "p"\n'
    engine = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/c", "/s", True)
    configuration, image = Dump(dump), "h:5000/x:y"
    Registry(engine, configuration, image, Access(ca="CA")).resolve()
    assert asked == [Access(ca="CA"), Access("u", "p", "CA")]
    asked.clear()
    Registry(engine, configuration, image, Access("mine", "q")).resolve()
    assert asked == [Access("mine", "q")]
    asked.clear()
    with pytest.raises(Refusal):
        Registry(engine, configuration, "docker.io/other/x:y", Access()).resolve()
    assert asked == [Access()]


DIGEST = "sha256:" + "401403429" * 7 + "a"


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("failed to resolve reference: h:5000/x:y: not found", "repository and the tag"),
        ("pull access denied, repository does not exist or may require authorization", "coco_registry_auth"),
        ("unexpected status from HEAD request to https://h/v2/: 401 Unauthorized", "coco_registry_auth"),
        ("no basic auth credentials", "coco_registry_auth"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "coco_registry_ca"),
        ("x509: certificate has expired or is not yet valid: current time 2026", "clock"),
        ("x509: certificate is valid for other.example.com, not h", "name of the registry"),
        (
            "x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
            "name of the registry",
        ),
        ("remote error: tls: bad certificate", "client's certificate"),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "reaches it"),
        ("dial tcp: lookup h: no such host", "reaches it"),
        ("write /var/lib/containerd/x: no space left on device", "room"),
        ("toomanyrequests: 429 Too Many Requests", "Wait"),
        # Nothing is known of the cause: no remedy for another one.
        (f"content {DIGEST} is strange", "words of containerd's ctr"),
    ],
)
def test_a_remedy_only_for_a_cause_that_is_known(said: str, remedy: str) -> None:
    engine = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/c", "/s", True)
    registry = Registry(engine, Dump(""), "h:5000/x:y", Access("u", "geheim"))
    refusal = registry._failed(Access("u", "geheim"), "", f"warning: x\nctr: {said} geheim\n")
    assert refusal.found == f"{said} …"
    assert remedy in refusal.remedy
