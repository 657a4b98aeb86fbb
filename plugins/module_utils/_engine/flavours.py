# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of engines, and the search for the one that this node has. A new engine starts with a row here."""

from __future__ import annotations

import os
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import (
    kubelet,
    listeners,
    unit_command,
    unsupported,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Apply,
    Driver,
    Engine,
    Flavour,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    driver as containerd,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    k0s,
    k3s,
    microk8s,
    plain,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import (
    driver as crio,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import (
    keys as crio_keys,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

_K3S = Flavour(
    name="k3s",
    family="containerd",
    units=("k3s.service", "k3s-agent.service"),
    config="/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    socket="/run/k3s/containerd/containerd.sock",
    place=k3s.place,
    places=k3s.places,
    generated=k3s.generated,
    dump="/var/lib/rancher/k3s/data/current/bin/containerd config dump",
    client="k3s ctr plugins ls",
    embedded=True,
    program="k3s",
    release=("--version",),
    log="containerd.log",
    doubts=k3s.doubts,
)
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
            place=plain.place,
            places=plain.places,
            dump="containerd config dump",
            client="ctr plugins ls",
        ),
        _K3S,
        replace(
            _K3S,
            name="rke2",
            units=("rke2-server.service", "rke2-agent.service"),
            config="/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
            dump="/var/lib/rancher/rke2/bin/containerd config dump",
            client="/var/lib/rancher/rke2/bin/ctr plugins ls",
            program="rke2",
        ),
        Flavour(
            name="k0s",
            family="containerd",
            units=("k0sworker.service", "k0scontroller.service"),
            config="/etc/k0s/containerd.toml",
            socket="/run/k0s/containerd.sock",
            place=k0s.place,
            places=k0s.places,
            generated=k0s.generated,
            dump="/var/lib/k0s/bin/containerd config dump",
            client="k0s ctr plugins ls",
            kubelet="/var/lib/k0s/kubelet",
            apply=Apply.WATCHED,
            embedded=True,
            program="k0s",
            release=("version",),
            whole=k0s.DIRECTORY,
            doubts=k0s.doubts,
            remarks=k0s.remarks,
        ),
        Flavour(
            name="microk8s",
            family="containerd",
            units=("snap.microk8s.daemon-containerd.service",),
            config="/var/snap/microk8s/current/args/containerd.toml",
            socket="/var/snap/microk8s/common/run/containerd.sock",
            place=microk8s.place,
            places=microk8s.places,
            source=microk8s.source,
            dump="/snap/microk8s/current/bin/containerd config dump",
            client="microk8s ctr plugins ls",
            kubelet="/var/snap/microk8s/common/var/lib/kubelet",
            embedded=True,
            doubts=microk8s.doubts,
            restart=microk8s.RESTART,
            held=microk8s.held,
        ),
        Flavour(
            name="crio",
            family="crio",
            units=("crio.service", "cri-o.service"),
            config="/etc/crio/crio.conf",
            socket="/run/crio/crio.sock",
            place=crio_keys.place,
            places=crio_keys.places,
            dump="crio config",
            client="crio status config",
            program="crio",
            whole=crio_keys.DIRECTORY,
        ),
    )
}
#: The values of ``coco_engine``.
CHOICES = ("auto", *FLAVOURS)

_FAMILIES: t.Mapping[str, type[containerd.Containerd | crio.Crio]] = {
    "containerd": containerd.Containerd,
    "crio": crio.Crio,
}


class Candidate(t.NamedTuple):
    """A unit that may run the engine of the node: the name of its flavour, and systemd's properties of it."""

    flavour: str
    unit: str
    shown: systemd.Properties

    @property
    def is_active(self) -> bool:
        return "".join(self.shown.get("ActiveState", ())) == "active"

    @property
    def starts_its_own(self) -> bool:
        """Whether it is a distribution that is up, or coming up, with an engine of its own. Until that runs, another one looks
        like the kubelet's."""
        up = "".join(self.shown.get("ActiveState", ())) in ("active", "activating")
        return up and FLAVOURS[self.flavour].embedded and not self.seen.has(kubelet.OPTION)

    @property
    def seen(self) -> unsupported.Unit:
        program = FLAVOURS[self.flavour].program
        line = unit_command.starting(self.shown, program) or unit_command.words(self.shown)
        return unsupported.Unit(self.unit, self.flavour, line)


def units() -> list[str]:
    """Return the units of all known engines."""
    return [unit for flavour in FLAVOURS.values() for unit in flavour.units]


def driver(engine: Engine) -> Driver:
    """Return the driver of an engine."""
    flavour = FLAVOURS[engine.name]
    return _FAMILIES[flavour.family](engine, flavour)


def waiting(engine: Engine, path: str) -> str:
    """Return the directory in which a new file may wait until it is renamed to ``path``, links resolved.

    It is outside of the directory in which every file counts: there a new file would be configuration, or an event.
    """
    directory, whole = os.path.dirname(os.path.realpath(path)), FLAVOURS[engine.name].whole
    closed = engine.drop_ins or (os.path.join(os.path.dirname(engine.config), whole) if whole else "")
    closed = os.path.realpath(closed) if closed else ""
    return os.path.dirname(closed) if closed and f"{directory}/".startswith(f"{closed}/") else directory


def detect(overrides: Overrides, restarting: bool = True) -> Driver:
    """Find the engine of this node. Refuses a node without an engine, or with one that this version cannot configure.

    ``restarting``: also refuse anything that makes a restart of the engine a risk.
    """
    found, doubts = find(overrides)
    if restarting and doubts:
        raise doubts[0]
    return found


def find(overrides: Overrides) -> tuple[Driver, list[Refusal]]:
    """Find the engine that the kubelet of this node uses, and all that makes a restart of it a risk.

    Refuses a node as :func:`detect` does, and one on which several engines could be the kubelet's.
    """
    for name, path in (("coco_engine_config", overrides.config), ("coco_engine_socket", overrides.socket)):
        if path and not os.path.isabs(path):
            raise Refusal(f"an absolute path in {name}", repr(path), "Use an absolute path.")
    candidates = _candidates(overrides)
    socket = kubelet.socket()
    seen = unsupported.look(overrides.engine, socket, [one.seen for one in candidates if one.is_active])
    unsupported.refuse(seen)
    _refuse_none(candidates, overrides)
    found = _engines(_fitting(candidates, overrides), overrides, socket)
    number = choose([(one, driver.engine.socket) for one, driver, _doubts in found], socket) if found[1:] else 0
    _candidate, driver, doubts = found[number]
    unsupported.refuse(replace(seen, config=driver.engine.config))
    return driver, doubts


def _engines(
    candidates: t.Sequence[Candidate], overrides: Overrides, socket: str
) -> list[tuple[Candidate, Driver, list[Refusal]]]:
    """Return the engines that units run, each with what makes a restart of it a risk. Refuses units of which none runs one.

    ``socket`` is the one that a kubelet was told to use.
    """
    refused: list[tuple[Candidate, Refusal]] = []
    found: list[tuple[Candidate, Driver, list[Refusal]]] = []
    for one in candidates:
        try:
            flavour = FLAVOURS[one.flavour]
            found.append((one, *_FAMILIES[flavour.family].find(flavour, one.unit, one.shown, overrides)))
        except Refusal as refusal:
            refused.append((one, refusal))
    # What runs counts, and not what lies there beside it.
    for one, reason in refused:
        alone = not any(other.is_active for other, _driver, _doubts in found)
        if not found or (one.is_active and alone) or (one.starts_its_own and not socket):
            raise reason
    return found


def choose(found: t.Sequence[tuple[Candidate, str]], socket: str) -> int:
    """Return which of several engines is the kubelet's, or refuse all of them.

    ``found`` has each candidate with the CRI socket of its engine. ``socket`` is the one that a kubelet was told to use.
    """
    active = [number for number, (candidate, _own) in enumerate(found) if candidate.is_active]
    for fitting in (
        [number for number, (_candidate, own) in enumerate(found) if socket and os.path.realpath(own) == socket],
        # The kubelet of a distribution uses the engine that the distribution starts.
        [number for number in active if FLAVOURS[found[number][0].flavour].embedded],
        active,
    ):
        if len(fitting) == 1:
            return fitting[0]
    raise Refusal(
        "one engine on the node, or a kubelet that tells which one it uses",
        " and ".join(f"{candidate.flavour} ({candidate.unit}, {own})" for candidate, own in found),
        f"Name the one whose pods need the handlers: coco_engine={found[0][0].flavour}, for example.",
    )


def _candidates(overrides: Overrides) -> list[Candidate]:
    """Return the units that may run the engine of this node, none of them twice."""
    named = _named(overrides)
    names = sorted({"ActiveState", "ExecStart", *(name for family in _FAMILIES.values() for name in family.PROPERTIES)})
    wanted = [named] if named else list(dict.fromkeys([*units(), *_listening()]))
    unknown = overrides.engine if named and overrides.engine != "auto" else "containerd"
    return [
        Candidate(_flavour_of(unit, shown) or unknown, unit, shown)
        for unit, shown in systemd.loaded(wanted, names).items()
    ]


def _named(overrides: Overrides) -> str:
    """Return the unit in coco_engine_unit, with its ending. '' if there is none."""
    return overrides.unit if not overrides.unit or "." in overrides.unit else f"{overrides.unit}.service"


def _fitting(candidates: t.Sequence[Candidate], overrides: Overrides) -> list[Candidate]:
    return [one for one in candidates if overrides.engine in ("auto", one.flavour)]


def _refuse_none(candidates: t.Sequence[Candidate], overrides: Overrides) -> None:
    """Refuse a node on which no unit runs what the user asks for."""
    if _fitting(candidates, overrides):
        return
    expected = FLAVOURS["containerd" if overrides.engine == "auto" else overrides.engine]
    if candidates:
        raise Refusal(
            f"{expected.name} on the node, which coco_engine names",
            " and ".join(f"{one.flavour} ({one.unit})" for one in candidates),
            "Leave coco_engine out: the engine that the kubelet uses is then found by itself.",
        )
    raise Refusal(
        f"{expected.name} on the node, as a systemd unit",
        f"no unit {_named(overrides) or expected.units[0]}",
        f"Install {expected.name} first, or name its unit in coco_engine_unit.",
    )


def _listening() -> list[str]:
    """Return the units whose processes listen on the CRI sockets of known engines: units may have any name."""
    pids = [listeners.listener(path) for path in dict.fromkeys(flavour.socket for flavour in FLAVOURS.values())]
    found = [listeners.units_of(pid) for pid in pids]
    return [names[-1] for names in found if names and names[-1].endswith(".service")]


def _flavour_of(unit: str, shown: systemd.Properties) -> str:
    """Return the name of a unit's flavour: by the unit's name, else by the program that it starts. '' if neither tells."""
    for name, flavour in FLAVOURS.items():
        if unit in flavour.units:
            return name
    programs = ((name, flavour.program) for name, flavour in FLAVOURS.items())
    return next((name for name, program in programs if unit_command.starting(shown, program)), "")
