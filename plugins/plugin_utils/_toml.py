# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Edits of a human's TOML that leave every byte alone that is not ours.

Our tables are appended, and removed, as text; tomlkit reads the file before and after, so that a result that means anything
else than what was wanted is never written.
"""

from __future__ import annotations

import fnmatch
import re
import sys
import typing as t

try:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    HAS_TOMLKIT = True
except ImportError:
    HAS_TOMLKIT = False

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Header = tuple[str, ...]
Values = t.Mapping[str, t.Any]

#: The line above our tables: who wrote them, for the human who finds them.
MARK = "# Runtime handlers of Confidential Containers: managed by Ansible (confidential_containers.runtime)."

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[(?P<header>[^\[\]]+)\]\s*(?:#.*)?")
_VERSION = re.compile(r"\s*version\s*=\s*\d+\s*(?:#.*)?")


def require() -> None:
    """Refuse to go on without the TOML library."""
    if not HAS_TOMLKIT:
        raise Refusal(
            "the Python package tomlkit on the controller",
            f"none for {sys.executable}",
            "Install it where ansible-playbook runs: pip install tomlkit.",
        )


def parse(text: str, path: str) -> dict[str, t.Any]:
    """Return a file's values as plain data. A refusal names the place where it is no TOML."""
    try:
        return tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError) as error:
        # Only the position: the message could quote a line, and a line could hold a password.
        place = re.search(r"line (\d+)", str(error))
        raise Refusal(
            f"{path} to be TOML",
            f"a mistake in line {place.group(1)}" if place else type(error).__name__,
            "Mend the file; containerd reads it at its next start, too.",
        ) from None


def lookup(document: Values, path: Header) -> t.Mapping[str, t.Any]:
    """Return the table at ``path``, an empty one where there is none."""
    value: t.Any = document
    for part in path:
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


def add_tables(text: str, tables: t.Mapping[Header, Values], path: str) -> str:
    """Append tables that the file does not have yet; tables within a value become tables of their own."""
    if not tables:
        return text
    expected = parse(text, path)
    for header, values in tables.items():
        parent = expected
        for part in header[:-1]:
            parent = parent.setdefault(part, {})
            if not isinstance(parent, dict):
                raise _no_place(path, header, "a value where a table belongs")
        if header[-1] in parent:
            raise _no_place(path, header, "that table already")
        parent[header[-1]] = dict(values)
    newline = "\r\n" if "\r\n" in text else "\n"
    block = [] if MARK in text else ["", MARK]
    for number, (header, values) in enumerate(tables.items()):
        block += ([""] if number or not block else []) + _table(header, values)
    start = text if not text or text.endswith("\n") else text + newline
    result = start + newline.join(block[0 if start else 1 :]) + newline
    return _checked(result, expected, path, tables)


def remove_tables(text: str, headers: t.Collection[Header], path: str) -> str:
    """Remove tables (and those below them) that were appended as text, with our mark; other lines stay as they are."""
    expected = parse(text, path)
    for header in headers:
        parent = lookup(expected, header[:-1])
        if header[-1] in parent:
            del t.cast("dict[str, t.Any]", parent)[header[-1]]
    lines = text.splitlines(keepends=True)
    kept: list[str] = []
    pending: list[str] = []  # blank lines and comments after a table of ours: they may be the user's
    removing = False
    for line in lines:
        found = _header(line)
        if found is not None:
            removing = any(found[: len(ours)] == ours for ours in headers)
            pending = [] if removing and pending and not "".join(pending).strip() else pending
            kept += pending
            pending = []
        if removing:
            if not line.strip() or line.lstrip().startswith("#"):
                pending.append(line)
            else:
                pending = []
        elif line.strip() == MARK:
            while kept and not kept[-1].strip():
                kept.pop()
        else:
            kept.append(line)
    kept += pending
    return _checked("".join(kept), _without_empty(expected), path, headers, prune=True)


def add_import(text: str, pattern: str, path: str) -> str:
    """Let the file import ``pattern``, an absolute glob; text that imports it already comes back as it is."""
    document = parse(text, path)
    if pattern in document.get("imports", []):
        return text
    expected = {**document, "imports": [*document.get("imports", []), pattern]}
    if "imports" in document:
        edited = tomlkit.parse(text)
        t.cast("list[str]", edited["imports"]).append(pattern)
        return _checked(tomlkit.dumps(edited), expected, path, ["imports"])
    newline = "\r\n" if "\r\n" in text else "\n"
    line = f"imports = [{_value(pattern)}]{newline}"
    lines = text.splitlines(keepends=True)
    # Below the file's version where it has one, else above everything: keys of the top level come before tables.
    position = 0
    for number, found in enumerate(lines):
        if _header(found) is not None:
            break
        if _VERSION.fullmatch(found.rstrip("\r\n")):
            position = number + 1
            break
    if position and not lines[position - 1].endswith("\n"):
        lines[position - 1] += newline
    return _checked("".join([*lines[:position], line, *lines[position:]]), expected, path, ["imports"])


def remove_import(text: str, pattern: str, path: str) -> str:
    """Take ``pattern`` out of the file's imports; the key goes when nothing else is imported and the line is ours."""
    document = parse(text, path)
    if pattern not in document.get("imports", []):
        return text
    rest = [item for item in document["imports"] if item != pattern]
    ours = f"imports = [{_value(pattern)}]"
    lines = text.splitlines(keepends=True)
    if not rest and any(line.strip() == ours for line in lines):
        without = "".join(line for line in lines if line.strip() != ours)
        expected = {key: value for key, value in document.items() if key != "imports"}
        return _checked(without, expected, path, ["imports"])
    edited = tomlkit.parse(text)
    t.cast("list[str]", edited["imports"]).remove(pattern)
    return _checked(tomlkit.dumps(edited), {**document, "imports": rest}, path, ["imports"])


def imports(document: Values, path: str) -> bool:
    """Tell whether a file imports ``path``. To containerd only ``*`` makes a pattern."""
    patterns = [str(item).replace("[", "[[]").replace("?", "[?]") for item in document.get("imports", [])]
    return any(fnmatch.fnmatchcase(path, pattern) and path.count("/") == pattern.count("/") for pattern in patterns)


def _header(line: str) -> Header | None:
    match = _HEADER.fullmatch(line.rstrip("\r\n"))
    if not match:
        return None
    try:
        value: t.Any = tomlkit.parse(f"[{match.group('header')}]").unwrap()
    except (TOMLKitError, ValueError):
        return None
    parts = []
    while value:
        part, value = next(iter(value.items()))
        parts.append(part)
    return tuple(parts)


def _table(header: Header, values: Values) -> list[str]:
    name = ".".join(part if _BARE.fullmatch(part) else _value(part) for part in header)
    lines = [f"[{name}]"]
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    lines += [f"{key} = {_value(value)}" for key, value in values.items() if key not in tables]
    for key, value in tables.items():
        lines += _table((*header, key), value)
    return lines


def _value(value: t.Any) -> str:
    return str(tomlkit.item(value).as_string())


def _checked(text: str, expected: Values, path: str, what: t.Collection[t.Any], prune: bool = False) -> str:
    """Return ``text`` if it means exactly what it should, else refuse."""
    try:
        found = tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError):
        found = None
    if found is not None and (_without_empty(found) if prune else found) == expected:
        return text
    header = next(iter(what))
    raise _no_place(path, header if isinstance(header, tuple) else (header,), "a spelling that cannot be edited safely")


def _without_empty(value: t.Any) -> t.Any:
    """Leave out tables that hold nothing: removing a table's text also removes the parents that only its header made."""
    if not isinstance(value, dict):
        return value
    cleaned = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in cleaned.items() if item != {}}


def _no_place(path: str, header: Header, found: str) -> Refusal:
    return Refusal(
        f"{path} to have room for [{'.'.join(header)}]",
        found,
        "Write the tables around it with headers of their own ([a.b.c]) instead of inline, and start again.",
    )
