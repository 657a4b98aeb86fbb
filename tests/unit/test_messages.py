# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users are told, in one table to be read: a message that changes is seen there, beside all others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.tests.messages import Message, collect, table

MESSAGES = collect()
#: Remedies that do not say what to write where, and words by which nobody knows what is meant.
EMPTY = re.compile(r"^(Correct|Mend|Repair|Fix|Check) it\b|\bsomething went wrong\b")


def test_the_table_is_that_of_the_source() -> None:
    """After a change: make generate. Then read the difference."""
    assert Path(__file__).with_name("messages.txt").read_text(encoding="utf-8") == table(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: f"{message.file}:{message.function}")
def test_a_message_can_be_acted_upon(message: Message) -> None:
    remedy = message.parts.get("remedy", "")
    assert not EMPTY.search(remedy)
    assert remedy or "remedy" not in message.parts
    if remedy and not remedy.endswith("}"):
        assert remedy.endswith(".")
        assert remedy[0] in "'{" or remedy[0].isupper()
    for part in ("expected", "found"):
        # They stand in one sentence each: "Expected …. Found …."
        assert not message.parts.get(part, "").endswith((".", "…"))
