# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our tables in a template of k3s or RKE2. A template is no TOML, so our tables stand between two marks."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml

#: The line below our tables. ``toml.MARK`` is the one above them.
END = "# End of the runtime handlers of Confidential Containers."
#: Go's text/template takes these two characters for the beginning of an action.
_ACTION = "{{"


def is_template(path: str) -> bool:
    """Tell whether a file is a template."""
    return path.endswith(".tmpl")


def with_tables(text: str | None, base: str, tables: t.Mapping[toml.Header, toml.Values], path: str) -> str:
    """Append our tables. A new template begins with ``base``, the line that includes the distribution's own template."""
    block = toml.add_tables("", tables, path).replace(_ACTION, '{{ "{{" }}')
    above = f"{base}\n" if text is None else text
    # A blank line above the mark means that the text above ended with a newline: see without.
    return f"{above}\n{block}{END}\n"


def without(text: str, path: str) -> str:
    """Return a template without our tables: what stood around them stays, byte for byte.

    If the text above us had no newline at its end, and text follows below us, that text gets a line of its own.
    """
    above, _ours, below = _parts(text, path)
    between = "\n" if above and below and not above.endswith("\n") else ""
    return f"{above}{between}{below}"


def same(now: str, new: str, path: str) -> bool:
    """Tell whether two templates have the same tables of ours and the same text around them, which may stand below them, too.

    Only a table or an action may stand there first: a key would be one of our last table's.
    """
    _above, ours, below = _parts(now, path)
    first = next((line for line in map(str.strip, below.splitlines()) if line and not line.startswith("#")), "[")
    return (ours, without(now, path)) == (_parts(new, path)[1], without(new, path)) and first.startswith(("[", _ACTION))


def _parts(text: str, path: str) -> tuple[str, str, str]:
    """Return what stands above our tables, our tables, and what stands below them. Everything stands above if there are none."""
    if toml.MARK not in text and END not in text:
        return text, "", ""
    above, mark, rest = text.partition(f"\n{toml.MARK}\n")
    ours, end, below = rest.partition(f"{END}\n")
    if not mark or not end or toml.MARK in below or END in below:
        raise Refusal(
            f"the tables of this collection in {path} between the two lines that begin and end them, once",
            "one of these lines without the other, or twice",
            f"Remove the lines from '{toml.MARK}' to '{END}' by hand, restart the engine's unit, and run the playbook again.",
        )
    return above, ours, below
