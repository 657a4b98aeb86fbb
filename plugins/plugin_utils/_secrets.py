# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text of a configuration as it may be shown: without its secrets."""

from __future__ import annotations

import re

MASK = "********"

_STRING = r'"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''
_ASSIGNMENT = re.compile(
    r"""(?P<key>["']?[\w.-]*(?:password|passwd|auth|token|secret|credential|cookie|api[_-]?key)[\w-]*["']?\s*=\s*)"""
    rf"""(?P<value>{_STRING}|\[(?:{_STRING}|[^\]"'])*\])""",
    re.IGNORECASE,
)
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s\"']+@", re.IGNORECASE)


def mask(text: str) -> str:
    """Return ``text`` with the values of keys that name a secret, and the user part of URLs, replaced."""
    text = _ASSIGNMENT.sub(lambda match: f'{match.group("key")}"{MASK}"', text)
    return _URL.sub(lambda match: f"{match.group('scheme')}{MASK}@", text)
