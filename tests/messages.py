# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that this collection says to its users, out of its source: each message with its place, what varies between braces.

python tests/unit/messages/collect.py > tests/unit/messages/table.txt
"""

from __future__ import annotations

import ast
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("expected", "found", "remedy")


class Message(t.NamedTuple):
    """What is said at one place: the three parts of a refusal, or the text of a warning."""

    file: str
    function: str
    parts: dict[str, str]


def collect() -> list[Message]:
    """Return all messages, by file and in the order of the source."""
    found: list[Message] = []
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        visitor = _Visitor(str(path.relative_to(ROOT)))
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        found += visitor.found
    return found


def table(messages: t.Iterable[Message]) -> str:
    """Return the table as text: file, function, and a line for each part."""
    lines: list[str] = []
    file = function = ""
    for message in messages:
        if message.file != file:
            lines += ["", message.file]
        if (message.file, message.function) != (file, function):
            lines.append(f"  {message.function}")
        file, function = message.file, message.function
        lines += [f"    {name:<8}  {text}".rstrip() for name, text in message.parts.items()]
    return "\n".join(lines).strip() + "\n"


class _Visitor(ast.NodeVisitor):
    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Message] = []
        self._scope: list[str] = []

    def _enter(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()

    visit_FunctionDef = _enter
    visit_ClassDef = _enter

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        words = [_text(argument) for argument in node.args if not isinstance(argument, ast.Starred)]
        named = {word.arg: _text(word.value) for word in node.keywords if word.arg}
        if name == "Refusal" and len(words) + len(named) >= len(PARTS):
            self._add({**dict(zip(PARTS, words, strict=False)), **named})
        elif name == "warn" and words:
            self._add({"warning": words[0]})
        elif name == "fail_json" and "msg" in named:
            self._add({"error": named["msg"]})
        self.generic_visit(node)

    def _add(self, parts: dict[str, str]) -> None:
        self.found.append(Message(self.file, ".".join(self._scope) or "(module)", parts))


def _text(node: ast.expr) -> str:
    """Return a text as it is written, what varies between braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("\n", "\\n")
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value) for value in node.values)
    if isinstance(node, ast.FormattedValue):
        return "{" + ast.unparse(node.value) + "}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{{{_text(node.body)} | {_text(node.orelse)}}}"
    return "{" + ast.unparse(node) + "}"


if __name__ == "__main__":
    sys.stdout.write(table(collect()))
