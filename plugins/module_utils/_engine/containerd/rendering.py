# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Files that a distribution renders from others: what they tell about those, and what they will be."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: Seconds by which a rendered file may be older than what it was rendered from.
_SLACK = 5.0
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")


def doubts(engine: Engine, sources: t.Sequence[str], rendered: str) -> t.Iterator[Refusal]:
    """Yield a refusal if one of the sources was changed since the file was rendered.

    A restart would try that change out together with ours, and a rollback could not take it back.
    """
    if not rendered or not os.path.exists(rendered):
        return
    limit = os.stat(rendered).st_mtime + _SLACK
    newer = sorted(path for path in sources if os.path.exists(path) and os.stat(path).st_mtime > limit)
    if newer:
        yield Refusal(
            f"{rendered} to be made from {', '.join(newer)} as they are now",
            "that they were changed since",
            f"Restart {engine.unit} and check that its pods still start: only then it is known whether the change is good. "
            f"'journalctl -u {engine.unit}' says why it was not taken.",
        )


def values(template: str, rendered: str) -> dict[str, str]:
    """Return what stands for each placeholder (``${NAME}``), given a template and what it was rendered to.

    The distribution replaces them line by line. A line that does not fit is passed over.
    """
    found: dict[str, str] = {}
    for line, made in zip(template.splitlines(), rendered.splitlines()):
        names = _PLACEHOLDER.findall(line)
        parts = _PLACEHOLDER.split(line)[::2]
        match = re.fullmatch("(.*?)".join(map(re.escape, parts)), made) if names else None
        if match:
            found.update(zip(names, match.groups()))
    return found


def render(template: str, known: t.Mapping[str, str]) -> str:
    """Return a template with its placeholders replaced. An unknown one stays."""
    return _PLACEHOLDER.sub(lambda match: known.get(match.group(1), match.group()), template)
