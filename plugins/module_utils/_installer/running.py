# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One command of a payload at work: when it is done, and whether it has failed.

``_installer.transaction`` finds out what it did to the node, and decides whether that stays.
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
#: remove the directory on which the artifacts are mounted.
_JUDGED_BY_RESULT = ("uninstall", "cleanup")
#: How many seconds a command gets to finish its output once the engine serves what it should.
_GRACE = 20.0
_PERIOD = 0.5


def run(driver: Driver, command: Command, program: service.Program, foreign: set[str]) -> CommandOutcome:
    """Run the command until it ends, or until it has done its work. Raises a refusal when it fails or takes too long."""
    invocation = driver.start()
    marker = record.entry_at(command.finished) if command.finished else None
    progress = Progress()
    since, began = time.time(), time.monotonic()
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


def _appeared(path: str, before: record.RecordEntry | None) -> bool:
    """Tell whether a marker is new or has changed: an earlier command may have left one."""
    now = record.entry_at(path) if path else None
    return now is not None and now != before


def hint(said: t.Sequence[str], command: Command) -> str:
    """Return the remedy for a command that has failed. ``said`` are the lines of its output."""
    if command.kubectl == "none" and any("kubectl" in line for line in said):
        return (
            "Its output names kubectl. If that is why, coco_installer_kubectl=stub answers for it, and the path of a kubeconfig lets "
            "it reach the cluster."
        )
    return "Its whole output is in the node's journal: journalctl -t confidential-containers-installer."


def _last(said: t.Sequence[str]) -> str:
    return " / ".join(line for line in said[-5:] if line.strip()) or "none"


def _installed(driver: Driver, command: Command, foreign: set[str]) -> bool:
    """Tell whether the engine serves the handlers that it should after an installation."""
    try:
        status = driver.status()
    except cri.CriError:
        return False
    new = set(status.handlers) - foreign
    return status.ready and (set(command.handlers) <= new if command.handlers else bool(new))
