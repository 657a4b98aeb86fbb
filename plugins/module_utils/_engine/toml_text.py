# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""TOML read as text, without a parser: for edits that keep every byte, and for nodes whose Python has no parser.

Both halves use it. The functions find the lines that start outside of values, and what these set at the top level.
"""

from __future__ import annotations

import contextlib
import re

_VERSION = re.compile(r"""(?:version|"version"|'version')[ \t]*=[ \t]*([+-]?\d\w*)[ \t]*(?:#.*)?""")
_PLUGINS = re.compile(r"""[ \t\[]*["']?(?:plugins|proxy_plugins|timeouts)\b""")
#: The parts of TOML that can hide the end of a line, or the rest of a line: strings, comments and brackets.
TOKEN = re.compile(
    "|".join(
        (
            r'"""(?:\\.|[^\\])*?"{3,5}',
            r"'{3}.*?'{3,5}",
            r'"(?:\\.|[^"\\\n])*"',
            r"'[^'\n]*'",
            r"#[^\n]*",
            r"[\[\]{}\n]",
        )
    ),
    re.DOTALL,
)


def lines_of(text: str) -> list[tuple[str, bool]]:
    """Return the lines of a TOML text. The flag of each line tells whether it starts outside of strings and arrays."""
    fresh, depth = {0}, 0
    for token in TOKEN.finditer(text):
        if token.group() in "[{":
            depth += 1
        elif token.group() in "]}":
            depth -= 1
        elif token.group() == "\n" and depth <= 0:
            fresh.add(token.end())
    lines, start = [], 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        lines.append((text[start:end], start in fresh))
        start = end
    return lines


def top_level(text: str) -> list[tuple[int, str]]:
    """Return the lines before the first table that start outside of values, each with its position in the text."""
    found, start = [], 0
    for line, fresh in lines_of(text):
        if fresh and line.lstrip().startswith("["):
            break
        if fresh:
            found.append((start, line))
        start += len(line)
    return found


def array_at(text: str, key: str) -> tuple[int, int] | None:
    """Return where the array of a top-level ``key`` begins and ends, brackets included. None if there is no such array."""
    pattern = re.compile(rf"""[ \t]*(?:{key}|"{key}"|'{key}')[ \t]*=[ \t]*\[""")
    for start, line in top_level(text):
        match = pattern.match(line)
        if match:
            begin, depth = start + match.end() - 1, 0
            for token in TOKEN.finditer(text, begin):
                depth += (token.group() == "[") - (token.group() == "]")
                if depth == 0:
                    return begin, token.end()
    return None


def imports_of(text: str) -> list[str]:
    """Return what a file imports, as far as a scan can tell: it does not understand escapes."""
    text = text[1:] if text.startswith("\ufeff") else text
    place = array_at(text, "imports")
    if place is None:
        return []
    return [token.group()[1:-1] for token in TOKEN.finditer(text, *place) if token.group()[0] in "\"'"]


def declares_version(text: str) -> bool:
    """Tell whether a file declares its schema, as far as a scan can tell."""
    return any(_VERSION.fullmatch(line.strip()) for _start, line in top_level(text.lstrip("\ufeff")))


def sets_plugins(text: str) -> bool:
    """Tell whether a file has settings that depend on its schema, which are those of plugins."""
    return any(fresh and _PLUGINS.match(line) for line, fresh in lines_of(text))


def schema_of(text: str) -> int:
    """Return the schema that a file's text declares.

    That is its top-level ``version``. A file without one, or with 0, is of schema 1. A file that sets nothing at all is of
    schema 0. This scans the lines before the first table, for nodes whose Python has no parser; the controller parses.
    """
    # A byte order mark is not part of the first line: containerd 1.6 and 1.7 read files that begin with one.
    text = text[1:] if text.startswith("\ufeff") else text
    for _start, line in top_level(text):
        match = _VERSION.fullmatch(line.strip())
        if match:
            with contextlib.suppress(ValueError):  # 02 and 2nd are not TOML; the engine itself says so
                return int(match.group(1), 0) or 1
    return int(any(line.strip() and not line.lstrip().startswith("#") for line in text.split("\n")))
