# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""systemd on a node: what it knows of a unit, and what it is told to do with one."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

#: A unit's properties: name → its lines, of which some properties have several.
Properties = t.Mapping[str, t.Sequence[str]]


def loaded(units: t.Sequence[str], names: t.Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the properties ``names`` of those units that there are. Refuses a node without systemd."""
    wanted = ",".join(["Id", "LoadState", *names])
    shown = process.run(["systemctl", "show", f"--property={wanted}", "--", *units])
    if shown.returncode != 0:
        absent = shown.returncode == process.MISSING or not os.path.isdir("/run/systemd/system")
        raise Refusal(
            "a node that runs systemd",
            shown.stderr.strip() or "no answer",
            "Use a node with systemd as its init."
            if absent
            else "Run 'systemctl status' on the node to see why it does not answer.",
        )
    found: dict[str, dict[str, list[str]]] = {}
    for block in shown.stdout.split("\n\n"):
        properties: dict[str, list[str]] = {}
        for name, _equals, value in (line.partition("=") for line in block.splitlines()):
            properties.setdefault(name, []).append(value)
        if properties.get("LoadState") == ["loaded"]:
            found[properties["Id"][0]] = properties
    return found


def show(unit: str, name: str) -> str:
    """Return one property of a unit, '' where it has none."""
    return process.run(["systemctl", "show", f"--property={name}", "--value", "--", unit]).stdout.strip()


def invocation(unit: str) -> str:
    """Return what systemd calls this start of a unit: another one with every start."""
    return show(unit, "InvocationID")


def state(unit: str) -> str:
    """Return whether a unit is active, inactive, failed or on its way to one of these."""
    return process.run(["systemctl", "is-active", "--", unit]).stdout.strip()


def restart(unit: str, timeout: float) -> None:
    """Restart a unit, or refuse with what systemd says. Returns with another invocation of it."""
    before = invocation(unit)
    # Earlier starts and failures do not count against the unit's start limit.
    process.run(["systemctl", "reset-failed", "--", unit])
    done = process.run(["systemctl", "restart", "--", unit], timeout=timeout)
    if done.returncode != 0:
        raise Refusal(f"{unit} to restart", done.stderr.strip(), f"See 'journalctl -u {unit}'.")
    if invocation(unit) == before:
        raise Refusal(
            f"a new start of {unit} after its configuration was written",
            "the daemon of before",
            f"See 'systemctl status {unit}'.",
        )


def stop(units: t.Sequence[str], timeout: float = 60.0) -> None:
    process.run(["systemctl", "stop", "--", *units], timeout=timeout)


def reload() -> None:
    """Have systemd read its units again: without that, a restart would start what they were before."""
    done = process.run(["systemctl", "daemon-reload"])
    if done.returncode != 0:
        raise Refusal(
            "systemd to read its units again (systemctl daemon-reload)",
            done.stderr.strip() or f"exit status {done.returncode}",
            "'journalctl _PID=1' on the node says more.",
        )


def logged(unit: str, since: float) -> str:
    """Return what a unit, or systemd about it, has logged since a time (seconds since the epoch), as JSON, an entry a line."""
    process.run(["journalctl", "--sync"])  # what a process that has ended just now said may still be on its way
    argv = ["journalctl", f"--unit={unit}", f"--since=@{int(since)}", "--output=json", "--no-pager"]
    return process.run(argv).stdout
