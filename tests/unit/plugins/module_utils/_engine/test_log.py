# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last words of an engine that does not start."""

from __future__ import annotations

import json

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import log

STARTING = {"MESSAGE_ID": "7d4958e842da4a758f6c1cdc7b36dcc5", "MESSAGE": "Démarrage de containerd.service…"}
OLD = [
    {"MESSAGE": 'level=fatal msg="a start of yesterday"', "__REALTIME_TIMESTAMP": "1"},
    {"MESSAGE": 'level=error msg="failed to reload cni configuration after receiving fs event"'},
    {"MESSAGE": "Stopped containerd"},
]
ENDED = ["containerd.service: Control process exited, code=exited, status=3", "Failed to start containerd.service"]


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        # An ExecStartPre that fails, a library that is missing, a wrapper that exits.
        (["preparing", "no such user: kata", *ENDED], ["preparing", "no such user: kata", *ENDED]),
        (["containerd: error while loading shared libraries: libseccomp.so.2", *ENDED], ["containerd: error while"]),
        (['level=info msg="starting containerd"', "/usr/local/bin/start: line 3: oops", *ENDED], ["/usr/local/bin/start: line 3: oops", *ENDED]),
        # containerd's own words come first.
        (['level=warning msg="failed to load plugin io.containerd.grpc.v1.cri" error="x"', *ENDED], ["level=warning msg="]),
        (['level=info msg="starting cri plugin" config="{\\"password\\":\\"no\\"}"', "level=info msg=x"], ["level=info msg=x"]),
        ([f"line {number}" for number in range(50)], [f"line {number}" for number in range(40, 50)]),
        (["x" * 10000], ["x" * 500]),
        ([], []),
    ],
)  # fmt: skip
def test_telling_lines(logged: list[str], expected: list[str]) -> None:
    journal = "\n".join(json.dumps(entry) for entry in [*OLD, STARTING, *({"MESSAGE": line} for line in logged)])
    entries = log.entries(f"-- Logs begin at … --\n{journal}\n")
    found = log.telling(entries, since=2.0).splitlines()
    assert len(found) == len(expected), found
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_what_is_not_utf_8() -> None:
    assert log.telling([{"MESSAGE": list(b"caf\xe9")}], 0) == "caf\ufffd"


@pytest.mark.parametrize(
    "line",
    [
        "cannot log in with password=geheim here",
        'pull from https://robot:geheim@registry.example.com/x failed',
        'header "Authorization: Bearer geheim"',
        r'config="{\"auth\":{\"password\":\"geheim\"}}" here',
        "REGISTRY_TOKEN='geheim' set",
        "identitytoken: geheim",
    ],
)  # fmt: skip
def test_secrets(line: str) -> None:
    assert "geheim" not in log.masked(line)
    assert log.masked(line)[:8] == line[:8]


@pytest.mark.parametrize(
    "line",
    ['level=error msg="401 Unauthorized: no such author: x"', "listen unix /run/x.sock: bind: permission denied"],
)
def test_ordinary_words_stay(line: str) -> None:
    assert log.masked(line) == line


def test_a_strange_log_keeps_nobody_from_the_way_back() -> None:
    """A line that was cut, no object, and an entry with several messages."""
    logged = '{"MESSAGE": ["level=fatal one", "level=fatal two"]}\n{"MESSAGE": "lev\n{}\n'
    assert log.telling(log.entries(logged), 0) == "level=fatal one\nlevel=fatal two"
