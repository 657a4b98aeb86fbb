# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress of long work, and what is found out once for all hosts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.progress import Progress, parse
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _watch
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._once import once


def test_short_work_shows_nothing() -> None:
    shown: list[str] = []
    assert _watch.watch(lambda: 7, lambda: ("sent", 1, 2), shown.append) == 7
    assert shown == []


def test_long_work_is_seen_to_move() -> None:
    shown: list[str] = []
    done = threading.Event()

    def look() -> _watch.Entry | None:
        if len(shown) == 2:
            done.set()
        return ("sent", (len(shown) + 1) << 20, 4 << 20)

    assert _watch.watch(done.wait, look, shown.append, period=0.01)
    assert shown[0] == "1 of 4 MiB (25 %) sent"
    assert shown[1].startswith("2 of 4 MiB (50 %) sent, ")
    assert shown[1].endswith(" MiB/s")


def test_a_look_that_fails_does_not_count() -> None:
    shown: list[str] = []
    looks: list[int] = []
    done = threading.Event()

    def look() -> _watch.Entry | None:
        looks.append(1)
        if len(looks) == 1:
            raise AnsibleConnectionFailure("Connection reset by peer")
        done.set()
        return ("sent", 1 << 20, 4 << 20)

    assert _watch.watch(done.wait, look, shown.append, period=0.01)
    assert len(looks) > 1


def test_what_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        _watch.watch(lambda: 1 // 0, lambda: None, print)


def test_an_unknown_total() -> None:
    assert _watch.line(("pulled", 5 << 20, 0), 1.5 * (1 << 20)) == "5 MiB pulled, 1.5 MiB/s"


@pytest.mark.parametrize(("done", "shown"), [(1, "1 KiB"), (300 << 10, "300 KiB"), (1 << 20, "1 MiB")])
def test_little_of_an_unknown_total_is_not_shown_as_nothing(done: int, shown: str) -> None:
    assert _watch.line(("pulled", done, 0)) == f"{shown} pulled"


def test_work_that_is_not_counted() -> None:
    assert _watch.line(("at work for 7 s", 0, 0)) == "at work for 7 s"


def test_progress_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = Progress(str(path))
    progress.tell("pulled", 1, 2)
    assert parse(path.read_text()) == ("pulled", 1, 2)
    assert path.stat().st_mode & 0o777 == 0o644
    progress.tell("pulled", 2, 2)  # too soon
    assert parse(path.read_text()) == ("pulled", 1, 2)
    progress.end()
    assert list(tmp_path.iterdir()) == []
    Progress("/no/such/directory/x").tell("pulled", 1)


@pytest.mark.parametrize("text", ["", "cat: no such file", "[]", "{}", '{"what": "x", "done": null, "total": 1}'])
def test_no_progress(text: str) -> None:
    assert parse(text) is None


def test_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def find_out() -> str:
        asked.append("x")
        if len(asked) == 1:
            raise OSError
        return "known"

    with pytest.raises(OSError):
        once(str(tmp_path), "key", find_out)
    assert [once(str(tmp_path), "key", find_out) for _again in range(3)] == ["known"] * 3
    assert len(asked) == 2
    assert once(str(tmp_path), "another", lambda: "other") == "other"
