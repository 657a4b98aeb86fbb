# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Find the CRI-O of a unit: its version, its configuration, its socket, and whether it would start like that again."""

from __future__ import annotations

import os
import re
import shutil
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import risks, unit_command
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Engine,
    Flavour,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import dump, keys, options
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.options import Options
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process, systemd

#: The properties of a unit that :func:`find` reads.
PROPERTIES = ("ActiveState", "MainPID", "NeedDaemonReload", *unit_command.PROPERTIES)

_PROGRAM = "crio"
_BINARY = "/usr/bin/crio"
_DELETED = " (deleted)"
_VERSION = r"^crio version (\d+)\.(\d+)\.(\d+)"
#: Only nodes whose files OpenShift's Machine Config Operator writes have this.
_MACHINE_CONFIG = "/etc/machine-config-daemon"
_RELEASE = "/etc/os-release"
#: Operating systems that are only made for OpenShift. Newer ones call themselves RHEL, and name the version of OpenShift.
_COREOS = re.compile(r"""^(?:ID=["']?(?:rhcos|scos)["']?|OPENSHIFT_VERSION=.+)$""", re.MULTILINE)


@dataclass(frozen=True)
class Start:
    """A start of CRI-O, the present one or the next one: the program, and what its command line says."""

    binary: str
    options: Options


def find(flavour: Flavour, unit: str, shown: systemd.Properties, overrides: Overrides) -> tuple[Engine, list[Refusal]]:
    """Return the CRI-O that a unit runs, and all that makes a restart of it a risk."""
    refuse_managed()
    running = now(int("".join(shown.get("MainPID", ())) or 0))
    planned = then(shown)
    start = running or planned
    if start is None and not overrides.config:
        raise Refusal(
            f"to know which configuration CRI-O gets from {unit}",
            "no process of CRI-O in it, and an ExecStart that does not tell",
            f"Start {unit}: the running CRI-O then tells it. Or name the file in coco_engine_config.",
        )
    start = start or Start(shutil.which(_PROGRAM, path=process.search_path()) or _BINARY, Options())
    engine = Engine(
        flavour.name,
        risks.version("CRI-O", start.binary, _VERSION),
        unit,
        start.binary,
        overrides.config or start.options.config or flavour.config,
        overrides.socket or start.options.listen,
        "".join(shown.get("ActiveState", ())) == "active",
        start.options.root,
        drop_ins=start.options.drop_ins,
    )
    if not engine.socket:
        engine = replace(engine, socket=_configured_socket(engine) or flavour.socket)
    return engine, list(_doubts(flavour, engine, overrides, shown, (running, planned)))


def refuse_managed(machine_config: str = _MACHINE_CONFIG, release: str = _RELEASE) -> None:
    """Refuse a node that OpenShift manages: its operator would take our files for damage, and mark the node as degraded."""
    found = [machine_config] if os.path.isdir(machine_config) else []
    try:
        with open(release, encoding="utf-8", errors="replace") as stream:
            found += [release] if _COREOS.search(stream.read()) else []
    except OSError:
        pass  # without that file, the other one decides
    if found:
        raise Refusal(
            "a node whose files below /etc its admin writes",
            f"a node that OpenShift's Machine Config Operator manages ({' and '.join(found)})",
            "Leave this node out, and install OpenShift sandboxed containers with its operator: that brings Kata as an extension of "
            "the operating system.",
        )


def now(pid: int, proc: str = "/proc") -> Start | None:
    """Return the present start of CRI-O, given the unit's main process. None if that is no CRI-O."""
    try:
        program = os.readlink(f"{proc}/{pid}/exe")
        directory = os.readlink(f"{proc}/{pid}/cwd")
        words, pairs = (_words(f"{proc}/{pid}/{name}") for name in ("cmdline", "environ"))
    except OSError:
        return None
    # If a package was upgraded since, the kernel marks the old file as deleted. The next start runs the new file.
    program = program[: -len(_DELETED)] if program.endswith(_DELETED) else program
    if not words or _PROGRAM not in (os.path.basename(program), os.path.basename(words[0])):
        return None
    named = os.path.isabs(words[0]) and os.path.isfile(words[0])
    variables = {name: value for name, _equals, value in (pair.partition("=") for pair in pairs)}
    return Start(words[0] if named else program, options.read(words[1:], variables, directory))


def then(shown: systemd.Properties) -> Start | None:
    """Return what systemd would start now. None if the unit does not tell."""
    variables = unit_command.environment(shown)
    # Upstream's unit has variables for further options that are mostly not set. systemd leaves such a word out.
    words = [
        word
        for word in unit_command.expanded(unit_command.words(shown), variables)[0]
        if word  # an unknown variable within a word leaves the rest of the word
    ]
    position = next((at for at, word in enumerate(words) if os.path.basename(word) == _PROGRAM), None)
    if position is None:
        return None
    named = words[position]
    binary = named if os.path.isabs(named) else shutil.which(named, path=os.defpath)
    return Start(binary or _BINARY, options.read(words[position + 1 :], variables))


def _words(path: str) -> list[str]:
    with open(path, "rb") as stream:
        return [os.fsdecode(word) for word in stream.read().split(b"\0")[:-1]]


def _doubts(
    flavour: Flavour,
    engine: Engine,
    overrides: Overrides,
    shown: systemd.Properties,
    starts: tuple[Start | None, Start | None],
) -> t.Iterator[Refusal]:
    """Yield each reason why a restart of the unit could start another engine than the one found, or touch another unit's."""
    unit = engine.unit
    yield from risks.unread(unit, shown)
    running, planned = starts
    if running and planned:
        here, there, usual = running.options, planned.options, flavour.config
        differing = (
            risks.Option("coco_engine_config", overrides.config, here.config or usual, there.config or usual),
            risks.Option("", "", here.drop_ins, there.drop_ins),
            risks.Option("coco_engine_socket", overrides.socket, here.listen, there.listen),
        )
        yield from risks.changed("CRI-O", unit, differing)
    yield from risks.taken(unit, engine.socket, 0)


def _configured_socket(engine: Engine) -> str:
    """Return the socket that the engine's files name, '' if we cannot tell."""
    try:
        found = dump.take(engine, engine.config, keys.directory(engine.config, engine.drop_ins))
    except Refusal:
        return ""  # a later look at the configuration reports what is wrong with it
    return found.value("crio", "api", "listen")
