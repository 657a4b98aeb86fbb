# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of installers that payloads bring, and how to run each: its contract.

Source: the operator's published samples for releases 0.2 to 0.8 of Confidential Containers, and those of enclave-cc.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

Volume = t.Dict[str, t.Any]

_REFERENCE = re.compile(r"\$\$|\$\((?P<name>[^)]*)\)")


@dataclass(frozen=True)
class Contract:
    """How one kind of installer is run.

    An image follows the contract if it has the path ``script`` and the directory ``root`` of its artifacts ('': any).
    ``commands`` maps the names of commands to argv. ``directories`` maps each mount path to the directory or socket on the node
    and to the type of its volume.
    """

    name: str
    script: str
    root: str
    commands: t.Mapping[str, t.Sequence[str]]
    directories: t.Mapping[str, tuple[str, str]]

    def volumes(self) -> list[Volume]:
        """Return the volumes in the structure of a CcRuntime manifest."""
        return [
            {"name": _name(path), "hostPath": {"path": path, "type": kind}} for path, kind in self.directories.values()
        ]

    def mounts(self) -> list[Volume]:
        """Return the volume mounts in the structure of a CcRuntime manifest."""
        return [{"name": _name(path), "mountPath": mount} for mount, (path, _kind) in self.directories.items()]


def _name(path: str) -> str:
    return path.strip("/").replace("/", "-").replace("_", "-") or "host"


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
            **_same("/etc/containerd", "/usr/local/bin"),
            **_SYSTEMD,
            "/opt/confidential-containers": ("/opt/confidential-containers", "DirectoryOrCreate"),
        },
    ),
    Contract(
        name="kata",
        script=_KATA,
        root="opt/kata-artifacts/opt/kata",
        commands=_deploy(_KATA),
        directories={
            **_same("/etc/containerd", "/usr/local/bin"),
            **_SYSTEMD,
            "/opt/kata": ("/opt/kata", "DirectoryOrCreate"),
            "/host": ("/", ""),
        },
    ),
    Contract(
        name="enclave-cc",
        script=_ENCLAVE,
        root="",
        commands=_deploy(_ENCLAVE),
        directories={
            **_same("/etc/containerd", "/usr/local/bin"),
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
