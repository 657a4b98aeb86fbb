# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""systemd on a node: ask it about units, and let it restart or stop them."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

#: A unit's properties: name → lines. Some properties have several lines.
Properties = t.Mapping[str, t.Sequence[str]]


def loaded(units: t.Sequence[str], names: t.Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the properties ``names`` of those ``units`` that are loaded, by unit, in the order of ``units``.

    A unit comes under its own name, even if ``units`` has an alias of it. Refuses a node without systemd.
    """
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
    """Return one property of a unit, '' if the unit does not have it."""
    return process.run(["systemctl", "show", f"--property={name}", "--value", "--", unit]).stdout.strip()


def invocation(unit: str) -> str:
    """Return systemd's ID of the unit's present start. Every start has a new one."""
    return show(unit, "InvocationID")


def state(unit: str) -> str:
    """Return systemd's word for a unit's state: active, inactive, failed, activating, …"""
    return process.run(["systemctl", "is-active", "--", unit]).stdout.strip()


def restart(unit: str, timeout: float, command: t.Sequence[str] = ()) -> None:
    """Restart a unit within ``timeout`` seconds, or refuse with what systemd says. Afterwards its invocation is a new one.

    ``command``: what restarts it in place of ``systemctl restart``.
    """
    before = invocation(unit)
    # Earlier starts and failures must not count against the unit's start limit.
    process.run(["systemctl", "reset-failed", "--", unit])
    done = process.run(command or ["systemctl", "restart", "--", unit], timeout=timeout)
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
    """Let systemd read its units again. Without that, a restart would use their old text."""
    done = process.run(["systemctl", "daemon-reload"])
    if done.returncode != 0:
        raise Refusal(
            "systemd to read its units again (systemctl daemon-reload)",
            done.stderr.strip() or f"exit status {done.returncode}",
            "'journalctl _PID=1' on the node says more.",
        )


def logged(unit: str, since: float) -> str:
    """Return what a unit, or systemd about it, has logged since a time (seconds since the epoch): one JSON entry per line."""
    process.run(["journalctl", "--sync"])  # the last words of a process that has just ended may still be on their way
    argv = ["journalctl", f"--unit={unit}", f"--since=@{int(since)}", "--output=json", "--no-pager"]
    return process.run(argv).stdout
