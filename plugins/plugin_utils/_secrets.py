# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mask the secrets in a text of a configuration, so that it can be shown."""

from __future__ import annotations

import re

MASK = "********"

#: A string of TOML. A string that is not closed ends with its line, or with the text.
_STRING = "|".join(
    (
        r'"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)',
        r"'{3}(?:.|\n)*?(?:'{3,5}|\Z)",
        r'"(?:\\.|[^"\\\n])*(?:"|$)',
        r"'[^'\n]*(?:'|$)",
    )
)
#: A key that names a secret, as TOML, JSON or an environment writes it, up to and including the sign before the value.
_KEY = re.compile(
    r"""(?<![\w.-])[\w.-]*(?:password|passwd|auth|token|secret|credential|cookie|api[_-]?key)"""
    r"""(?:[\w-]*|[^"'\n=\[\]{},#]*["'])(?:[ \t]*\.[ \t]*(?:[\w-]+|"[^"\n]*"|'[^'\n]*'))*(?:[ \t]*=|(?<=")[ \t]*:)[ \t]*""",
    re.IGNORECASE,
)
_VALUE = re.compile(rf"""{_STRING}|[^\s,\]}}#]+""", re.MULTILINE)
_TOKEN = re.compile(rf"""{_STRING}|#[^\n]*|[\[\]{{}}]""", re.MULTILINE)
_URL = re.compile(r"(?P<scheme>(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://)[^/\s\"']+@", re.IGNORECASE)


def mask(text: str) -> str:
    """Return ``text`` with a mask in place of the values of keys that name a secret, and of the user part of URLs."""
    shown, position = [], 0
    for key in _KEY.finditer(text):
        if key.start() < position:
            continue
        end = _value_end(text, key.end())
        if end > key.end():
            shown += [text[position : key.end()], f'"{MASK}"']
            position = end
    return _URL.sub(lambda match: f"{match.group('scheme')}{MASK}@", "".join([*shown, text[position:]]))


def _value_end(text: str, start: int) -> int:
    """Return where a value ends. A value is a string, a word, or all that is between brackets."""
    if text[start : start + 1] not in ("[", "{"):
        value = _VALUE.match(text, start)
        return value.end() if value else start
    depth = 0
    for token in _TOKEN.finditer(text, start):
        depth += (token.group() in "[{") - (token.group() in "]}")
        if depth == 0:
            return token.end()
    return len(text)
