# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What detection of every family asks: the version of a program, and why a restart of its unit could be a risk."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import listeners
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process, systemd


class Option(t.NamedTuple):
    """An option of a daemon: as it runs now, and as systemd would start it. ``said``: what the user says in ``variable``."""

    variable: str
    said: str
    now: str
    then: str


def version(name: str, binary: str, pattern: str) -> tuple[int, int, int]:
    """Return the version that a program prints. ``pattern`` has a group for each of its three numbers."""
    shown = process.run([binary, "--version"])
    match = re.search(pattern, shown.stdout, re.MULTILINE)
    if not match:
        said = (shown.stdout + shown.stderr).strip().splitlines()[-1:] or [f"exit status {shown.returncode}, no output"]
        raise Refusal(
            f"{binary} --version to tell {name}'s version",
            said[0],
            f"Run that command on the node to see why it fails. If {name} is another program there, name the unit that runs it in "
            "coco_engine_unit.",
        )
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def unread(unit: str, shown: systemd.Properties) -> t.Iterator[Refusal]:
    """Yield a refusal if systemd would start the unit from other files than it has read."""
    if list(shown.get("NeedDaemonReload", ())) == ["yes"]:
        yield Refusal(
            f"systemd to know {unit} as its files have it",
            "that they have changed since it has read them",
            "Run 'systemctl daemon-reload' on the node first.",
        )


def changed(name: str, unit: str, options: t.Iterable[Option]) -> t.Iterator[Refusal]:
    """Yield a refusal for each option with which systemd would start the daemon otherwise than it runs."""
    for option in options:
        if not option.said and option.now != option.then:
            yield Refusal(
                f"{name} to run as systemd would start {unit} now: with {option.then or 'no such option'}",
                f"it running with {option.now or 'no such option'}",
                "The unit, or a file of its variables, was changed since: restart the unit first"
                + (f", or say in {option.variable} what counts." if option.variable else "."),
            )


def taken(unit: str, socket: str, own: int) -> t.Iterator[Refusal]:
    """Yield a refusal if a process of another unit listens on the socket. ``own`` is the daemon's process, 0 if unknown."""
    stranger = listeners.stranger(socket, own, unit)
    if stranger:
        yield Refusal(
            f"{unit} to listen on {socket}",
            f"that {stranger} does",
            f"Name the socket of {unit} in coco_engine_socket, or the unit of that one in coco_engine_unit.",
        )
