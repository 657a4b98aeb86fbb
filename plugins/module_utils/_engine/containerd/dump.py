# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The output of ``containerd config dump``, read and compared line by line. A machine writes it, so it needs no TOML parser."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t
from collections import Counter
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Configuration, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import imports, schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

Sections = t.Dict[t.Tuple[str, ...], t.List[str]]

_HEADER = re.compile(r"\[\[?([^\[\]].*?)\]\]?")
_UNKNOWN = re.compile(r"unknown key.*\bkey=(\S+)")
#: The table with the engine's address: up to schema 3, and after it.
_GRPC = (("grpc",), ("plugins", "io.containerd.server.v1.grpc"))
_MENTION = re.compile(
    r"""^[ \t]*\[?[ \t]*["']?grpc["']?[ \t]*[\].=].*|^[^#\n]*\bio\.containerd\.server\.v1\.grpc["'].*""", re.MULTILINE
)
_HEADERS = ("[grpc]", *(f"[plugins.{quote}io.containerd.server.v1.grpc{quote}]" for quote in "\"'"))
_NEXT = re.compile(r"\n[ \t]*\[")
_PLAIN = re.compile(r"""(\w+)\s*=\s*(?:"([^"\\]*)"|'([^']*)'|\d+|true|false)\s*(?:\#.*)?""")
_PATH = re.compile(r"""\w+\s*=\s*["'](/[^"']*)["']""")
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.\s"']+))\s*(?:\.|$)""")


@dataclass(frozen=True)
class Dump:
    """What containerd makes of a configuration, its defaults included, and its ``warnings`` about it. May hold secrets."""

    text: str
    warnings: str = ""

    def address(self) -> str:
        """Return the address that the engine listens on."""
        found = sections(self.text)
        for line in (line for table in _GRPC for line in found.get(table, ())):
            match = _PLAIN.fullmatch(line)
            if match and match.group(1) == "address":
                return match.group(2) or match.group(3) or ""
        return ""

    def handlers(self) -> dict[str, list[str]]:
        """Return the runtime handlers, each with the lines of its table, without options."""
        return {
            header[-1]: lines
            for header, lines in sections(self.text).items()
            if len(header) > 1 and header[-2] == "runtimes" and "containerd" in header
        }

    def runtime_types(self) -> dict[str, str]:
        """Return the runtime type of each handler, '' for a handler without one."""
        return {name: value(lines, "runtime_type") for name, lines in self.handlers().items()}

    def paths(self) -> dict[str, list[str]]:
        """Return the absolute paths in the tables of each handler, options included."""
        found: dict[str, list[str]] = {}
        for header, lines in sections(self.text).items():
            if "runtimes" in header[:-1] and "containerd" in header:
                values = (_PATH.fullmatch(line) for line in lines)
                found.setdefault(_handler(header), []).extend(match.group(1) for match in values if match)
        return found

    def cri_enabled(self) -> bool:
        """Tell whether the CRI may run."""
        lines = [line for line in sections(self.text)[()] if line.startswith("disabled_plugins")]
        disabled = "".join(lines)
        return not any(f"{quote}{plugin}{quote}" in disabled for plugin in schemas.CRI_PLUGINS for quote in "\"'")

    def served(self) -> list[str]:
        """Return the handlers that an engine with this configuration serves."""
        return sorted(self.handlers()) if self.cri_enabled() else []

    def lost(self, after: Configuration, ours: t.Collection[str], proxies: t.Collection[str] = ()) -> list[str]:
        """Return what differs in ``after``, apart from our handlers and proxy plugins, as ``table: key``.

        The list of imports does not count, because a drop-in needs an import. If only one of the two has the CRI enabled, the
        CRI does not count either: a dump leaves out what is disabled. Values may be secret, so they are not shown.
        """
        switched = self.cri_enabled() != after.cri_enabled()
        one, two = (_foreign(text, ours, proxies, switched) for text in (self.text, after.text))
        found = []
        for header in sorted(set(one) | set(two)):
            here, there = Counter(one.get(header, [])), Counter(two.get(header, []))
            keys = [line.partition("=")[0].strip() for line in [*(here - there), *(there - here)]]
            found += [f"{'.'.join(header) or 'top level'}: {key}" for key in dict.fromkeys(keys)]
        return found

    def complaints(self) -> set[str]:
        """Return the keys that containerd says it ignores. Only 2.x says so."""
        return {match.group(1) for match in _UNKNOWN.finditer(self.warnings)}


def take(engine: Engine, config: str) -> Dump:
    """Return what containerd makes of a configuration file. Refuse a file with which it would not start.

    Without a file, a daemon takes its defaults, but on 1.6 and 1.7 the dump fails. An empty file gives the same result.
    """
    done = process.run([engine.binary, "--config", config if os.path.exists(config) else os.devnull, "config", "dump"])
    if done.returncode != 0:
        raise _not_dumped(engine, config, done)
    return Dump(done.stdout, done.stderr)


def _not_dumped(engine: Engine, config: str, done: subprocess.CompletedProcess[str]) -> Refusal:
    """Return the refusal of a configuration that containerd does not accept. The remedy names the file at fault."""
    complaint = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode < 0 or done.returncode in (process.MISSING, process.TOOK_TOO_LONG):
        return Refusal(
            f"{engine.binary} to tell what it makes of {config}",
            complaint,
            "Run its 'config dump' on the node to see why.",
        )
    files = list(imports.read(config))
    named = [path for path in files if path in complaint]
    # Any other quoted text comes from the file, and could be a password.
    shown = re.sub(
        r"\"([^\"]*)\"|'([^']*)'|(?<=convert ).*(?=\()",
        lambda match: match.group() if (match[1] or match[2]) in files else "…",
        complaint,
    )
    if config != engine.config:  # a trial of a new configuration; containerd has accepted the present one
        remedy = "Nothing was changed. Check coco_handler_overrides and coco_proxy_plugins: what they add is what it does not accept."
    else:
        remedy = f"Correct {' or '.join(named or files) or config} first."
    return Refusal(f"a configuration that containerd {engine.version_text} accepts", shown, remedy)


def sections(dump: str) -> Sections:
    """Return the lines below each table header, by the parts of the header. () stands for the top level."""
    found: Sections = {}
    lines = found.setdefault((), [])
    for raw in dump.splitlines():
        line = raw.strip()
        header = _HEADER.fullmatch(line)
        if header and "=" not in header.group(1):
            lines = found.setdefault(_split(header.group(1)), [])
        elif line:
            lines.append(line)
    return found


def value(lines: t.Iterable[str], key: str) -> str:
    """Return the text that a key has in the lines of a table, '' if it is not there."""
    found = (re.fullmatch(rf"""{key}\s*=\s*["']([^"']*)["']""", line) for line in lines)
    return next((match.group(1) for match in found if match), "")


def written_address(texts: t.Sequence[str]) -> str | None:
    """Return the address in the texts of an engine's files, '' if they have none. None if only the engine can tell.

    Most files have no address, or have it as ``containerd config default`` writes it. For these, we need not run a dump.
    """
    found = ""
    mentions = [(text, match) for text in texts for match in _MENTION.finditer(text)]
    for text, match in mentions:
        lines = [line.strip() for line in _NEXT.split(text[match.end() :])[0].splitlines()]
        plain = [_PLAIN.fullmatch(line) for line in lines if line and not line.startswith("#")]
        if len(mentions) > 1 or match.group().strip() not in _HEADERS or not all(plain):
            return None
        found = next((pair[2] or pair[3] or "" for pair in plain if pair and pair[1] == "address"), "")
    return found


def _split(header: str) -> tuple[str, ...]:
    return tuple(next(part for part in match.groups() if part is not None) for match in _PART.finditer(header))


def _handler(header: tuple[str, ...]) -> str:
    """Return the runtime handler that a table belongs to, '' for any other table."""
    for parent in ("runtimes", "runtime_platforms"):
        if parent in header[:-1]:
            return header[header.index(parent) + 1]
    return ""


def _foreign(text: str, ours: t.Collection[str], proxies: t.Collection[str], switched: bool) -> Sections:
    ignored = ("imports ", "disabled_plugins ") if switched else ("imports ",)
    return {
        header: [line for line in lines if header or not line.startswith(ignored)]
        for header, lines in sections(text).items()
        if lines
        and _handler(header) not in ours
        and not (header[:1] == schemas.PROXIES and header[1:2] and header[1] in proxies)
        and not (switched and header[:1] == ("plugins",) and header[1:2] and header[1] in schemas.CRI_PLUGINS)
    }
