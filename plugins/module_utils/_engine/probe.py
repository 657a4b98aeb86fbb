# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whether the engine serves: one restart, and then the CRI's own word for it. A unit's state proves nothing."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, log
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.detect import (
    MISSING,
    Engine,
    ctr,
    run,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: Seconds that an engine gets at least to come back with the configuration of before: giving up early helps nobody.
PATIENCE = 300.0
#: The plugin that Kubernetes talks to; on 2.x others do its work.
_CRI = "io.containerd.grpc.v1.cri"


def cri_plugins(engine: Engine) -> dict[str, str] | None:
    """Return the state of the CRI's plugins (``type.id`` → ok, error, skip); a disabled plugin is absent.

    None where the daemon does not answer: then nothing is known of its plugins.
    """
    listed = run(ctr(engine, "plugins", "ls"), timeout=10)
    if listed.returncode != 0:
        return None
    return {
        f"{kind}.{name}": state
        for kind, name, state in _rows(listed.stdout)
        if f"{kind}.{name}" == _CRI or kind == "io.containerd.cri.v1"
    }


def snapshotters(engine: Engine) -> list[str]:
    """Return the names of the snapshotters that work."""
    listed = run(ctr(engine, "plugins", "ls"), timeout=10)
    if listed.returncode != 0:
        raise Refusal(
            f"{listed.args[0]} to list the snapshotters of {engine.unit}",
            (listed.stderr.strip().splitlines() or [f"exit status {listed.returncode}"])[-1],
            f"Have containerd's client ctr beside {engine.binary}."
            if listed.returncode == MISSING
            else "Run 'ctr plugins ls' on the node to see why.",
        )
    plugins = _rows(listed.stdout)
    return [name for kind, name, state in plugins if (kind, state) == ("io.containerd.snapshotter.v1", "ok")]


def _rows(listed: str) -> list[tuple[str, str, str]]:
    """Return type, name and state of each plugin. The columns in between can be empty."""
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [(words[0], words[1], words[-1]) for words in rows if len(words) > 2]


def served(engine: Engine) -> list[str]:
    """Return the handlers that an engine serves; none where its CRI is disabled. Refuse one that should answer and does not."""
    try:
        return list(cri.status(engine.socket).handlers)
    except cri.CriError as error:
        plugins = cri_plugins(engine)
        if plugins is not None and _CRI not in plugins:
            return []
        raise no_answer(engine, error) from error


def _is_up(engine: Engine) -> bool:
    """Tell whether the daemon answers, with or without a CRI."""
    return run(ctr(engine, "version"), timeout=10).returncode == 0


def restart(engine: Engine, handlers: t.Collection[str], timeout: float) -> list[str]:
    """Restart the unit once, and wait until it serves ``handlers``: both within ``timeout`` seconds. Returns all it serves."""
    deadline = time.monotonic() + timeout
    before = invocation(engine)
    # Earlier starts and failures do not count against the unit's start limit.
    run(["systemctl", "reset-failed", "--", engine.unit])
    done = run(["systemctl", "restart", "--", engine.unit], timeout=timeout)
    if done.returncode != 0:
        raise Refusal(f"{engine.unit} to restart", done.stderr.strip(), f"See 'journalctl -u {engine.unit}'.")
    if invocation(engine) == before:
        raise Refusal(
            f"a new start of {engine.unit} after its configuration was written",
            "the daemon of before",
            f"See 'systemctl status {engine.unit}'.",
        )
    return probe(engine, handlers, deadline - time.monotonic())


def invocation(engine: Engine) -> str:
    """Return what systemd calls this start of the unit; another one with every start."""
    return run(["systemctl", "show", "--property=InvocationID", "--value", "--", engine.unit]).stdout.strip()


def no_answer(engine: Engine, error: Exception) -> Refusal:
    """Return the refusal to touch an engine whose CRI does not answer to begin with."""
    return Refusal(
        f"the CRI of {engine.unit} to answer on {engine.socket} before anything is changed",
        f"{error} (the unit is {'active' if engine.active else 'not active'})",
        f"'journalctl -u {engine.unit}' and 'ctr plugins ls' say what it lacks. If it listens on another socket, name that in "
        "coco_engine_socket."
        if engine.active
        else f"Start {engine.unit} first; 'journalctl -u {engine.unit}' says why it does not run.",
    )


def probe(engine: Engine, handlers: t.Collection[str], timeout: float) -> list[str]:
    """Wait until the CRI answers, is ready and serves ``handlers``, and return all that it serves.

    An engine that is to serve none has its CRI disabled: then the daemon has to answer. Raises a refusal that says what is
    not so.
    """
    began = time.monotonic()
    deadline = began + timeout
    while True:
        failed, found = False, ""
        try:
            status = cri.status(engine.socket)
            absent = sorted(set(handlers) - set(status.handlers))
            if status.ready and not absent:
                return list(status.handlers)
            found = f"no handler {', '.join(absent)} served" if absent else f"the runtime not ready: {status.reason}"
        except cri.CriError as error:
            if not handlers and _is_up(engine):
                return []
            if time.monotonic() < min(began + 1, deadline):
                time.sleep(0.02)  # an engine that is just starting needs its processor time
                continue
            # An active daemon with a failed CRI plugin never recovers by itself, nor does a unit that is not about to start.
            broken = {name: state for name, state in (cri_plugins(engine) or {}).items() if state != "ok"}
            state = run(["systemctl", "is-active", "--", engine.unit]).stdout.strip()
            failed = bool(broken) or state in ("failed", "inactive")
            found = ", ".join(f"plugin {name}: {state}" for name, state in broken.items()) or f"{error} ({state})"
        if failed or time.monotonic() > deadline:
            raise Refusal(
                f"the CRI of {engine.unit} to serve {', '.join(sorted(handlers))}",
                found,
                f"See 'journalctl -u {engine.unit}'.",
            )
        time.sleep(0.1)


def last_words(engine: Engine, since: float) -> str:
    """Return what the engine, or systemd about it, logged since a time (seconds since the epoch), for an error message."""
    # They only explain a failure: whatever is wrong with a log must not keep anybody from the way back.
    with contextlib.suppress(Exception):
        run(["journalctl", "--sync"])  # what a process that has ended just now said may still be on its way
        argv = ["journalctl", f"--unit={engine.unit}", f"--since=@{int(since)}", "--output=json", "--no-pager"]
        return log.telling(log.entries(run(argv).stdout), since)
    return ""
