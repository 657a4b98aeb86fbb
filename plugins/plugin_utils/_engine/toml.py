# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Edits of a human's TOML file. They leave every byte alone that is not ours.

We append and remove our tables as text. A parser reads the text before and after the edit: a result that means anything else
than what we want is refused. No parser ever writes the file: even tomlkit moves tables at times.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import sys
import typing as t

try:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    HAS_TOMLKIT = True
except ImportError:
    HAS_TOMLKIT = False

try:
    import tomllib

    HAS_TOMLLIB = True
except ImportError:  # before Python 3.11
    HAS_TOMLLIB = False

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Header = tuple[str, ...]
Values = t.Mapping[str, t.Any]
Rest = t.ParamSpec("Rest")

#: The line above our tables. It tells the human who finds them who wrote them.
MARK = "# Runtime handlers of Confidential Containers: managed by Ansible (confidential_containers.runtime)."

#: containerd 1.6 and 1.7 read files that begin with it. Other versions and tomlkit do not.
_BYTE_ORDER_MARK = "\ufeff"

#: What a parser raises. Some errors of tomlkit's own code also get through.
_NO_TOML = (ValueError, RecursionError, AttributeError, TypeError, *((TOMLKitError,) if HAS_TOMLKIT else ()))

_SPELLING = "a spelling that cannot be edited safely"

#: The beginning of each line of a user's table while a table of ours stands in its place.
_ASIDE = "#aside# "

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_VERSION = re.compile(r"\s*version\s*=\s*\d+\s*(?:#.*)?")


def _behind_byte_order_mark(
    edit: t.Callable[t.Concatenate[str, Rest], str],
) -> t.Callable[t.Concatenate[str, Rest], str]:
    """Let a function edit the text behind a byte order mark. The mark stays where it is."""

    @functools.wraps(edit)
    def edit_behind(text: str, /, *args: Rest.args, **kwargs: Rest.kwargs) -> str:
        body = text.removeprefix(_BYTE_ORDER_MARK)
        return text[: len(text) - len(body)] + edit(body, *args, **kwargs)

    return edit_behind


def require() -> None:
    """Refuse to go on without the TOML library."""
    if not HAS_TOMLKIT:
        raise Refusal(
            "the Python package tomlkit on the controller",
            f"none for {sys.executable}",
            "Install it where ansible-playbook runs: pip install tomlkit.",
        )


def parse(text: str, path: str) -> dict[str, t.Any]:
    """Return a file's values as plain data. Refuses a file that is not TOML, and names the line."""
    try:
        return _loads(text.removeprefix(_BYTE_ORDER_MARK))
    except _NO_TOML as error:
        # Show only the position: the message could quote a line, and the line could hold a password.
        place = re.search(r"line (\d+)", str(error))
        raise Refusal(
            f"{path} to be TOML",
            f"a mistake in line {place.group(1)}" if place else "a mistake at its end, or none that can be placed",
            "Write it as TOML there: the engine reads the file at its next start, too."
            + ("" if HAS_TOMLLIB else " If it is right: Ansible on Python 3.11 or newer reads tables in any order."),
        ) from None


def _loads(text: str) -> dict[str, t.Any]:
    """Parse with the standard library, or on old Pythons with tomlkit, which fails on some tables out of order."""
    return tomllib.loads(text) if HAS_TOMLLIB else tomlkit.parse(text).unwrap()


def lookup(document: Values, path: Header) -> t.Mapping[str, t.Any]:
    """Return the table at ``path``, an empty one if there is none."""
    value: t.Any = document
    for part in path:
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return value if isinstance(value, dict) else {}


@_behind_byte_order_mark
def add_tables(text: str, tables: t.Mapping[Header, Values], path: str) -> str:
    """Append tables that the file does not have yet. Tables within a value become tables of their own."""
    if not tables:
        return text
    expected = parse(text, path)
    for header, values in tables.items():
        parent = expected
        for part in header[:-1]:
            parent = parent.setdefault(part, {})
            if not isinstance(parent, dict):
                raise _no_place(
                    path, header, f"a value for {part}, where a table belongs", f"Make {part} a table there."
                )
        if header[-1] in parent:
            raise _no_place(
                path, header, "that table already", "Remove or rename that table, and run the playbook again."
            )
        parent[header[-1]] = dict(values)
    newline = _newline(text)
    # A blank line above the mark means that the text above ended with a newline. remove_tables relies on that to remove
    # exactly what was added.
    ended = not text or text.endswith("\n")
    block = [] if text.startswith(MARK) and text.count("\n") == 2 else [MARK]  # our own drop-in begins with it
    if ended and text:
        block.insert(0, "")
    for number, (header, values) in enumerate(tables.items()):
        block += ([""] if number else []) + _table(header, values, path)
    return _checked(text + ("" if ended else newline) + newline.join(block) + newline, expected, path, tables)


@_behind_byte_order_mark
def remove_tables(text: str, headers: t.Collection[Header], path: str) -> str:
    """Remove tables and those below them, whether we appended them with our mark or another tool copied them.

    Other lines stay as they are. But if a copy stood between two blank lines, one of these is removed, too.
    """
    expected = parse(text, path)
    for header in headers:
        parent = lookup(expected, header[:-1])
        if header[-1] in parent:
            del t.cast("dict[str, t.Any]", parent)[header[-1]]
    lines = toml_text.lines_of(text)
    found = [_header(line) if fresh else None for line, fresh in lines]
    kept: list[str] = []
    pending: list[str] = []  # blank lines and comments after a table of ours: they may be the user's
    unended = -1  # the line whose newline is ours
    removing = marked = False
    for number, (line, fresh) in enumerate(lines):
        found_header = found[number]
        if found_header is not None:
            was, removing = removing, _is_ours(found_header, headers)
            if was and not removing and not marked:
                kept += _once_blank(kept, pending)
            elif not (removing and not "".join(pending).strip()):
                kept += pending
            marked = marked and removing
            pending = []
        if removing:
            blank = fresh and (not line.strip() or line.lstrip().startswith("#"))
            pending = [*pending, line] if blank else []
        elif fresh and line.strip() == MARK and _is_ours(_next_header(lines[number + 1 :]), headers):
            marked = True
            if kept and kept[-1] in ("\n", "\r\n"):
                kept.pop()
            else:
                unended = len(kept) - 1
        else:
            kept.append(line)
    kept += _once_blank(kept, pending) if removing and not marked else pending
    # If the text above us had no newline at its end, we added one. It is removed again, unless text follows directly below us:
    # that was appended after our last newline, and now needs the one above.
    if unended >= 0 and not "".join(kept[unended + 1 : unended + 2]).strip("\r\n"):
        kept[unended] = kept[unended].rstrip("\r\n")
    return _checked("".join(kept), _without_empty(expected), path, headers, prune=True)


def _once_blank(above: list[str], below: list[str]) -> list[str]:
    """Return the lines below a table that was cut out. Avoid a second blank line in a row."""
    return below[1:] if below and not below[0].strip() and (not above or not above[-1].strip()) else below


def _next_header(lines: t.Iterable[tuple[str, bool]]) -> Header | None:
    """Return the header below a mark. None if another mark, or anything but comments and blank lines, comes first."""
    for line, fresh in lines:
        text = line.strip()
        if text == MARK or not fresh or (text and text[0] not in "#["):
            return None
        if text.startswith("["):
            return _header(line)
    return None


def _is_ours(header: Header | None, headers: t.Collection[Header]) -> bool:
    return header is not None and any(header[: len(ours)] == ours for ours in headers)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


@_behind_byte_order_mark
def add_item(text: str, key: str, item: str, path: str) -> str:
    """Add an item to the list of a top-level ``key`` (imports, disabled_plugins), unless it is there already."""
    document = parse(text, path)
    known = document.get(key, [])
    if not isinstance(known, list):
        raise _no_list(path, key, "a value that is no list")
    if item in known:
        return text
    expected = {**document, key: [*known, item]}
    if key in document:
        place = toml_text.array_at(text, key)
        if place is None:
            raise _no_list(path, key, _SPELLING)
        at, new = _beside(text, place, f"'{item}'")
        return _checked(text[:at] + new + text[at:], expected, path, [key])
    return _checked(_with_line(text, f"{key} = [{_value(item)}]"), expected, path, [key])


def _beside(text: str, place: tuple[int, int], quoted: str) -> tuple[int, str]:
    """Return the position for a new item after the last item of an array, and its text with commas.

    The new item gets a line of its own if the last item has one.
    """
    inside = text[: place[1] - 1]
    start, end, comma = -1, place[0] + 1, False
    for token in toml_text.TOKEN.finditer(inside, place[0] + 1):
        if token.group()[0] in "\"'":
            start, end, comma = token.start(), token.end(), False
            rest = _COMMA.match(inside, end)
            if rest:
                end, comma = rest.end(), True
    if start < 0:
        return end, quoted
    line = text.rfind("\n", 0, start) + 1
    if line > place[0] and not text[line:start].strip(" \t"):
        newline = "\r\n" if text[line - 2 : line] == "\r\n" else "\n"
        rest_of_line = _COMMENT.match(inside, end)
        if comma and rest_of_line:
            return rest_of_line.end(), f"{newline}{text[line:start]}{quoted},"
        if not comma and "#" not in inside[end:]:
            return end, f",{newline}{text[line:start]}{quoted}"
    return end, f" {quoted}," if comma else f", {quoted}"


def _with_line(text: str, line: str) -> str:
    """Insert a line at the top level: below the file's version if it has one, else above everything."""
    before = ""
    for start, found in toml_text.top_level(text):
        if _VERSION.fullmatch(found.rstrip("\r\n")):
            before = text[: start + len(found)]
            break
    newline = _newline(text)
    if before and not before.endswith("\n"):
        return before + newline + line
    return before + line + newline + text[len(before) :]


@_behind_byte_order_mark
def declare(text: str, schema: int, path: str) -> str:
    """Let a file that has no version declare one."""
    line = f"version = {schema}{_newline(text)}"
    return _checked(line + text, {"version": schema, **parse(text, path)}, path, ["version"])


@_behind_byte_order_mark
def with_imports(text: str, paths: t.Sequence[str], path: str) -> str:
    """Let a file import exactly these ``paths``. For a trial, whose files lie elsewhere."""
    document = parse(text, path)
    expected = {**document, "imports": list(paths)}
    if "imports" not in document:
        return _checked(_with_line(text, f"imports = {_value(paths)}"), expected, path, ["imports"]) if paths else text
    place = toml_text.array_at(text, "imports")
    if place is None:
        raise _no_list(path, "imports", _SPELLING)
    return _checked(text[: place[0]] + _value(paths) + text[place[1] :], expected, path, ["imports"])


_COMMA = re.compile(r"(?:\s|#[^\n]*\n)*,")
_COMMENT = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?=\r?\n)")
_LINE_BEFORE = re.compile(r",[ \t]*\r?\n[ \t]*")
_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*\r?\n")


@_behind_byte_order_mark
def remove_item(text: str, key: str, item: str, path: str) -> str:
    """Take an item out of the list of a top-level ``key``. If the list is then empty and the line is ours, remove the key."""
    document = parse(text, path)
    known = document.get(key, [])
    if not isinstance(known, list) or item not in known:
        return text
    rest = [other for other in known if other != item]
    ours = f"{key} = [{_value(item)}]"
    at = [(start, line) for start, line in toml_text.top_level(text) if line.strip() == ours]
    if at and not rest and key == "imports":
        start, line = at[0]
        left, after = text[:start], text[start + len(line) :]
        if line == ours and left:  # the line ends without a newline: we added the one before it
            left = left.rstrip("\r\n")
        return _checked(left + after, {name: value for name, value in document.items() if name != key}, path, [key])
    place = toml_text.array_at(text, key) or (0, 0)
    for token in toml_text.TOKEN.finditer(text, *place):
        if token.group() in (f"'{item}'", f'"{item}"'):
            for start, end in _cuts(text, token.start(), token.end(), bool(rest)):
                with contextlib.suppress(Refusal):
                    return _checked(text[:start] + text[end:], {**document, key: rest}, path, [key])
    # We do not let tomlkit do it: it can move an array of tables behind a table that it stood before.
    raise _no_list(path, key, _SPELLING)


@_behind_byte_order_mark
def set_aside(text: str, headers: t.Collection[Header], path: str) -> str:
    """Turn tables of the user's, and those below them, into comments. :func:`give_back` turns them into tables again."""
    expected = parse(text, path)
    for header in headers:
        t.cast("dict[str, t.Any]", lookup(expected, header[:-1])).pop(header[-1], None)
    lines: list[str] = []
    aside = False
    for line, fresh in toml_text.lines_of(text):
        if fresh and line.startswith(_ASIDE):
            mark = _ASIDE.strip()
            raise _no_place(
                path,
                next(iter(headers)),
                f"lines that begin with {mark} already",
                f"Remove the lines with {mark}, or rename yours.",
            )
        found = _header(line) if fresh else None
        aside = _is_ours(found, headers) if found is not None else aside
        lines.append(f"{_ASIDE}{line}" if aside and not (fresh and not line.strip()) else line)
    return _checked("".join(lines), _without_empty(expected), path, headers, prune=True)


@_behind_byte_order_mark
def give_back(text: str) -> str:
    """Undo :func:`set_aside`, even if the text was edited since."""
    return "".join(line.removeprefix(_ASIDE) if fresh else line for line, fresh in toml_text.lines_of(text))


def aside(text: str) -> set[Header]:
    """Return the headers of the tables that :func:`set_aside` has turned into comments."""
    found = (
        _header(line.removeprefix(_ASIDE))
        for line, fresh in toml_text.lines_of(text)
        if fresh and line.startswith(_ASIDE)
    )
    return {header for header in found if header is not None}


def _cuts(text: str, start: int, end: int, others: bool) -> t.Iterator[tuple[int, int]]:
    """Yield the cuts (start, end) that may remove an item of a list: first what add_item wrote, then other ways."""
    line = text.rfind("\n", 0, start) + 1
    rest_of_line = _REST_OF_LINE.match(text, end)
    last = text.rfind(",", 0, start)
    if last >= 0 and _LINE_BEFORE.fullmatch(text, last, start) and not _COMMA.match(text, end):
        yield last, end
    if rest_of_line and not text[line:start].strip(" \t"):
        yield line, rest_of_line.end()
    elif text[start - 1] == " " and text[end] == "," and others:
        yield start - 1, end + 1
    elif text[start - 2 : start] == ", ":
        yield start - 2, end
    yield start, end
    comma = _COMMA.match(text, end)
    if comma:
        yield start, comma.end() + (text[comma.end()] == " ")


def _header(line: str) -> Header | None:
    """Return the parts of a table's header, [a.b] or [[a.b]], None for any other line. The line starts outside of values."""
    if not line.lstrip().startswith("["):
        return None
    try:
        value: t.Any = _loads(line.strip())
    except _NO_TOML:
        return None
    parts = []
    while value:
        part, value = next(iter((value[0] if isinstance(value, list) else value).items()))
        parts.append(part)
        if value == [{}]:
            break
    return tuple(parts)


def _table(header: Header, values: Values, path: str) -> list[str]:
    lines = [f"[{'.'.join(map(_key, header))}]"]
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    try:
        lines += [f"{_key(key)} = {_value(value)}" for key, value in values.items() if key not in tables]
    except (TOMLKitError, ValueError, TypeError) as error:
        raise _no_place(
            path, header, f"a value that TOML does not have ({error})", "Give another value in coco_handler_overrides."
        ) from None
    for key, value in tables.items():
        lines += _table((*header, key), value, path)
    return lines


def _key(part: str) -> str:
    return part if _BARE.fullmatch(part) else _value(part)


def _value(value: t.Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + " }"
    return str(tomlkit.item(value).as_string())


def _checked(text: str, expected: Values, path: str, what: t.Collection[t.Any], prune: bool = False) -> str:
    """Return ``text`` if it means exactly what is ``expected``, else refuse."""
    try:
        found: t.Any = _loads(text)
    except _NO_TOML:
        found = None
    if found is not None and same(_without_empty(found) if prune else found, expected):
        return text
    header = next(iter(what))
    raise _no_place(path, header, _SPELLING) if isinstance(header, tuple) else _no_list(path, header, _SPELLING)


def same(one: t.Any, two: t.Any) -> bool:
    """Compare values as TOML does, not as Python does: true is not 1, 1 is not 1.0, and nan is nan."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(value, two[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)):
        return len(one) == len(two) and all(map(same, one, two))
    if any(isinstance(one, kind) is not isinstance(two, kind) for kind in (bool, float)):
        return False
    return bool(one == two or (isinstance(one, float) and math.isnan(one) and math.isnan(two)))


def _without_empty(value: t.Any) -> t.Any:
    """Leave out empty tables: if the text of a table is removed, parents that only its header had made disappear, too."""
    if not isinstance(value, dict):
        return value
    cleaned = {key: _without_empty(item) for key, item in value.items()}
    return {key: item for key, item in cleaned.items() if item != {}}


def _no_place(path: str, header: Header, found: str, remedy: str = "") -> Refusal:
    return Refusal(
        f"{path} to have room for [{'.'.join(header)}]",
        found,
        remedy
        or "Write the tables around it with headers of their own ([a.b.c]), not inline or as dotted keys, and run the playbook again.",
    )


def _no_list(path: str, key: str, found: str) -> Refusal:
    return Refusal(
        f"{key} in {path} as a list that can be edited", found, f"Write it at the top of the file: {key} = ['…', '…']."
    )
