# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What CRI-O makes of its configuration, as ``crio config`` prints it or as the running daemon tells it.

Both are written by a program, so they need no TOML parser. ``crio config`` writes a value that is the default as a comment.
It does not look whether the programs and files of a handler are there. The daemon does that when it starts, and only warns of a
handler that it leaves out. So we look, too, and take such handlers of others out of what ``crio config`` has printed.
"""

from __future__ import annotations

import os
import re
import shutil
import typing as t
from collections import Counter
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Configuration, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import keys
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.files import read
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

Sections = t.Dict[t.Tuple[str, ...], t.List[str]]

#: A value that is the default has "# " before it.
_HEADER = re.compile(r"(?:# )?[ \t]*\[(crio(?:\.[^\[\]]+)?)\]")
_SETTING = re.compile(r"(?:# )?[ \t]*(\w+)[ \t]*=[ \t]*(.*)")
_ITEM = re.compile(r"(?:# )?[ \t]+\"(?:[^\"\\]|\\.)*\",?")
_QUOTED = re.compile(r"\"([^\"]*)\"")
_PART = re.compile(r"\"([^\"]*)\"|([^.\"]+)")
#: The program of the handler in the comment that explains the table of handlers. It looks like a default.
_EXAMPLE = 'runtime_path = "/path/to/the/executable"'


@dataclass(frozen=True)
class Dump:
    """A configuration of CRI-O, its defaults included."""

    text: str

    def handlers(self) -> dict[str, list[str]]:
        """Return the runtime handlers, each with the lines of its table."""
        depth = len(keys.RUNTIMES)
        return {
            header[depth]: lines
            for header, lines in sections(self.text).items()
            if header[:depth] == keys.RUNTIMES and len(header) == depth + 1 and _EXAMPLE not in lines
        }

    def value(self, *path: str) -> str:
        """Return the text that a key has, '' if it is not there. The last part of ``path`` is the key."""
        return _value(sections(self.text).get(path[:-1], ()), path[-1])

    def runtime_types(self) -> dict[str, str]:
        """Return the runtime type of each handler, '' for a handler without one."""
        return {name: _value(lines, "runtime_type") for name, lines in self.handlers().items()}

    def paths(self) -> dict[str, list[str]]:
        """Return the absolute paths in each handler's table."""
        return {
            name: [
                match.group(1) for line in lines for match in _QUOTED.finditer(line) if match.group(1).startswith("/")
            ]
            for name, lines in self.handlers().items()
        }

    def cri_enabled(self) -> bool:
        """CRI-O is nothing but a CRI."""
        return True

    def without(self, names: t.Collection[str]) -> Dump:
        """Return the configuration without some of its handlers."""
        kept: list[str] = []
        dropping = False
        for line in self.text.splitlines(keepends=True):
            header = _HEADER.fullmatch(line.rstrip())
            if header:
                dropping = _handler(_parts(header.group(1))) in names
            kept += [] if dropping else [line]
        return Dump("".join(kept))

    def left_out(self) -> list[str]:
        """Return the handlers that the daemon would leave out, as far as we can tell."""
        return sorted(name for name, lines in self.handlers().items() if _lacks(name, lines))

    def served(self) -> list[str]:
        """Return the handlers that an engine with this configuration serves."""
        return sorted(self.handlers())

    def lost(self, after: Configuration, ours: t.Collection[str], proxies: t.Collection[str] = ()) -> list[str]:
        """Return what differs in ``after``, apart from our handlers, as ``table: key``. Values may be secret: they are not shown."""
        one, two = (_foreign(text, ours) for text in (self.text, after.text))
        found = []
        for header in sorted(set(one) | set(two)):
            here, there = Counter(one.get(header, [])), Counter(two.get(header, []))
            changed = [line.partition("=")[0].strip() for line in [*(here - there), *(there - here)]]
            found += [f"{'.'.join(header)}: {key}" for key in dict.fromkeys(changed)]
        return found

    def complaints(self) -> set[str]:
        """CRI-O says nothing about keys that it does not know."""
        return set()


def take(engine: Engine, config: str, drop_ins: str) -> Dump:
    """Return what CRI-O makes of a main file and a directory of drop-ins. Refuse those with which it would not start."""
    # Without this option, it would take the file that its own defaults name. A file that is named has to be there.
    main = config if os.path.exists(config) else ""
    done = process.run([engine.binary, f"--config={main}", f"--config-dir={drop_ins}", "config"])
    if done.returncode != 0:
        raise _not_printed(engine, config, drop_ins, (done.stderr, done.returncode))
    found = Dump(done.stdout)
    # Whether ours are complete is for others to say: in a check, their files are not there yet.
    ours = Dump(
        read(config, drop_ins).get(keys.drop_in_path(config, drop_ins), b"").decode(errors="replace")
    ).handlers()
    return found.without(set(found.left_out()) - set(ours))


def _lacks(name: str, lines: t.Sequence[str]) -> bool:
    """Tell whether a handler lacks what the daemon looks for when it starts."""
    if "inherit_default_runtime = true" in lines:
        return False
    program, kind, configuration = (_value(lines, f"runtime_{key}") for key in ("path", "type", "config_path"))
    if kind == keys.VM and not keys.SHIM.fullmatch(os.path.basename(program)):
        return True
    if configuration and (kind != keys.VM or not os.path.exists(configuration)):
        return True
    return not (os.path.exists(program) if program else shutil.which(name, path=process.search_path()))


def _not_printed(engine: Engine, config: str, drop_ins: str, said: tuple[str, int]) -> Refusal:
    """Return the refusal of a configuration that CRI-O does not accept. The remedy names the file at fault."""
    errors, status = said
    lines = [line for line in errors.splitlines() if re.search(r"level=(fatal|error)", line)] or errors.splitlines()
    complaint = (lines or [f"exit status {status}"])[-1].strip()
    if status < 0 or status in (process.MISSING, process.TOOK_TOO_LONG):
        return Refusal(
            f"{engine.binary} to tell what it makes of {config} and {drop_ins}",
            complaint,
            "Run its command 'config' on the node to see why.",
        )
    named = [path for path in read(config, drop_ins) if path in complaint]
    message = re.search(r'msg="((?:[^"\\]|\\.)*)"', complaint)
    # Any quoted text comes from the file, and could be a password.
    shown = re.sub(r'\\?"[^"]*\\?"', "…", message.group(1) if message else complaint)
    if config != engine.config:  # a trial of a new configuration; CRI-O has accepted the present one
        remedy = "Nothing was changed. Check coco_handler_overrides: what it adds is what CRI-O does not accept."
    else:
        remedy = f"Correct {' or '.join(named or [config, drop_ins])} first. CRI-O reads every file of that directory."
    return Refusal(f"a configuration that CRI-O {engine.version_text} accepts", shown, remedy)


def sections(text: str) -> Sections:
    """Return the settings below each table header, by the parts of the header. Values that are defaults count, too."""
    found: Sections = {}
    lines: list[str] = []
    for line in text.splitlines():
        header, setting = _HEADER.fullmatch(line.rstrip()), _SETTING.fullmatch(line)
        if header:
            lines = found.setdefault(_parts(header.group(1)), [])
        elif setting:
            lines.append(f"{setting.group(1)} = {setting.group(2).strip()}")
        elif lines and _ITEM.fullmatch(line):
            lines[-1] += " " + line.lstrip("# \t")
    return found


def _parts(header: str) -> tuple[str, ...]:
    return tuple(quoted or bare for quoted, bare in _PART.findall(header))


def _handler(header: tuple[str, ...]) -> str:
    """Return the runtime handler that a table belongs to, '' for any other table."""
    depth = len(keys.RUNTIMES)
    return header[depth] if header[:depth] == keys.RUNTIMES and len(header) > depth else ""


def _value(lines: t.Iterable[str], key: str) -> str:
    found = (re.fullmatch(rf'{key} = "([^"]*)"', line) for line in lines)
    return next((match.group(1) for match in found if match), "")


def _foreign(text: str, ours: t.Collection[str]) -> Sections:
    return {header: lines for header, lines in sections(text).items() if lines and _handler(header) not in ours}
