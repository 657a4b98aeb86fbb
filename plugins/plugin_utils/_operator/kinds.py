# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of values in a manifest, and how messages describe values."""

from __future__ import annotations

import textwrap
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of value: its ``name`` in messages, the ``remedy`` for a value of another kind, and its Python ``types``."""

    name: str
    remedy: str
    types: tuple[type, ...]
    #: Subtypes of these in Python that are another kind in a manifest, as bool is no number.
    other: tuple[type, ...] = ()

    def has(self, value: t.Any) -> bool:
        """Tell whether a value is of this kind."""
        return isinstance(value, self.types) and not isinstance(value, self.other)


TEXT = Kind("text", "Put it in quotes.", (str,))
FLAG = Kind("true or false", "Write true or false, without quotes.", (bool,))
NUMBER = Kind("a whole number", "Write a number, without quotes.", (int,), other=(bool,))
LIST = Kind("a list", "Write it as a list, one element in a line that begins with a dash.", (list, tuple))
MAPPING = Kind("a mapping", "Write its fields below it, each in a line of its own.", (Mapping,))
ANYTHING = Kind("anything", "", (object,))


def described(value: t.Any) -> str:
    """Return the kind of a value for a message, and not the value itself, which may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return "a number"
    known = (kind.name for kind in (TEXT, FLAG, NUMBER, LIST, MAPPING) if kind.has(value))
    return next(known, f"a {type(value).__name__}")


def short(text: str) -> str:
    """Return a text, or only the beginning of a long one."""
    return textwrap.shorten(text, 80, placeholder="…") if len(text) > 80 else text
