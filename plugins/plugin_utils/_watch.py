# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Watch long work: every few seconds, the user is told how far it has come."""

from __future__ import annotations

import time
import typing as t
from concurrent import futures

from ansible.errors import AnsibleError

#: What, bytes done, bytes in all (0: unknown). Work that is not counted in bytes has 0 for both.
Entry = tuple[str, int, int]

#: Seconds until the first line, and between two lines.
PERIOD = 5.0

Result = t.TypeVar("Result")


def watch(
    work: t.Callable[[], Result],
    look: t.Callable[[], Entry | None],
    show: t.Callable[[str], None],
    period: float = PERIOD,
) -> Result:
    """Return what ``work`` returns, or raise what it raises.

    Meanwhile, every ``period`` seconds, ``show`` a line about the entry that ``look`` finds, if there is one.
    """
    seen: tuple[float, Entry] | None = None
    with futures.ThreadPoolExecutor(max_workers=1) as executor:
        working = executor.submit(work)
        while not futures.wait([working], period).done:
            entry = _seen(look)
            now = time.monotonic()
            if entry and not working.done():
                rate = (entry[1] - seen[1][1]) / (now - seen[0]) if seen and seen[1][0] == entry[0] else 0.0
                show(line(entry, rate))
                seen = (now, entry)
        return working.result()


def _seen(look: t.Callable[[], Entry | None]) -> Entry | None:
    try:
        return look()
    except (AnsibleError, OSError):
        # A connection that fails for a second says nothing about the work, which has a result of its own.
        return None


def line(entry: Entry, rate: float = 0.0) -> str:
    """Return one line about an entry. ``rate`` is in bytes per second."""
    what, done, total = entry
    if not (done or total):
        return what
    mib = 1 << 20
    if total:
        share = f"{done // mib} of {total // mib} MiB ({min(done * 100 // total, 100)} %)"
    else:
        share = f"{done // mib} MiB" if done >= mib else f"{-(-done // 1024)} KiB"
    return f"{share} {what}" + (f", {rate / mib:.1f} MiB/s" if rate > 0 else "")
