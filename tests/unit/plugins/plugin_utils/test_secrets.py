# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts are shown without their secrets."""

from __future__ import annotations

import time

import pytest

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._secrets import MASK, mask

SECRET = "hunter2"

# Text with a secret, and what has to be left of it to be of use.
SECRETS = [
    pytest.param('password = "hunter2"', "password = ", id="basic string"),
    pytest.param("password = 'hunter2'", "password = ", id="literal string"),
    pytest.param('password="hunter2"', "password=", id="no spaces"),
    pytest.param('  password\t=\t"hunter2"  # since May', "# since May", id="a comment behind"),
    pytest.param('# password = "hunter2"', "# password", id="in a comment"),
    pytest.param('password = "a\\"hunter2"', "password", id="an escaped quote"),
    pytest.param('password = "a\\\\" # x\nb = "hunter3"', "hunter3", id="an escaped backslash"),
    pytest.param("password = 'a\\' # b\nc = 'hunter3'", "hunter3", id="a backslash in a literal string"),
    pytest.param('password = "# hunter2"', "password", id="a hash in a string"),
    pytest.param('password = """hunter2"""', "password", id="multi-line string on a line"),
    pytest.param('password = """\nfirst\nhunter2\n"""\nafter = 1', "after = 1", id="multi-line string"),
    pytest.param("password = '''\nfirst\nhunter2\n'''\nafter = 1", "after = 1", id="multi-line literal string"),
    pytest.param('password = """a "quoted" hunter2"""', "password", id="quotes in a multi-line string"),
    pytest.param('password = """a\\"""hunter2"""', "password", id="an escaped quote in a multi-line string"),
    pytest.param('password = """hunter2""""', "password", id="a quote at the end of a multi-line string"),
    pytest.param("password = 12345678 # hunter", "password", id="a number"),
    pytest.param('password = "hunter2', "password", id="a string that does not end"),
    pytest.param("password = hunter2", "password", id="no string"),
    pytest.param('auth = { username = "u", password = "hunter2" }', "auth", id="inline table"),
    pytest.param('a = { b = { "password" = \'hunter2\' }, c = 1 }', "c = 1", id="inline tables"),
    pytest.param('credentials = { value = "hunter2" }', "credentials", id="inline table of that name"),
    pytest.param('credentials.value = "hunter2"', "credentials", id="dotted key"),
    pytest.param('auth."x".value = \'hunter2\'', "auth", id="dotted key with quotes"),
    pytest.param('registry.auth.password = "hunter2"', "registry.auth", id="dotted key, last"),
    pytest.param('registry . auth . password = "hunter2"', "registry", id="dotted key with spaces"),
    pytest.param('"password" = "hunter2"', "password", id="quoted key"),
    pytest.param("'my password' = \"hunter2\"", "password", id="quoted key with a space"),
    pytest.param("'password of x' = \"hunter2\"", "password", id="quoted key with spaces behind"),
    pytest.param('PASSWORD = "hunter2"', "PASSWORD", id="capitals"),
    pytest.param('Authorization = ["Bearer hunter2"]', "Authorization", id="header"),
    pytest.param('headers.Authorization = ["Bearer hunter2"]', "headers.Authorization", id="headers"),
    pytest.param('headers = { Authorization = ["Bearer hunter2"], Accept = ["x"] }', "Accept", id="headers, inline"),
    pytest.param('Authorization = [\n  "Bearer hunter3",\n  "Bearer hunter2",\n]\nafter = 1', "after = 1", id="multi-line array"),
    pytest.param('Authorization = [ # [all]\n  "a", # it\'s "the" first ]\n  "hunter2" ]\nafter = 1', "after = 1", id="comments in an array"),
    pytest.param('Authorization = ["a]", "hunter2"]', "Authorization", id="a bracket in an array"),
    pytest.param('Authorization = [["hunter2"], ["hunter2"]]', "Authorization", id="an array of arrays"),
    pytest.param('Authorization = [\n"hunter2"\n', "Authorization", id="an array that does not end"),
    pytest.param('"X-Registry-Auth" = ["hunter2"]', "X-Registry-Auth", id="X-Registry-Auth"),
    pytest.param('PRIVATE-TOKEN = ["hunter2"]', "PRIVATE-TOKEN", id="PRIVATE-TOKEN"),
    pytest.param('X-Api-Key = ["hunter2"]', "X-Api-Key", id="X-Api-Key"),
    pytest.param('apikey = "hunter2"', "apikey", id="apikey"),
    pytest.param('Cookie = ["session=hunter2"]', "Cookie", id="Cookie"),
    pytest.param('auth = "aHVudGVyMg== hunter2"', "auth", id="auth"),
    pytest.param('identitytoken = "hunter2"', "identitytoken", id="identity token"),
    pytest.param('client_secret = "hunter2"', "client_secret", id="secret"),
    pytest.param('passwd = "hunter2"', "passwd", id="passwd"),
    pytest.param('endpoint = ["https://user:hunter2@mirror.example.com/v2"]', "@mirror.example.com/v2", id="URL"),
    pytest.param('endpoint = ["https://hunter2@mirror.example.com"]', "@mirror.example.com", id="URL with a token"),
    pytest.param('endpoint = ["https://user:hun@hunter2@mirror.example.com"]', "mirror.example.com", id="URL with an @"),
    pytest.param('endpoint = ["https://mirror.example.com/?token=hunter2&x=1"]', "mirror.example.com", id="URL with a query"),
    pytest.param("HTTPS_PROXY=http://user:hunter2@proxy:3128 refused", "@proxy:3128 refused", id="URL in a message"),
    pytest.param('env ACCESS_TOKEN=hunter2 MODE=node', "MODE=node", id="an environment"),
    pytest.param('{"password": "hunter2", "mode": "node"}', '"mode": "node"', id="JSON"),
    pytest.param('# mirror: https://u:hunter2@x/ and HTTP://v:hunter2@y/', "@y/", id="URLs in a comment"),
    pytest.param('password = "hunter2"\r\nafter = 1\r\n', "after = 1", id="CRLF"),
    pytest.param('  3| password = "hunter2"\n   |            ~~~~', "3| password", id="quoted by an engine"),
    pytest.param(
        '[plugins."io.containerd.grpc.v1.cri".registry.configs."r:5000".auth]\n  username = "u"\n  password = "hunter2"\n',
        'registry.configs."r:5000".auth]\n  username = "u"', id="a registry",
    ),
]  # fmt: skip

HARMLESS = [
    'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n',
    'runtime_type = "io.containerd.kata-qemu.v2"',
    'options = { BinaryName = "/usr/bin/runc", SystemdCgroup = false }',
    'endpoint = ["https://mirror.example.com/v2", "http://10.0.0.1:5000"]',
    'sandbox_image = "registry.k8s.io/pause:3.8@sha256:0123456789abcdef"',
    "device_ownership_from_security_context = false",
    'email = "admin@example.com"',
    '# ask Jo <jo@example.com> first: "a" = "b"',
    'pod_annotations = ["io.katacontainers.*"]',
    '[plugins."io.containerd.grpc.v1.cri".registry.configs."mirror.example.com".auth]\n  username = "node-puller"',
    'config_path = "/etc/containerd/certs.d"',
    "tls_cert_file = '/etc/x.crt'\ntls_key_file = '/etc/x.key'",
    "a = '''\nmany\nlines\n'''\nb = [\n  'c',\n]\n",
    "Expected coco_registry_auth or a node that knows the registry. Set coco_payload_on=controller, or coco_installer=payload.",
    "unauthorized: the registry wants other credentials (coco_payload_on=node, pull=always)",
    "DEBUG=false NODE_NAME=node SHIMS=qemu",
    "",
]


@pytest.mark.parametrize(("text", "stays"), SECRETS)
def test_no_secret_survives(text: str, stays: str) -> None:
    shown = mask(text)
    assert not any(secret in shown for secret in (SECRET, "12345678", "aHVudGVyMg"))
    assert MASK in shown
    assert stays in shown


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_harmless_stays(text: str) -> None:
    assert mask(text) == text


def test_masking_twice_is_masking_once() -> None:
    for case in SECRETS:
        once = mask(str(case.values[0]))
        assert mask(once) == once


def test_lines_stay_where_they_are_as_long_as_no_secret_spans_several() -> None:
    text = 'a = 1\npassword = "hunter2"\nendpoint = "https://u:hunter2@x"\nb = 2\n'
    assert mask(text) == f'a = 1\npassword = "{MASK}"\nendpoint = "https://{MASK}@x"\nb = 2\n'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a" * 10_000, id="a long word"),
        pytest.param("password = [" + '"x", ' * 5_000, id="a long array without an end"),
        pytest.param('password = """' + "x" * 10_000, id="a long string without an end"),
        pytest.param('password = "' + '\\"' * 10_000, id="many escapes"),
        pytest.param('"' * 10_000, id="many quotes"),
        pytest.param("https://" + "a:" * 5_000, id="a long URL"),
    ],
)
def test_a_long_text_is_masked_in_no_time(text: str) -> None:
    began = time.process_time()
    mask(text)
    assert time.process_time() - began < 1
