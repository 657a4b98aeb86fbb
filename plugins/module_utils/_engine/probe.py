# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Does an engine serve its handlers? Only the CRI's own answer counts: an active unit proves nothing."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

#: Seconds that an engine gets at least to come back with its old configuration: to give up early helps nobody.
PATIENCE = 300.0
#: For so many seconds an engine that has just been started needs the processor for itself: we only ask its CRI.
_STARTING = 1.0


class Daemon(t.Protocol):
    """What a driver knows about its daemon while the daemon comes up."""

    engine: Engine

    def status(self) -> cri.Status:
        """What the CRI says of itself."""

    def is_up(self) -> bool:
        """Whether the daemon answers, with or without a CRI."""

    def broken(self) -> dict[str, str]:
        """The parts of the CRI that failed for good, each with its state."""


def no_answer(engine: Engine, error: Exception, client: str) -> Refusal:
    """Return the refusal to touch an engine whose CRI does not answer even before a change.

    ``client``: another command that tells about the engine.
    """
    return Refusal(
        f"the CRI of {engine.unit} to answer on {engine.socket} before anything is changed",
        f"{error} (the unit is {'active' if engine.active else 'not active'})",
        f"'journalctl -u {engine.unit}' and '{client}' say what it lacks. If it listens on another socket, name that in "
        "coco_engine_socket."
        if engine.active
        else f"Start {engine.unit} first; 'journalctl -u {engine.unit}' says why it does not run.",
    )


def wait(daemon: Daemon, handlers: t.Collection[str], timeout: float, patient: bool = True) -> list[str]:
    """Wait up to ``timeout`` seconds for the CRI to answer, to be ready and to serve ``handlers``. Return all that it serves.

    An engine that shall serve no handlers has its CRI disabled: then it is enough that the daemon answers. If we are not
    ``patient``, an answer without a handler is final. Raises a refusal that says which of this did not happen.
    """
    began = time.monotonic()
    deadline = began + timeout
    while True:
        failed, found = False, ""
        try:
            status = daemon.status()
            absent = sorted(set(handlers) - set(status.handlers))
            if status.ready and not absent:
                return list(status.handlers)
            failed = bool(absent) and not patient
            found = f"no handler {', '.join(absent)} served" if absent else f"the runtime not ready: {status.reason}"
        except cri.CriError as error:
            if not handlers and daemon.is_up():
                return []
            if time.monotonic() < min(began + _STARTING, deadline):
                time.sleep(0.02)
                continue
            # A broken plugin does not recover, nor does a unit that is not about to start: we stop waiting.
            broken, state = daemon.broken(), systemd.state(daemon.engine.unit)
            failed = bool(broken) or state in ("failed", "inactive")
            found = ", ".join(f"plugin {name}: {state}" for name, state in broken.items()) or f"{error} ({state})"
        if failed or time.monotonic() > deadline:
            raise Refusal(
                f"the CRI of {daemon.engine.unit} to serve {', '.join(sorted(handlers))}",
                found,
                f"See 'journalctl -u {daemon.engine.unit}'.",
            )
        time.sleep(0.1)
