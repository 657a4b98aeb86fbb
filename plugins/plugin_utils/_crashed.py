# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a module failed, in one text. A module that crashed may have no message, or one that says nothing."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: What a shell says if the interpreter of modules is missing, with the exit status that goes with it.
_NO_PYTHON = re.compile(r"(/\S*python\S*): (?:not found|No such file or directory)")
_MISSING = 127


def reason(module: str, result: t.Mapping[str, t.Any]) -> str:
    """Return the message of a failed result. After a crash, the last line of its output is added."""
    python = _NO_PYTHON.search(str(result.get("module_stderr") or result.get("module_stdout") or ""))
    if python and result.get("rc") == _MISSING:
        return str(
            Refusal(
                "Python 3.9 or a later version on the node, where modules run",
                f"no {python.group(1)}",
                "Install it on the node, or set ansible_python_interpreter to its path. On Flatcar it can only be below /opt.",
            )
        )
    said = str(result.get("msg") or "")
    exception = result.get("exception")
    # From ansible-core 2.19 on, this is an object that has the message. Before, it is a traceback.
    event = getattr(exception, "event", None)
    told = str(event.msg) if event else _last_line(exception)
    told = _last_line(result.get("module_stderr")) or told or _last_line(result.get("module_stdout"))
    if not told or told in said or (said and said in told):
        return said
    return f"{said} {module}, on the node: {told}".strip()


def _last_line(text: t.Any) -> str:
    return next((line.strip() for line in reversed(str(text or "").splitlines()) if line.strip()), "")
