# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The command line that systemd would start for a unit, from its properties as ``systemctl show`` prints them.

These lose something: the words of a command line stand side by side without their quotes, and not every variable of systemd's
is among the unit's own. What cannot be told from them is said to be unknown. A running daemon knows better: see ``_daemon``.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import typing as t
from dataclasses import dataclass

#: What :func:`planned` reads.
PROPERTIES = ("ExecStart", "Environment", "EnvironmentFiles", "WorkingDirectory")
#: Programs that take a command line apart by rules of their own.
_SHELLS = ("sh", "bash", "dash", "ash", "ksh", "zsh", "busybox")
#: containerd's options that have a value, by each of their names. All else that begins with a hyphen stands alone.
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
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}|\$\$")
_WORD = re.compile(r"\$([A-Za-z_]\w*)")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)")


@dataclass(frozen=True)
class Options:
    """What a command line tells containerd, '' where it says nothing; ``command`` is the one that it runs in place of the daemon."""

    config: str = ""
    address: str = ""
    root: str = ""
    command: str = ""


@dataclass(frozen=True)
class Planned:
    """What systemd would start; ``binary`` is '' and ``options`` None where that cannot be told, ``why`` says the reason."""

    binary: str = ""
    options: Options | None = None
    why: str = ""


def options(words: t.Sequence[str], directory: str = "/") -> Options:
    """Read the words after the program's name as containerd does: one hyphen or two, and the last one counts.

    ``directory`` is where relative paths begin.
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
    """Return what systemd would start now. Each property has its lines."""
    match = re.search(r"argv\[\]=(.*?) ; (?:ignore_errors|flags)=", "".join(properties.get("ExecStart", ())[-1:]))
    if not match:
        return Planned(why="it has no ExecStart")
    words, unknown = expanded(match.group(1).split(), environment(properties))
    position = _daemon_at(words)
    if position is None:
        return Planned(why=f"its ExecStart begins with {words[0]}" if words else "its ExecStart is empty")
    binary = words[position] if os.path.isabs(words[position]) else shutil.which(words[position], path=os.defpath)
    if unknown:
        known = binary if binary and os.path.isfile(binary) else ""
        return Planned(known, None, f"its ExecStart uses {', '.join(unknown)}, which it does not set itself")
    directory = "".join(properties.get("WorkingDirectory", ())[-1:]).lstrip("!-") or "/"
    if not os.path.isabs(directory):
        return Planned(binary or "", None, f"its WorkingDirectory is {directory}")
    return Planned(binary or "", options(words[position + 1 :], directory))


def _daemon_at(words: t.Sequence[str]) -> int | None:
    """Return where containerd's own name stands in a command line; programs like nice may come first. None: unknown."""
    if not words or os.path.basename(words[0]) in _SHELLS:
        return None
    named = [at for at, word in enumerate(words) if os.path.basename(word) == "containerd"]
    # Options of the programs before can have such a value, too.
    for first in (0, *(at for at in named if words[at].startswith("/") and os.path.isfile(words[at])), *named):
        if first in named:
            return first
    return None


def expanded(words: t.Iterable[str], variables: t.Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return a command line with its variables expanded as systemd does it, and the names of those that are not known."""
    found: list[str] = []
    unknown: list[str] = []

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        if name not in variables:
            unknown.append(name)
        return variables.get(name, "")

    for word in words:
        alone = _WORD.fullmatch(word)
        if alone:  # becomes any number of words
            found += _split(value(alone))
        else:
            found.append(_VARIABLE.sub(value, word))
            unknown += [word] if "${" in _VARIABLE.sub("", word) else []  # a way of writing that is newer than this
    return found, list(dict.fromkeys(unknown))


def environment(properties: t.Mapping[str, t.Sequence[str]]) -> dict[str, str]:
    """Return the variables that a unit sets, those of its files included, which win."""
    pairs = [word.partition("=") for line in properties.get("Environment", ()) for word in _split(line)]
    found: dict[str, str | None] = {name: value for name, _equals, value in pairs}
    for line in properties.get("EnvironmentFiles", ()):
        for path in sorted(glob.glob(re.sub(r" \(ignore_errors=(yes|no)\)$", "", line))):
            found.update(_file(path))
    return {name: value for name, value in found.items() if value is not None}


def _file(path: str) -> dict[str, str | None]:
    """Return what a file of variables sets; None stands for a value in a way of writing that needs more than this."""
    found: dict[str, str | None] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return {}
    for line in lines:
        match = _ASSIGNMENT.fullmatch(line)
        if not match:
            continue
        name, value = match.group(1), match.group(2).strip()
        if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
            quote, value = value[0], value[1:-1]
            plain = quote not in value and "\\" not in value
        else:
            plain = not re.search(r"[\\'\"]", value)
        found[name] = value if plain else None
    return found


def _split(text: str) -> list[str]:
    """Take text apart at its blanks; quotes count, and go."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
