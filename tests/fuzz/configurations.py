# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configurations of containerd as humans and tools write them, and some that nobody would write."""

from __future__ import annotations

import tomllib
import typing as t
from dataclasses import dataclass

import hypothesis
from hypothesis import strategies

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml

#: Stands in values and comments; must not appear in any message.
SECRET = "hunter2"
GLOB = "/etc/containerd/conf.d/*confidential-containers.toml"

CRI = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
_OUR_HEADER = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.kata-qemu]"

_COMMENTS = (
    "#",
    "# a comment",
    "#no space",
    f"# password = '{SECRET}'",
    "# [plugins]",
    "# ] } [ {",
    "# it's \"open",
    "# ''' \"\"\"",
    "# Übergröße 🦆",
    "# version = 9",
    "# imports = [",
    "# a\u2028b\x85c",
    "# \\",
)

_NUMBERS = (
    *("0", "7", "-1", "+3", "0x1F", "0xdead_beef", "0o755", "0b1010", "1_000_000", "true", "false"),
    *("1.5", "-0.0", "6.26e-34", "1_0.0_1", "inf", "-inf", "nan"),
    *("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00.999-07:00", "1979-05-27T00:32:00"),
)

_STRINGS = (
    *("''", '""', "'/run/containerd'", '"/run/containerd"', f'"{SECRET}"', f"'{SECRET}'"),
    *("'[plugins]'", '"# no comment"', "'a = 1'", '"version = 9"', "'\"'", '"\'"', r"'C:\x\'", r'"\\"', r'"\""'),
    *(
        r'"a \"b\" # c"',
        r'"tab\t \u00e9 \U0001F600"',
        "'значение'",
        '"]"',
        "'['",
        "'{ a = 1 }'",
        "'a\tb'",
        "'x\u2028y'",
    ),
)

_LONG_STRINGS = (
    '"""\n[plugins]\nversion = 9\n"""',
    "'''\n[a.b]\n'''",
    '"""a\\\n   b"""',
    '""""a""""',
    '"""""a"""""',
    "'''it's'''",
    "''''a'''''",
    "''''''",
    '""""""',
    '"""[[["""',
    r'"""\"""[x]"""',
    '"""\n\\"""\n[x]\n"""',
    "'''\n# no comment ]\n'''",
    f"'''\n\n{toml.MARK}\n{_OUR_HEADER}\nruntime_type = 'x'\n'''",
    f'"""\nimports = ["{GLOB}"]\n"""',
    f"'''\n{SECRET}\n\n'''",
)


@dataclass(frozen=True)
class Configuration:
    """A text; ``odd`` says why it may be refused, '' for a spelling that has to be understood."""

    text: str
    schema: int
    odd: str


class Writer:
    """Writes pieces of TOML in one of their many spellings."""

    def __init__(self, draw: strategies.DrawFn) -> None:
        self.draw = draw
        self.indent = self.pick("", "", "  ", "\t")

    def pick(self, *options: str) -> str:
        return self.draw(strategies.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        return self.draw(strategies.integers(0, one_in - 1)) == one_in - 1

    def key(self, name: str) -> str:
        bare = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if bare and not self.chance(5):
            return name
        style = self.pick('"', "'", "'", '"')
        if style == '"' and name and self.chance(10):
            return f'"\\u{ord(name[0]):04x}{name[1:]}"'
        return f"{style}{name}{style}"

    def dotted(self, *names: str) -> str:
        return self.pick(".", ".", ".", " . ").join(map(self.key, names))

    def comment(self) -> str:
        return self.pick(*_COMMENTS)

    def value(self, depth: int = 2) -> str:
        kind = self.draw(strategies.integers(0, 9))
        if kind == 9 and depth:
            return self.array([self.value(depth - 1) for _dummy in range(self.draw(strategies.integers(0, 3)))])
        if kind == 8 and depth:
            return self.inline(depth - 1)
        if kind == 7:
            return self.pick(*_LONG_STRINGS)
        return self.pick(*_STRINGS) if kind > 3 else self.pick(*_NUMBERS)

    def array(self, items: t.Sequence[str]) -> str:
        comma = bool(items) and self.chance(3)
        if self.chance(2):
            inside = self.pick(", ", ",", " , ").join(items) + ("," if comma else "")
            return self.pick("[{}]", "[ {} ]", "[{} ]").format(inside)
        text = "[" + self.pick("", " ", " " + self.comment()) + "\n"
        for number, item in enumerate(items):
            before_comma = "\n  # the comma follows\n" if self.chance(12) else ""
            last = "" if number == len(items) - 1 and not comma else before_comma + self.pick(",", " ,")
            text += f"    {item}{last}" + self.pick("", "  ", " " + self.comment()) + "\n"
            text += self.pick("", "", "", "\n", f"  {self.comment()}\n")
        return text + self.pick("]", "  ]")

    def inline(self, depth: int) -> str:
        names = ("a", "b", "c d")[: self.draw(strategies.integers(0, 3))]
        pairs = [
            f"{self.dotted(name, 'x') if self.chance(4) else self.key(name)} = {self.value(depth)}" for name in names
        ]
        return f"{{ {', '.join(pairs)} }}" if pairs else self.pick("{}", "{ }")

    def entry(self, key: str, value: str) -> str:
        equals = self.pick(" = ", " = ", "=", "\t=\t", "   =  ")
        return f"{self.indent}{key}{equals}{value}{self.end()}"

    def end(self) -> str:
        return self.pick("", "", "", "  ", "\t", " " + self.comment()) + "\n"

    def header(self, path: t.Sequence[str], array: bool = False) -> str:
        space = self.pick("", "", "", " ")
        name = f"{space}{self.dotted(*path)}{space}"
        return (
            (self.indent * self.draw(strategies.integers(0, 2)))
            + (f"[[{name}]]" if array else f"[{name}]")
            + self.end()
        )

    def between(self) -> str:
        return self.pick(
            *("", "", "\n", "\n", "\n\n", "   \n", f"{self.indent}{self.comment()}\n", f"\n{self.comment()}\n"),
            *(f"{toml.MARK}\n", f"\n{toml.MARK}\n", f"# {_OUR_HEADER}\n"),
        )


#: Keys of tables that are not ours; values of any type may stand there as far as an edit is concerned.
_KEYS = ("uid", "sandbox_image", "ключ", "a.b", "", "max-size", "password", "version", "imports", "1", "x y", "[z]")


@strategies.composite
def configurations(draw: strategies.DrawFn) -> Configuration:
    """Write a configuration that a TOML parser understands."""
    writer = Writer(draw)
    schema = draw(strategies.sampled_from((2, 2, 3, 3)))
    odd: list[str] = []
    top = _top_level(writer, schema, odd)
    tables = _tables(writer, schema, odd)
    text = writer.between() + "".join(
        part + writer.between() for part in [*draw(strategies.permutations(top)), *tables]
    )
    text = _line_ends(writer, text)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        hypothesis.event("discarded: no TOML")
        hypothesis.reject()
    if writer.chance(25):
        text = "\ufeff" + text
    return Configuration(text, schema, ", ".join(odd))


def _top_level(writer: Writer, schema: int, odd: list[str]) -> list[str]:
    spellings = (str(schema), str(schema), str(schema), hex(schema), f"+{schema}")
    version = writer.entry(
        writer.pick("version", "version", "version", '"version"', "'version'"), writer.pick(*spellings)
    )
    entries = [version, *_imports(writer, odd)]
    for name in ("root", "oom_score", "ключ", "my_version", "note"):
        if writer.chance(3):
            entries.append(writer.entry(writer.key(name), writer.value()))
    if writer.chance(5):
        entries.append(writer.entry(writer.dotted("debug", "level"), writer.value()))
    if writer.chance(5):
        entries.append(writer.entry("ttrpc", writer.inline(1)))
    return entries


def _imports(writer: Writer, odd: list[str]) -> list[str]:
    if writer.chance(2):
        return []
    if writer.chance(30):
        odd.append("imports are no list")
        return [writer.entry("imports", writer.pick("1", f"'{SECRET}'", "{ a = 1 }", "true"))]
    if writer.chance(40):
        odd.append("escapes in the key of imports")
        return [writer.entry('"im\\u0070orts"', "['/etc/a.toml']")]
    if writer.chance(30):
        odd.append("imports that are no texts")
        return [writer.entry("imports", writer.pick("[1]", "[['/etc/a.toml']]", "[{ a = 1 }]"))]
    known = ("'/etc/a.toml'", '"/etc/containerd/b.toml"', "'/etc/containerd/conf.d/*.toml'", "'/etc/[1]#.toml'")
    items = writer.draw(strategies.lists(strategies.sampled_from(known), max_size=3, unique=True))
    return [writer.entry(writer.pick("imports", "imports", '"imports"', "'imports'"), writer.array(items))]


def _tables(writer: Writer, schema: int, odd: list[str]) -> list[str]:
    ids = (CRI[schema], CRI[schema], CRI[5 - schema])
    plugin = ("plugins", writer.pick(*ids))
    runtimes = (*plugin, "containerd", "runtimes")
    paths: list[tuple[str, ...]] = [
        ("grpc",),
        ("metrics",),
        ("proxy_plugins", "nydus"),
        ("timeouts", "io.containerd.x"),
    ]
    blocks: list[str] = []
    style = writer.pick("headers", "headers", "headers", "headers", "headers", "dotted", "dotted below", "inline")
    if style == "headers":
        paths += [("plugins",), plugin, (*plugin, "cni"), (*plugin, "containerd"), runtimes]
        paths += [
            (*runtimes, "runc"),
            (*runtimes, "runc", "options"),
            (*runtimes, "my.own"),
            (*runtimes, "kata-qemu-2"),
        ]
        paths += [(*plugin, "registry", "configs", "[::1]:5000", "auth"), (*plugin, "registry", "mirrors", "docker.io")]
        paths += [("plugins", "io.containerd.other", "containerd", "runtimes", "kata-qemu")]
        if writer.chance(20):
            odd.append("a handler with our name")
            paths += [(*runtimes, "kata-qemu")]
    elif style == "dotted":
        body = writer.entry(writer.dotted("containerd", "runtimes", "runc", "runtime_type"), "'io.containerd.runc.v2'")
        body += writer.entry(writer.dotted("cni", "bin_dir"), writer.value())
        blocks.append(writer.header(plugin) + body)
    elif style == "dotted below":
        body = writer.entry(writer.dotted(plugin[1], "containerd", "x"), writer.value())
        blocks.append(writer.header(("plugins",)) + body)
    elif style == "inline":
        odd.append("inline tables around ours")
        body = writer.entry(writer.key(plugin[1]), f"{{ containerd = {{ runtimes = {{}} }}, note = '{SECRET}' }}")
        blocks.append(writer.header(("plugins",)) + body)
    chosen = writer.draw(strategies.lists(strategies.sampled_from(paths), max_size=7, unique=True))
    blocks += [writer.header(path) + _body(writer) for path in chosen]
    if writer.chance(4):
        element = writer.header(("stream", "list"), array=True)
        blocks += [element + _body(writer), element.replace("#", "# ") + _body(writer)]
    blocks = writer.draw(strategies.permutations(blocks))
    # TOML allows a table's subtables before the table itself, and others in between.
    return list(blocks)


def _body(writer: Writer) -> str:
    names = writer.draw(strategies.lists(strategies.sampled_from(_KEYS), max_size=3, unique=True))
    text = ""
    for name in names:
        dotted = writer.chance(6)
        text += writer.entry(writer.dotted(name, "sub") if dotted else writer.key(name), writer.value())
        text += writer.pick("", "", "", "\n", f"  {writer.comment()}\n")
    return text


def _line_ends(writer: Writer, text: str) -> str:
    if writer.chance(3):
        text = text.rstrip("\n") if writer.chance(2) else text[: -1 if text.endswith("\n") else None]
    style = writer.pick("LF", "LF", "LF", "CRLF", "mixed")
    if style == "CRLF":
        return text.replace("\n", "\r\n")
    if style == "mixed":
        lines = text.split("\n")
        return "".join(line + ("\r\n" if number % 3 else "\n") for number, line in enumerate(lines[:-1])) + lines[-1]
    return text
