# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""TOML as text: which lines mean something, without a parser. For edits that keep every byte, and for nodes, whose Python
may have no parser."""

from __future__ import annotations

import contextlib
import re

_VERSION = re.compile(r"""(?:version|"version"|'version')[ \t]*=[ \t]*([+-]?\d\w*)[ \t]*(?:#.*)?""")
#: What a line of TOML may hold that hides a line's end, or what follows it in the line.
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
    """Return the lines of a TOML text, each with whether it starts outside of strings and arrays."""
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


def schema_of(text: str) -> int:
    """Return the schema that a file's text declares: its top-level ``version``, 1 without one.

    A scan of the lines before the first table, for nodes, whose Python may have no TOML parser. The controller parses.
    """
    # A byte order mark is no part of the first line: containerd 1.6 and 1.7 read such files.
    for line, fresh in lines_of(text[1:] if text.startswith("\ufeff") else text):
        if fresh and line.lstrip().startswith("["):
            break
        match = fresh and _VERSION.fullmatch(line.strip())
        if match:
            with contextlib.suppress(ValueError):  # 02 and 2nd are no TOML; that is not for this function to say
                return int(match.group(1), 0)
    return 1
