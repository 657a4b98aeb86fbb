# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last words of an engine that does not start."""

from __future__ import annotations

import json
import time
from pathlib import Path

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


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+08:00", "-09:30"])
def test_a_log_file(tmp_path: Path, zone: str) -> None:
    since = 1_795_762_800
    shift = {"Z": 0.0, "+00:00": 0.0, "+08:00": 8.0, "-09:30": -9.5}[zone] * 3600
    lines = [
        f'time="{time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since + after + shift))}.123456789{zone}" {words}'
        for after, words in (
            (-7200, 'level=error msg="of an earlier start"'),
            (0, "level=info msg=starting"),
            (1, 'level=error msg="cannot parse: password=geheim"'),
        )
    ]
    (tmp_path / "x").write_text("\n".join([*lines, "goroutine 1", 'time="2026-02-30T00:00:00Z" x', ""]))
    said = log.telling_of_file(str(tmp_path / "x"), since + 0.5).splitlines()
    assert [line.partition(zone)[2] for line in said[:1]] == ['" level=error msg="cannot parse: password=…"']
    assert said[1:] == ["goroutine 1", 'time="2026-02-30T00:00:00Z" x']
    assert log.telling_of_file(str(tmp_path / "x"), since + 60) == ""
    assert log.telling_of_file(str(tmp_path / "absent"), since) == ""


def test_only_the_end_of_a_long_log_file_counts(tmp_path: Path) -> None:
    line = 'time="2026-11-27T06:30:04.1Z" level=error msg="x"\n'
    (tmp_path / "x").write_bytes(line.replace("x", "early").encode() + b"\xff" * (1 << 18) + b"\n" + line.encode())
    assert log.telling_of_file(str(tmp_path / "x"), 1) == line.rstrip()
