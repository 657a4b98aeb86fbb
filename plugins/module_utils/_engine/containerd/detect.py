# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Find the containerd of a unit: its version, its configuration, its socket, and whether it would start like that again."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import risks, unit_command
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Engine,
    Flavour,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    daemon,
    dump,
    execstart,
    imports,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process, systemd

#: The properties of a unit that :func:`find` reads.
PROPERTIES = ("ActiveState", "MainPID", "ControlGroup", "NeedDaemonReload", *unit_command.PROPERTIES)

_BINARY = "/usr/bin/containerd"
_VERSION = r"^containerd\b.*?\bv?(\d+)\.(\d+)\.(\d+)"
#: The commands of distributions' programs that run a control plane.
_SERVERS = ("server", "controller")


def find(flavour: Flavour, unit: str, shown: systemd.Properties, overrides: Overrides) -> tuple[Engine, list[Refusal]]:
    """Return the containerd that a unit runs, and all that makes a restart of it a risk."""
    group = "".join(shown.get("ControlGroup", ()))
    running = daemon.find(int("".join(shown.get("MainPID", ())) or 0), group)
    planned = execstart.planned(shown)
    options = running.options if running else planned.options
    if flavour.embedded and not running:
        raise Refusal(
            f"the containerd that {unit} starts",
            "no process of containerd in it",
            f"Start {unit} first. If its pods run on an engine of another unit, name that engine in coco_engine.",
        )
    if options is None and not overrides.config:
        raise Refusal(
            f"to know which configuration containerd gets from {unit}",
            f"no process of containerd in it, and {planned.why}",
            f"Start {unit}: the running containerd then tells it. Or name the file in coco_engine_config.",
        )
    options = options or execstart.Options()
    binary = (running.binary if running else planned.binary) or _BINARY
    _refuse_contradiction(flavour, unit, overrides, [running.options if running else None, planned.options])
    config = overrides.config or _steady(options.config, flavour) or flavour.config
    if os.path.exists(config) and not os.path.isfile(config):
        raise Refusal(
            f"a file at {config}, where {unit} reads its configuration",
            "something else",
            "Name the file in coco_engine_config, or put one there.",
        )
    engine = Engine(
        flavour.name,
        risks.version("containerd", binary, _VERSION),
        unit,
        binary,
        config,
        overrides.socket or options.address,
        "".join(shown["ActiveState"]) == "active",
        options.root,
        *_distribution(flavour, shown),
    )
    if not engine.socket:
        engine = replace(engine, socket=_configured_socket(engine) or flavour.socket)
    return engine, [*_doubts(flavour, engine, overrides, shown, running, planned), *flavour.doubts(engine)]


def _distribution(flavour: Flavour, shown: systemd.Properties) -> tuple[str, bool]:
    """Return the version of the distribution that starts containerd, and whether it also runs a control plane."""
    words = unit_command.starting(shown, flavour.program)
    if not words:
        return "", False
    said = process.run([words[0], *flavour.release]).stdout if flavour.release else ""
    release = re.search(r"\bv?\d+\.\d+\.\d+\S*", said)
    return release.group() if release else "", bool(set(words[1:2]) & set(_SERVERS))


def _refuse_contradiction(
    flavour: Flavour, unit: str, overrides: Overrides, known: t.Sequence[execstart.Options | None]
) -> None:
    """Refuse a file in coco_engine_config that the daemon neither reads now nor would read after a restart."""
    read = [options.config or flavour.config for options in known if options]
    if overrides.config and read and os.path.realpath(overrides.config) not in map(os.path.realpath, read):
        raise Refusal(
            f"coco_engine_config to name the file that the containerd of {unit} reads: {read[0]}",
            overrides.config,
            "Leave coco_engine_config out, or let the unit start containerd with that file.",
        )


def _steady(config: str, flavour: Flavour) -> str:
    """Return the path of a main file: the flavour's own one if it leads to the same file. A snap's own path outlives refreshes."""
    both = flavour.embedded and os.path.exists(config) and os.path.exists(flavour.config)
    return flavour.config if both and os.path.samefile(config, flavour.config) else config


def _doubts(
    flavour: Flavour,
    engine: Engine,
    overrides: Overrides,
    shown: systemd.Properties,
    running: daemon.Daemon | None,
    planned: execstart.Planned,
) -> t.Iterator[Refusal]:
    """Yield each reason why a restart of the unit could start another engine than the one found, or touch another unit's."""
    unit = engine.unit
    yield from risks.unread(unit, shown)
    # The two can be compared only if systemd starts containerd itself: a program in between may add options of its own.
    comparable = running and running.plain and os.path.realpath(planned.binary) == os.path.realpath(running.program)
    if running and planned.options and comparable:
        now, then, usual = running.options, planned.options, flavour.config
        options = (
            risks.Option("coco_engine_config", overrides.config, now.config or usual, then.config or usual),
            risks.Option("coco_engine_socket", overrides.socket, now.address, then.address),
            risks.Option("", "", now.root, then.root),
        )
        yield from risks.changed("containerd", unit, options)
    yield from risks.taken(unit, engine.socket, running.pid if running else 0)


def _configured_socket(engine: Engine) -> str:
    """Return the address that an engine's files give it, '' if they give none."""
    texts = [content.decode(errors="replace") for content in imports.read(engine.config).values()]
    written = dump.written_address(texts)
    if written is None:
        try:
            return dump.take(engine, engine.config).address()
        except Refusal:
            return ""  # a later look at the configuration reports what is wrong with it
    return written
