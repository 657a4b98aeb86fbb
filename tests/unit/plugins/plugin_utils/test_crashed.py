# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The message of a module that failed, whatever version of Ansible ran it."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _crashed

TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nImportError: No module named _lzma\n'
SAYS = "Expected a payload. Found none. Name one."


def summary(message: str) -> t.Any:
    return types.SimpleNamespace(event=types.SimpleNamespace(msg=message))


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ({"msg": SAYS}, SAYS),
        ({"msg": SAYS, "exception": summary(SAYS)}, SAYS),
        ({"msg": SAYS, "exception": f"Traceback (most recent call last):\n_errors.Refusal: {SAYS}\n"}, SAYS),
        ({"exception": summary("No module named '_lzma'")}, "a_module, on the node: No module named '_lzma'"),
        ({"msg": "", "exception": TRACEBACK}, "a_module, on the node: ImportError: No module named _lzma"),
        (
            {"msg": "MODULE FAILURE", "module_stdout": "", "module_stderr": TRACEBACK},
            "MODULE FAILURE a_module, on the node: ImportError: No module named _lzma",
        ),
        (
            {"msg": "See stdout.", "module_stdout": "Segmentation fault\r\n\n", "module_stderr": ""},
            "See stdout. a_module, on the node: Segmentation fault",
        ),
        ({}, ""),
    ],
)
def test_reason(result: dict[str, t.Any], says: str) -> None:
    assert _crashed.reason("a_module", result) == says


@pytest.mark.parametrize(
    ("shell", "python"),
    [
        ("/bin/sh: 1: /usr/bin/python3: not found\n", "/usr/bin/python3"),
        ("bash: line 1: /opt/python/bin/python3.11: No such file or directory\r\n", "/opt/python/bin/python3.11"),
    ],
)
def test_a_node_without_python(shell: str, python: str) -> None:
    """ansible-core 2.17 advises to set the interpreter, and to read stderr."""
    result = {"rc": 127, "msg": "The module failed to execute correctly.", "module_stderr": shell}
    assert _crashed.reason("a_module", result).startswith(
        f"Expected Python 3.9 or a later version on the node, where modules run. Found no {python}. Install it"
    )
    assert python in _crashed.reason("a_module", {**result, "module_stdout": shell, "module_stderr": ""})
    assert "Expected" not in _crashed.reason("a_module", {**result, "rc": 1})
