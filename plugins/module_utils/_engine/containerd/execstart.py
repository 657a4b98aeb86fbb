# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The containerd that systemd would start for a unit, and with which options. A running one knows better: see ``daemon``."""

from __future__ import annotations

import os
import shutil
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import unit_command

#: Programs that split a command line by rules of their own.
_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh", "busybox")
#: containerd's options that take a value, by each of their names. Every other word with a hyphen takes none.
_OPTIONS = {
    "config": "config",
    "c": "config",
    "address": "address",
    "a": "address",
    "root": "root",
    "state": "state",
    "log-level": "log-level",
    "l": "log-level",
}


@dataclass(frozen=True)
class Options:
    """The options in a command line of containerd, '' for a missing one. ``command``: what it runs in place of the daemon."""

    config: str = ""
    address: str = ""
    root: str = ""
    command: str = ""


@dataclass(frozen=True)
class Planned:
    """What systemd would start. If we cannot tell, ``binary`` is '' or ``options`` is None, and ``why`` is the reason."""

    binary: str = ""
    options: Options | None = None
    why: str = ""


def options(words: t.Sequence[str], directory: str = "/") -> Options:
    """Read the words after the program's name as containerd does: with one hyphen or two, and the last of the same counts.

    ``directory``: relative paths start there.
    """
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            found["command"] = word if word != "--" else "".join(rest[:1])
            break
        name, equals, value = word[2 if word.startswith("--") else 1 :].partition("=")
        if name in _OPTIONS:
            found[_OPTIONS[name]] = value if equals else (rest.pop(0) if rest else "")
    paths = {name: os.path.normpath(os.path.join(directory, found[name])) for name in found if found[name]}
    return Options(
        config=paths.get("config", ""),
        address=paths.get("address", ""),
        root=paths.get("root", ""),
        command=found.get("command", ""),
    )


def planned(properties: t.Mapping[str, t.Sequence[str]]) -> Planned:
    """Return what systemd would start now. ``properties`` are as ``systemd.loaded`` returns them: name → lines."""
    if not unit_command.has_command(properties):
        return Planned(why="it has no ExecStart")
    line, unknown = unit_command.expanded(unit_command.words(properties), unit_command.environment(properties))
    position = _daemon_at(line)
    if position is None:
        return Planned(why=f"its ExecStart begins with {line[0]}" if line else "its ExecStart is empty")
    binary = line[position] if os.path.isabs(line[position]) else shutil.which(line[position], path=os.defpath)
    if unknown:
        known = binary if binary and os.path.isfile(binary) else ""
        return Planned(known, None, f"its ExecStart uses {', '.join(unknown)}, which it does not set itself")
    directory = "".join(properties.get("WorkingDirectory", ())[-1:]).lstrip("!-") or "/"
    if not os.path.isabs(directory):
        return Planned(binary or "", None, f"its WorkingDirectory is {directory}")
    return Planned(binary or "", options(line[position + 1 :], directory))


def _daemon_at(words: t.Sequence[str]) -> int | None:
    """Return the position of containerd's name in a command line. Programs like nice may come first. None: unknown."""
    if not words or os.path.basename(words[0]) in _SHELLS:
        return None
    named = [at for at, word in enumerate(words) if os.path.basename(word) == "containerd"]
    # An option of a program before it can also have the value "containerd", so a path that exists is tried first.
    for first in (0, *(at for at in named if words[at].startswith("/") and os.path.isfile(words[at])), *named):
        if first in named:
            return first
    return None
