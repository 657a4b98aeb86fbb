# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The command line that systemd would start for a unit, read from the unit's properties as ``systemctl show`` prints them.

These properties lose something: they show the words of a command line without quotes, and not every variable that systemd
sets. What they do not tell is reported as unknown. A running daemon knows better: see ``containerd.daemon``.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import typing as t
from dataclasses import dataclass

#: The properties that :func:`planned` reads.
PROPERTIES = ("ExecStart", "Environment", "EnvironmentFiles", "WorkingDirectory")
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
_ARGV = re.compile(r"argv\[\]=(.*?) ; (?:ignore_errors|flags)=")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}|\$\$")
_WORD = re.compile(r"\$([A-Za-z_]\w*)")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)")


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


def command_line(properties: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Return the command line of a unit as it is written there, without the expansion of variables."""
    match = _ARGV.search("".join(properties.get("ExecStart", ())[-1:]))
    return match.group(1).split() if match else []


def planned(properties: t.Mapping[str, t.Sequence[str]]) -> Planned:
    """Return what systemd would start now. ``properties`` are as ``systemd.loaded`` returns them: name → lines."""
    if not _ARGV.search("".join(properties.get("ExecStart", ())[-1:])):
        return Planned(why="it has no ExecStart")
    line, unknown = expanded(command_line(properties), environment(properties))
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


def expanded(words: t.Iterable[str], variables: t.Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return a command line with its variables expanded as systemd does it, and the names of unknown variables."""
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
        if alone:  # a variable alone can become any number of words
            found += _split(value(alone))
        else:
            found.append(_VARIABLE.sub(value, word))
            unknown += [word] if "${" in _VARIABLE.sub("", word) else []  # a newer syntax that we do not know
    return found, list(dict.fromkeys(unknown))


def environment(properties: t.Mapping[str, t.Sequence[str]]) -> dict[str, str]:
    """Return the variables that a unit sets. Those from its files win."""
    pairs = [word.partition("=") for line in properties.get("Environment", ()) for word in _split(line)]
    found: dict[str, str | None] = {name: value for name, _equals, value in pairs}
    for line in properties.get("EnvironmentFiles", ()):
        for path in sorted(glob.glob(re.sub(r" \(ignore_errors=(yes|no)\)$", "", line))):
            found.update(_file(path))
    return {name: value for name, value in found.items() if value is not None}


def _file(path: str) -> dict[str, str | None]:
    """Return the variables that a file sets. None stands for a value in a syntax that this function does not understand."""
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
    """Split text at blanks. Quotes keep words together, and are removed."""
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
