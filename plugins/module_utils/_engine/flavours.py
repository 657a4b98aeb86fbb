# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of engines, and the search for the one that this node has. A new engine starts with a row here."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Driver,
    Engine,
    Flavour,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    driver as containerd,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

#: The engines that this version can configure, in the order of the search.
FLAVOURS: t.Mapping[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            name="containerd",
            family="containerd",
            units=("containerd.service",),
            config="/etc/containerd/config.toml",
            socket="/run/containerd/containerd.sock",
            place=containerd.place,
            dump="containerd config dump",
            client="ctr plugins ls",
        ),
    )
}
#: The units of engines that this version recognises, but cannot configure.
OTHERS: t.Mapping[str, tuple[str, ...]] = {
    "k3s": ("k3s.service", "k3s-agent.service"),
    "rke2": ("rke2-server.service", "rke2-agent.service"),
    "k0s": ("k0scontroller.service", "k0sworker.service"),
    "microk8s": ("snap.microk8s.daemon-containerd.service",),
    "crio": ("crio.service",),
}
#: The values of ``coco_engine``.
CHOICES = ("auto", *FLAVOURS)

_FAMILIES = {"containerd": containerd.Containerd}
_UNITS = {**{name: flavour.units for name, flavour in FLAVOURS.items()}, **OTHERS}


def units() -> list[str]:
    """Return the units of all known engines."""
    return [unit for names in _UNITS.values() for unit in names]


def driver(engine: Engine) -> Driver:
    """Return the driver of an engine."""
    return _FAMILIES[FLAVOURS[engine.name].family](engine)


def detect(overrides: Overrides, restarting: bool = True) -> Driver:
    """Find the engine of this node. Refuses a node without an engine, or with one that this version cannot configure.

    ``restarting``: also refuse anything that makes a restart of the engine a risk.
    """
    found, doubts = find(overrides)
    if restarting and doubts:
        raise doubts[0]
    return found


def find(overrides: Overrides) -> tuple[Driver, list[Refusal]]:
    """Find the engine of this node, and all that makes a restart of it a risk. Refuses a node as :func:`detect` does."""
    for name, path in (("coco_engine_config", overrides.config), ("coco_engine_socket", overrides.socket)):
        if path and not os.path.isabs(path):
            raise Refusal(f"an absolute path in {name}", repr(path), "Use an absolute path.")
    flavour, unit, shown = _unit(overrides)
    return _FAMILIES[flavour.family].find(flavour, unit, shown, overrides)


def _unit(overrides: Overrides) -> tuple[Flavour, str, systemd.Properties]:
    """Return the flavour of the node's engine, its unit, and systemd's properties of the unit."""
    named = overrides.unit if not overrides.unit or "." in overrides.unit else f"{overrides.unit}.service"
    names = sorted({name for family in _FAMILIES.values() for name in family.PROPERTIES})
    loaded = systemd.loaded([named] if named else units(), names)
    found = {name: unit for name, candidates in _UNITS.items() for unit in candidates if unit in loaded}
    first = next(iter(FLAVOURS))
    if named in loaded:
        found = {first if overrides.engine == "auto" else overrides.engine: named}
    if overrides.engine != "auto":
        found = {name: unit for name, unit in found.items() if name == overrides.engine}
    unsupported = {name: unit for name, unit in found.items() if name not in FLAVOURS}
    if unsupported:
        raise Refusal(
            f"an engine that this version supports ({', '.join(FLAVOURS)})",
            f"{', '.join(unsupported)} ({', '.join(unsupported.values())})",
            f"Leave this node out, or, if its pods run on a {first} of its own, set coco_engine={first}.",
        )
    if not found:
        flavour = FLAVOURS[first if overrides.engine == "auto" else overrides.engine]
        raise Refusal(
            f"{flavour.name} on the node, as a systemd unit",
            f"no unit {named or flavour.units[0]}",
            f"Install {flavour.name} first, or name its unit in coco_engine_unit.",
        )
    name, unit = next(iter(found.items()))
    return FLAVOURS[name], unit, loaded[unit]
