# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of installers that payloads bring, and how to run each: its contract. And what they expect of each engine.

Sources: the operator's published samples for releases 0.2 to 0.8 of Confidential Containers, and those of enclave-cc; for engines,
the scripts themselves, and the overlays of tools/packaging/kata-deploy in kata-containers/kata-containers.
"""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Volume = t.Dict[str, t.Any]

_REFERENCE = re.compile(r"\$\$|\$\((?P<name>[^)]*)\)")


@dataclass(frozen=True)
class Contract:
    """How one kind of installer is run.

    An image follows the contract if it has the path ``script`` and the directory ``root`` of its artifacts ('': any).
    ``commands`` maps the names of commands to argv. ``directories`` maps each mount path to the directory or socket on the node
    and to the type of its volume; the engine's own directory is not among them. ``engines`` are those that the installer knows.
    """

    name: str
    script: str
    root: str
    commands: t.Mapping[str, t.Sequence[str]]
    directories: t.Mapping[str, tuple[str, str]]
    engines: t.Collection[str] = ("containerd",)

    def volumes(self, engine: Engine) -> list[Volume]:
        """Return the volumes in the structure of a CcRuntime manifest."""
        return [
            {"name": _name(mount), "hostPath": {"path": path, "type": kind}}
            for mount, (path, kind) in self._mounted(engine).items()
        ]

    def mounts(self, engine: Engine) -> list[Volume]:
        """Return the volume mounts in the structure of a CcRuntime manifest."""
        return [{"name": _name(mount), "mountPath": mount} for mount in self._mounted(engine)]

    def _mounted(self, engine: Engine) -> dict[str, tuple[str, str]]:
        mount = surroundings(engine).mount
        own = {mount: (of_distribution(engine) or mount, "")} if self.directories else {}
        return {**own, **self.directories}

    def runs(self, argv: t.Iterable[str]) -> bool:
        """Tell whether a command is one of this contract, and not a program of the user's own."""
        words = {word for command in self.commands.values() for word in command if word.startswith("/opt/")}
        return any(word in argument for word in words for argument in argv)


@dataclass(frozen=True)
class Surroundings:
    """What installers expect of a node with some engine.

    They look for the directory of its configuration at ``mount``. They ask kubectl for the engine's version, and compare it with
    ``version``; ``labelled`` is the answer when they ask for MicroK8s' label. They restart one of ``units`` (none: any). They write to
    a file that the engine does not read if there is an ``unless`` in the directory.
    """

    version: str
    units: t.Sequence[str] = ()
    mount: str = "/etc/containerd"
    labelled: str = ""
    unless: str = ""


#: By the name of the engine's flavour.
SURROUNDINGS: t.Mapping[str, Surroundings] = {
    "containerd": Surroundings("containerd://{version}"),
    # They know these two by the ending of the version. Releases of 2026 call it otherwise, but a stub of kubectl still says it so.
    "k3s": Surroundings(
        "containerd://{version}-k3s1", ("k3s.service", "k3s-agent.service"), unless="config-v3.toml.tmpl"
    ),
    "rke2": Surroundings(
        "containerd://{version}-k3s1", ("rke2-server.service", "rke2-agent.service"), unless="config-v3.toml.tmpl"
    ),
    "k0s": Surroundings("containerd://{version}", ("k0scontroller.service", "k0sworker.service")),
    "microk8s": Surroundings("containerd://{version}", ("snap.microk8s.daemon-containerd.service",), labelled="true"),
    "crio": Surroundings("cri-o://{version}", ("crio.service",), mount="/etc/crio"),
}
_PLAIN = "containerd"


def surroundings(engine: Engine) -> Surroundings:
    """Return what installers expect of a node with this engine."""
    return SURROUNDINGS[engine.name]


def of_distribution(engine: Engine) -> str:
    """Return the directory in which a distribution keeps its engine's configuration; '' for an engine of its own."""
    return "" if engine.name == _PLAIN else os.path.dirname(engine.config)


def refuse(contract: Contract, engine: Engine, mounted: t.Mapping[str, str]) -> None:
    """Refuse an engine that the program of a contract could not configure. ``mounted``: mount path → path on the node."""
    own, found = of_distribution(engine), surroundings(engine)
    if not own:
        return
    remedy = "Set coco_installer=native: this collection then configures the engine itself."
    if contract is HOOKS:
        remedy = (
            "Write coco_pre_install={} and coco_post_uninstall={}: the hooks are for a containerd of the node's own."
        )
    if engine.name not in contract.engines:
        known = ", ".join(contract.engines)
        raise Refusal(f"an engine that the payload's own program knows ({known})", engine.name, remedy)
    if engine.unit not in found.units:
        raise Refusal(
            f"{' or '.join(found.units)}, because the payload's installer restarts no other unit", engine.unit, remedy
        )
    if found.unless and os.path.exists(os.path.join(own, found.unless)):
        raise Refusal(
            f"no {found.unless} in {own}, because {engine.name} then does not read what the payload's installer writes",
            "this file",
            remedy,
        )
    source = mounted.get(found.mount, "")
    if not source or os.path.realpath(source) != os.path.realpath(own):
        raise Refusal(
            f"{own} at {found.mount}, where the payload's installer looks for the configuration of {engine.name}",
            source or "nothing there",
            f"Write path: {own} for it in coco_installer_volumes, or in installerVolumes of the manifest.",
        )


def _name(path: str) -> str:
    return path.strip("/").replace("/", "-").replace("_", "-")


def _same(*paths: str) -> dict[str, tuple[str, str]]:
    return {path: (path, "") for path in paths}


def _deploy(script: str) -> dict[str, list[str]]:
    words = {"install": "install", "uninstall": "cleanup", "cleanup": "reset"}
    return {command: [f"/{script}", word] for command, word in words.items()}


_KATA = "opt/kata-artifacts/scripts/kata-deploy.sh"
_ENCLAVE = "opt/enclave-cc-artifacts/scripts/enclave-cc-deploy.sh"
_HOOKS = "opt/confidential-containers-pre-install-artifacts/scripts"
_SYSTEMD = _same("/var/run/dbus", "/run/systemd")

HOOKS = Contract(
    name="hooks",
    script=f"{_HOOKS}/pre-install.sh",
    root="",
    # The operator runs these in the image of every hook.
    commands={
        "pre_install": ["/bin/sh", "-c", f"/{_HOOKS}/pre-install.sh"],
        "post_uninstall": ["/bin/sh", "-c", f"/{_HOOKS}/post-uninstall.sh"],
    },
    directories={},
)

CONTRACTS = (
    Contract(
        name="confidential-containers",
        script=_KATA,
        root="opt/kata-artifacts/opt/confidential-containers",
        commands=_deploy(_KATA),
        directories={
            **_same("/usr/local/bin"),
            **_SYSTEMD,
            "/opt/confidential-containers": ("/opt/confidential-containers", "DirectoryOrCreate"),
        },
        engines=("containerd", "k3s", "rke2", "crio"),
    ),
    Contract(
        name="kata",
        script=_KATA,
        root="opt/kata-artifacts/opt/kata",
        commands=_deploy(_KATA),
        directories={
            **_same("/usr/local/bin"),
            **_SYSTEMD,
            "/opt/kata": ("/opt/kata", "DirectoryOrCreate"),
            "/host": ("/", ""),
        },
        engines=tuple(SURROUNDINGS),
    ),
    Contract(
        name="enclave-cc",
        script=_ENCLAVE,
        root="",
        commands=_deploy(_ENCLAVE),
        directories={
            **_same("/usr/local/bin"),
            **_SYSTEMD,
            "/etc/enclave-cc": ("/etc/enclave-cc", "DirectoryOrCreate"),
            "/opt/confidential-containers": ("/opt/confidential-containers", "DirectoryOrCreate"),
        },
    ),
)


def by_name(name: str) -> Contract | None:
    """Return the contract that was recognised when a payload was kept; None for an installer that nobody here knows."""
    return next((contract for contract in CONTRACTS if contract.name == name), None)


def recognise(paths: t.Collection[str]) -> str:
    """Return the name of the contract that an image follows; '' for none. ``paths`` are what :func:`tells` returned for it."""
    return next(
        (
            contract.name
            for contract in CONTRACTS
            if contract.script in paths and (not contract.root or contract.root in paths)
        ),
        "",
    )


def tells(path: str) -> str:
    """Return the path of the table that a member of an image belongs to; '' for none."""
    for contract in CONTRACTS:
        for known in (contract.script, contract.root):
            if known and (path == known or path.startswith(f"{known}/")):
                return known
    return ""


def pieces(text: str, known: t.Container[str]) -> t.Iterator[tuple[str, str]]:
    """Split a value, or an argument of a command, as Kubernetes reads it. Yields pairs of a text and the variable after it.

    The variable is '' at the end. ``$(NAME)`` stands for a ``known`` variable, and ``$$`` for a dollar sign.
    """
    position, plain = 0, ""
    for match in _REFERENCE.finditer(text):
        plain += text[position : match.start()]
        position = match.end()
        if match.group("name") in known:
            yield plain, match.group("name")
            plain = ""
        else:
            plain += "$" if match.group() == "$$" else match.group()
    yield plain + text[position:], ""


def expanded(text: str, variables: t.Mapping[str, str]) -> str:
    """Return a value, or an argument of a command, as Kubernetes gives it to a container: each known ``$(NAME)`` is replaced."""
    return "".join(plain + variables.get(name, "") for plain, name in pieces(text, variables))
