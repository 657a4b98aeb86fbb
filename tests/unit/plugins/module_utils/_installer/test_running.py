# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a command's work is done, and when it has failed."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import running, service
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.command import (
    Command,
    CommandOutcome,
)
from ansible_collections.confidential_containers.runtime.tests.unit.engine import Played, table

AT_WORK = service.Running(True, 0, "", "1")
PROGRAM = service.Program(["/x"], "/", {}, "/root")


class Node:
    """A command at work, and the clock. ``events`` happen at seconds after its start."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = Played(directory / "config.toml")
        self.marker = directory / "done"
        self.now = 1000.0
        self.state = AT_WORK
        self.idle = False
        self.said = ["working"]
        self.removed = 0
        self.events: dict[float, t.Callable[[], object]] = {}
        monkeypatch.setattr(running, "time", self)
        monkeypatch.setattr(service, "start", lambda program: "1")
        monkeypatch.setattr(service, "running", lambda: self.state)
        monkeypatch.setattr(service, "is_idle", lambda: self.idle)
        monkeypatch.setattr(service, "output", lambda invocation, since: self.said)
        monkeypatch.setattr(service, "remove", self.remove)

    # The clock.

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for at in [at for at in self.events if 1000.0 + at <= self.now]:
            self.events.pop(at)()

    def remove(self) -> None:
        self.removed += 1

    def exit(self, status: int = 0, result: str = "success") -> None:
        self.state = service.Running(False, status, result, "1")

    def wait_idly(self) -> None:
        self.idle = True

    def serve(self) -> None:
        """Have the engine serve a new handler, after a restart."""
        self.driver.paths[0].write_text(table("runc") + table("kata"))
        self.driver.load()

    def run(self, name: str = "install", **more: t.Any) -> CommandOutcome:
        command = replace(Command(name, "sha256:1", ["/x", "now"], [], []), **more)
        try:
            return running.run(self.driver, command, PROGRAM, {"runc"})
        finally:
            assert self.removed == 1


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    (tmp_path / "config.toml").write_text(table("runc"))
    return Node(tmp_path, monkeypatch)


def test_a_command_that_exits(node: Node) -> None:
    node.events = {5: node.exit}
    outcome = node.run()
    assert (outcome.status, outcome.warning, outcome.output) == (0, "", ["working"])
    assert node.now == 1005


def test_a_command_that_only_waits_has_done_its_work(node: Node) -> None:
    node.events = {5: node.wait_idly}
    assert node.run().status == 0
    assert node.now == 1005


@pytest.mark.parametrize(
    ("result", "status", "failed"),
    [("exit-code", 3, "exit status 3"), ("success", 3, "exit status 3"), ("signal", 9, "signal"), ("timeout", 0, "timeout")],
)  # fmt: skip
def test_a_command_that_fails(node: Node, result: str, status: int, failed: str) -> None:
    node.events = {5: lambda: node.exit(status, result)}
    with pytest.raises(Refusal, match=rf"to succeed \(/x now\)\. Found {failed}; its last words: working"):
        node.run()


@pytest.mark.parametrize("name", ["uninstall", "cleanup"])
def test_a_command_that_is_judged_by_what_it_leaves(node: Node, name: str) -> None:
    node.events = {5: lambda: node.exit(3, "exit-code")}
    outcome = node.run(name)
    assert (outcome.status, outcome.warning) == (
        3,
        f"{name} of the payload ended with exit status 3; its last words: working",
    )


def test_a_command_that_needs_too_long(node: Node) -> None:
    with pytest.raises(Refusal, match=r"to end within 60 s .*still at work; its last words: working"):
        node.run(timeout=60)
    assert node.now == 1060.5


@pytest.mark.parametrize("before", [False, True], ids=["a new marker", "one that an earlier command has left"])
def test_a_marker_appears(node: Node, before: bool) -> None:
    if before:
        node.marker.write_text("before")
    node.events = {5: lambda: node.marker.write_text("done!"), 30: node.exit}
    node.run(finished=str(node.marker))
    assert node.now == 1005


def test_a_marker_that_was_there_before_is_none(node: Node) -> None:
    node.marker.write_text("before")
    node.events = {30: node.exit}
    node.run(finished=str(node.marker))
    assert node.now == 1030


@pytest.mark.parametrize(
    ("handlers", "now"),
    [((), 1025.5), (("kata",), 1025.5), (("kata", "other"), 1060.0)],
    ids=["any new one", "the one that is asked for", "one that is missing"],
)
def test_an_installation_is_done_when_the_engine_serves(node: Node, handlers: t.Sequence[str], now: float) -> None:
    """Not at once: it may still have something to say."""
    node.events = {5: node.serve, 60: node.exit}
    node.run(handlers=handlers)
    assert node.now == now


def test_another_restart_starts_the_time_anew(node: Node) -> None:
    node.events = {5: node.serve, 15: node.driver.load, 60: node.exit}
    node.run()
    assert node.now == 1035.5


def test_an_engine_that_was_not_restarted_says_nothing_of_the_command(node: Node) -> None:
    """What it serves beside what is not the payload's was there before: of an installation that is made again."""
    node.serve()
    node.events = {60: node.exit}
    node.run()
    assert node.now == 1060


@pytest.mark.parametrize("name", ["uninstall", "pre_install"])
def test_other_commands_are_not_judged_by_what_the_engine_serves(node: Node, name: str) -> None:
    node.events = {5: node.serve, 60: node.exit}
    node.run(name)
    assert node.now == 1060


@pytest.mark.parametrize(
    ("said", "kubectl", "hinted"),
    [
        ("kubectl: not found", "none", "coco_installer_kubectl=stub"),
        ("kubectl: not found", "stub", "journalctl -t"),
        ("no space", "none", "journalctl -t"),
    ],
)
def test_what_to_do_about_a_failure(node: Node, said: str, kubectl: str, hinted: str) -> None:
    node.said = [said]
    node.events = {5: lambda: node.exit(1, "exit-code")}
    with pytest.raises(Refusal) as refused:
        node.run(kubectl=kubectl)
    assert hinted in refused.value.remedy


def test_values_of_secrets_are_in_no_outcome(node: Node) -> None:
    node.said = ["token abcdefgh"]
    node.events = {5: node.exit}
    assert node.run(environment={"TOKEN": "abcdefgh"}).output == ["token …"]
