# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The command line that systemd would start for a unit, read from the unit's properties as ``systemctl show`` prints them.

These properties lose something: they show the words of a command line without quotes, and not every variable that systemd
sets. What they do not tell is reported as unknown.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import typing as t

#: The properties that this file reads, and the directory in which the command starts.
PROPERTIES = ("ExecStart", "Environment", "EnvironmentFiles", "WorkingDirectory", "MainPID")
_ARGV = re.compile(r"argv\[\]=(.*?) ; (?:ignore_errors|flags)=")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}|\$\$")
_WORD = re.compile(r"\$([A-Za-z_]\w*)")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)")


def has_command(properties: t.Mapping[str, t.Sequence[str]]) -> bool:
    """Tell whether a unit starts anything."""
    return _ARGV.search("".join(properties.get("ExecStart", ())[-1:])) is not None


def words(properties: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Return the command line of a unit as it is written there, without the expansion of variables."""
    match = _ARGV.search("".join(properties.get("ExecStart", ())[-1:]))
    return match.group(1).split() if match else []


def starting(properties: t.Mapping[str, t.Sequence[str]], program: str, proc: str = "/proc") -> list[str]:
    """Return the command line with which a unit starts a program, [] if it does not.

    If the unit starts a script that becomes the program, the command line of its main process is the one.
    """
    for line in (words(properties), _of_main_process(properties, proc)):
        if program and os.path.basename("".join(line[:1])) == program:
            return line
    return []


def _of_main_process(properties: t.Mapping[str, t.Sequence[str]], proc: str) -> list[str]:
    try:
        with open(f"{proc}/{''.join(properties.get('MainPID', ())) or 0}/cmdline", "rb") as stream:
            # Some programs write all of it into one word.
            return os.fsdecode(stream.read().rstrip(b"\0").replace(b"\0", b" ")).split()
    except OSError:
        return []


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
