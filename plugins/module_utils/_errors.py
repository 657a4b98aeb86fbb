# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The error that users see: a refusal in three parts."""

from __future__ import annotations

import os
import traceback


class Refusal(Exception):
    """Something stands in the way. The message is meant for the user.

    It has three parts, always in this order: what was expected, what was found, what to do.
    """

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(f"Expected {expected}. Found {found}. {remedy}")


def as_refusal(error: Exception, expected: str, remedy: str = "") -> Refusal:
    """Return any error as a refusal.

    The text of an ``OSError`` names a path at most. Any other text could quote a configuration, so it is left out.
    """
    if isinstance(error, Refusal):
        return error
    if isinstance(error, OSError):
        return Refusal(expected, str(error), remedy)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return Refusal(
        expected,
        f"{type(error).__name__} in {os.path.basename(place.filename)}, line {place.lineno}",
        "This is a bug in the collection: report it with this message.",
    )
