# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waiting for a containerd that its distribution restarts."""

from __future__ import annotations

import os
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    daemon,
    execstart,
    watched,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

ENGINE = Engine("k0s", (2, 3, 3), "k0sworker.service", "", "", "", True)


class Clock:
    """Time that passes only while somebody waits. ``life`` has the daemon from each second on: (from, process, its start).

    ``events`` are the seconds after which something had happened in the directory.
    """

    def __init__(self, life: t.Sequence[tuple[float, int, float]], directory: Path) -> None:
        self.now, self.life, self.directory = 0.0, life, directory
        self.events: list[float] = []
        self.seen = directory.stat().st_mtime_ns

    def process(self) -> tuple[int, float]:
        return [(pid, started) for since, pid, started in self.life if since <= self.now][-1]

    def sleep(self, seconds: float) -> None:
        found = self.directory.stat().st_mtime_ns
        self.events += [self.now] if found != self.seen else []
        self.seen = found
        self.now += seconds


@pytest.fixture
def clocks() -> list[Clock]:
    """The clocks of this test."""
    return []


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clocks: list[Clock]) -> t.Callable[..., float]:
    """Wait for the daemon of a clock; return how long that took."""

    def waited(life: t.Sequence[tuple[float, int, float]], timeout: float = 120.0) -> float:
        clock = Clock(life, tmp_path)
        clocks.append(clock)
        monkeypatch.setattr(time, "monotonic", lambda: clock.now)
        monkeypatch.setattr(time, "clock_gettime", lambda _id: clock.now)
        monkeypatch.setattr(time, "sleep", clock.sleep)
        monkeypatch.setattr(systemd, "show", lambda unit, name: "")

        def find(main: int, group: str) -> daemon.Daemon | None:
            pid, _started = clock.process()
            return daemon.Daemon(pid, "", "", execstart.Options(), True) if pid else None

        monkeypatch.setattr(daemon, "find", find)
        monkeypatch.setattr(daemon, "started", lambda pid: clock.process()[1])
        watched.await_restart(ENGINE, str(tmp_path), timeout)
        assert list(tmp_path.iterdir()) == []
        return clock.now

    return waited


OLD, DOWN = (-100, 1, -100.0), (3.0, 0, 0.0)


def test_the_daemon_after_the_next_one(wait: t.Callable[..., float]) -> None:
    assert 8 <= wait([OLD, DOWN, (8.0, 2, 8.0)]) < 8.5


def test_a_daemon_that_an_earlier_event_had_ended_comes_back_only_to_end_again(wait: t.Callable[..., float]) -> None:
    assert 8 <= wait([(-1, 0, 0.0), (1.0, 2, 1.0), DOWN, (8.0, 3, 8.0)]) < 8.5


def test_a_distribution_that_does_not_watch_yet_gets_a_second_event(
    wait: t.Callable[..., float], clocks: list[Clock]
) -> None:
    # It starts its daemon a second after the event, and watches later than that.
    assert 23 <= wait([(-1, 0, 0.0), (1.0, 2, 1.0), (18.5, 0, 0.0), (23.5, 3, 23.5)]) < 24
    assert [round(second) for second in clocks[0].events] == [0, 15]


@pytest.mark.parametrize(
    ("life", "timeout", "found", "seconds"),
    [
        ([OLD], 120.0, "the daemon of before", 30),
        ([OLD, DOWN], 60.0, "no daemon", 60),
        ([OLD], 5.0, "the daemon of before", 5),
    ],
)
def test_a_daemon_that_does_not_come(
    wait: t.Callable[..., float], life: list[tuple[float, int, float]], timeout: float, found: str, seconds: float
) -> None:
    with pytest.raises(Refusal, match=found):
        wait(life, timeout)
    assert seconds <= time.monotonic() < seconds + 1


def test_when_a_process_was_started(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (a b) S " + " ".join(["1"] * 18) + f" {5 * os.sysconf('SC_CLK_TCK')} 0")
    assert daemon.started(7, str(tmp_path)) == 5.0
    assert daemon.started(8, str(tmp_path)) == 0.0
    assert 0 < daemon.started(os.getpid()) <= time.clock_gettime(time.CLOCK_BOOTTIME)
