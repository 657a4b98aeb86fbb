# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One command of a payload at work: when it is done, and whether it has failed. What it does to the node, and whether that stays,
is for ``_installer.transaction``.
"""

from __future__ import annotations

import enum
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import record, service
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.command import (
    Command,
    CommandOutcome,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.progress import Progress

#: Commands that are judged by their result, so that a failure is only a warning. Real ones fail at their end, when they try to
#: remove the directory on which the artifacts are mounted, which no system allows.
_JUDGED_BY_RESULT = ("uninstall", "cleanup")
#: Seconds that a command may still have to say something once the engine serves what it should.
_GRACE = 20.0
_PERIOD = 0.5


def run(driver: Driver, command: Command, program: service.Program, foreign: set[str]) -> CommandOutcome:
    """Run the command until it has ended or done its work. ``foreign`` are the handlers that are none of the payload's."""
    watch, since = _Watch(driver, command, foreign), time.time()
    started = service.start(program)
    how, found = watch.wait()
    said = service.masked(service.output(started, since), command.environment)
    service.remove()
    if how is _End.LATE:
        raise Refusal(
            f"{command.name} of the payload to end within {command.timeout:.0f} s (coco_installer_timeout)",
            f"that it was still at work; its last words: {_last(said)}",
            "Give it more time, or name in coco_installer_done what appears when its work is done.",
        )
    if how is not _End.EXITED:
        return CommandOutcome(output=said)
    outcome = CommandOutcome(output=said, status=found.status)
    if found.status or found.result not in ("success", ""):
        failed = f"exit status {found.status}" if found.result in ("success", "exit-code") else found.result
        outcome.warning = f"{command.name} of the payload ended with {failed}; its last words: {_last(said)}"
        if command.name not in _JUDGED_BY_RESULT:
            raise Refusal(
                f"{command.name} of the payload to succeed ({' '.join(command.argv)})",
                f"{failed}; its last words: {_last(said)}",
                hint(said, command),
            )
    return outcome


class _End(enum.Enum):
    """Why nobody waits for a command any more."""

    EXITED = "it has exited"
    IDLE = "it has done its work, and only waits"
    SERVED = "the engine serves what it should"
    LATE = "its time is over"


class _Watch:
    """Waits for a command. It is made before the command is started: an earlier one may have left what this one is to make."""

    def __init__(self, driver: Driver, command: Command, foreign: set[str]) -> None:
        self._driver, self._command, self._foreign = driver, command, foreign
        self._began = time.monotonic()
        self._invocation = driver.start()
        self._marker = self._marked()
        #: The start of the engine that was met when it served what it should, and since when.
        self._served_by, self._served_since = "", 0.0

    def wait(self) -> tuple[_End, service.Running]:
        """Return why it need not be waited for any more, and what systemd says of it then."""
        progress = Progress()
        while True:
            time.sleep(_PERIOD)
            found, now = service.running(), time.monotonic()
            how = self._end(found, now)
            if how:
                progress.end()
                return how, found
            progress.tell(f"{self._command.name} of the payload at work for {now - self._began:.0f} s")

    def _end(self, found: service.Running, now: float) -> _End | None:
        if not found.alive:
            return _End.EXITED
        if self._has_appeared() or service.is_idle():
            return _End.IDLE
        if self._command.name == "install" and self._has_served(now):
            return _End.SERVED
        return _End.LATE if now > self._began + self._command.timeout else None

    def _marked(self) -> record.RecordEntry | None:
        return record.entry_at(self._command.finished) if self._command.finished else None

    def _has_appeared(self) -> bool:
        """Tell whether a marker is there that was not there before, as it is now."""
        now = self._marked()
        return now is not None and now != self._marker

    def _has_served(self, now: float) -> bool:
        """Tell whether the engine was restarted, and has served what it should for a while."""
        if self._driver.start() == self._invocation or not _installed(self._driver, self._command, self._foreign):
            return False
        start = self._driver.start()
        if start != self._served_by:
            self._served_by, self._served_since = start, now
        return now > self._served_since + _GRACE


def hint(said: t.Sequence[str], command: Command) -> str:
    """Return what to do about a command that has failed and has ``said`` this."""
    if command.kubectl == "none" and any("kubectl" in line for line in said):
        return (
            "Its output names kubectl. If that is why, coco_installer_kubectl=stub answers for it, and the path of a kubeconfig lets "
            "it reach the cluster."
        )
    return "Its whole output is in the node's journal: journalctl -t confidential-containers-installer."


def _last(said: t.Sequence[str]) -> str:
    return " / ".join(line for line in said[-5:] if line.strip()) or "none"


def _installed(driver: Driver, command: Command, foreign: set[str]) -> bool:
    """Tell whether the engine serves what it should after an installation."""
    try:
        status = driver.status()
    except cri.CriError:
        return False
    new = set(status.handlers) - foreign
    return status.ready and (set(command.handlers) <= new if command.handlers else bool(new))
