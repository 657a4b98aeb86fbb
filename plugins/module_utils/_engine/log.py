# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Why a unit did not come up: the telling lines of its log, without secrets, for an error message."""

from __future__ import annotations

import contextlib
import json
import os
import re
import typing as t
from datetime import datetime

#: systemd's ID of the message "Starting …", the same in every language.
_STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
_MOST_LINES = 10
_LONGEST_LINE = 500
#: So many bytes of a log file count.
_LONGEST_FILE = 1 << 18
_TIME = re.compile(r'time="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)"')

#: A CRI plugin that fails to load is listed here because to containerd it is only a warning.
_FATAL = re.compile(r"failed to load plugin.*cri|level=fatal|^containerd: ")
_ORDINARY = re.compile(r"level=(trace|debug|info)\b")
#: containerd logs its whole configuration when it starts. It may hold secrets, so such lines are left out.
_CONFIGURATION = re.compile(r"with config \{|config=\S*\{")
_SECRETS = (
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^/\s\"'@]+@"), r"\1…@"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[^\s\"'\\,]+"), r"\1…"),
    (
        re.compile(
            r"(?i)([\w.-]*(?:password|passwd|token|secret|credential|api[_-]?key|(?<![a-z])auth(?:orization)?(?![a-z]))[\w.-]*[\\\"']*\s*[=:]\s*)"
            r"(?:\\?\"(?:[^\"\\]|\\[^\"])*\\?\"|'[^']*'|[^\s,}\"']+)"
        ),
        r"\1…",
    ),
)


def entries(journal: str) -> list[dict[str, t.Any]]:
    """Return the entries that ``journalctl --output=json`` prints."""
    found = []
    for line in journal.splitlines():
        with contextlib.suppress(ValueError):  # a truncated line
            entry = json.loads(line)
            found += [entry] if isinstance(entry, dict) else []
    return found


def telling(logged: t.Sequence[t.Mapping[str, t.Any]], since: float) -> str:
    """Return the most telling lines since the first start after ``since`` (seconds since the epoch).

    These are the fatal lines, else the last lines that are not ordinary.
    """
    found = [entry for entry in logged if float(entry.get("__REALTIME_TIMESTAMP", "inf")) >= since * 1e6]
    # Skip what comes before the new start: the end of the old daemon, and its complaints about that.
    start = next((number for number, entry in enumerate(found, 1) if entry.get("MESSAGE_ID") == _STARTING), 0)
    lines = [line for entry in found[start:] for line in _text(entry.get("MESSAGE")).splitlines()]
    lines = [line for line in lines if not _CONFIGURATION.search(line)]
    chosen = [line for line in lines if _FATAL.search(line)] or [line for line in lines if not _ORDINARY.search(line)]
    return "\n".join(masked(line)[:_LONGEST_LINE] for line in (chosen or lines)[-_MOST_LINES:])


def telling_of_file(path: str, since: float) -> str:
    """Return the most telling lines of a log file since a time (seconds since the epoch). '' if there are none.

    containerd writes the time of each line with the node's time zone (``time="2026-11-27T08:30:04.1+02:00"``). Lines without one
    belong to those before.
    """
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LONGEST_FILE))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    start = next((number for number, line in enumerate(lines) if _seconds(line) >= int(since)), len(lines))
    entries_of_file = [{"MESSAGE": line} for line in lines[start:]]
    chosen = [entry for entry in entries_of_file if not _ORDINARY.search(entry["MESSAGE"])]
    return telling(chosen, since)


def _seconds(line: str) -> float:
    """Return the time at the beginning of a line, in seconds since the epoch. 0 without one."""
    match = _TIME.match(line)
    with contextlib.suppress(ValueError):  # the 30th of February
        return datetime.strptime("".join(match.groups()), "%Y-%m-%dT%H:%M:%S%z").timestamp() if match else 0.0
    return 0.0


def masked(line: str) -> str:
    """Return a line without the values whose names sound like a secret, and without the user part of URLs."""
    for pattern, shown in _SECRETS:
        line = pattern.sub(shown, line)
    return line


def _text(message: t.Any) -> str:
    """Return the text of a message. journalctl prints one that is not UTF-8 as a list of bytes, and several ones as a list."""
    if isinstance(message, list) and all(isinstance(byte, int) for byte in message):
        return bytes(message).decode(errors="replace")
    return "\n".join(map(_text, message)) if isinstance(message, list) else str(message or "")
