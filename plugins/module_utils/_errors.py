# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How this collection says no."""

from __future__ import annotations


class Refusal(Exception):
    """Something stands in the way; the message is meant for the user.

    It has three parts, always in this order: what was expected, what was found, what to do.
    """

    def __init__(self, expected: str, found: str, remedy: str) -> None:
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(f"Expected {expected}. Found {found}. {remedy}")
