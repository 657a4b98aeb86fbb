# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One command of a payload: what is to be run.

It is put together from what the user says now, what the user said at the installation, and the contract of the payload's
installer. ``_installer.transaction`` runs it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.kept import Kept, find
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layers
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import CommandDone
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

#: The arguments of the module payload_command.
Arguments = t.Mapping[str, t.Any]

#: Commands of the installed payload itself. The others (hooks) have payloads of their own.
_OF_THE_PAYLOAD = ("install", "uninstall", "cleanup")


@dataclass(frozen=True)
class Command:
    """One command of a payload, as it is to be run: its ``name`` in the contract, the ``digest`` of the payload, and how.

    ``argv``, ``volumes`` and ``mounts`` are as in the contract, with no ``$(NAME)`` replaced. ``environment`` maps names to values.
    ``kubectl`` is none, stub, or the path of a kubeconfig on the node. ``finished`` is a path on the node that appears when the
    work is done. ``handlers`` are those that the engine is to serve afterwards (empty: anything new). ``known`` is all that the
    user said of the contract, for later commands.
    """

    name: str
    digest: str
    argv: t.Sequence[str]
    volumes: t.Sequence[t.Mapping[str, t.Any]]
    mounts: t.Sequence[t.Mapping[str, t.Any]]
    environment: t.Mapping[str, str] = field(default_factory=dict)
    kubectl: str = "none"
    finished: str = ""
    handlers: t.Sequence[str] = ()
    timeout: float = 600.0
    limits: t.Mapping[str, int] = field(default_factory=dict)
    known: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A digest that two runs of a command share only if they do the same."""
        what = [self.digest, self.argv, self.volumes, self.mounts, dict(self.environment), self.kubectl, self.handlers]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass
class CommandOutcome:
    """What a command did to the engine and to files (path → added, changed or removed), and what it said."""

    changed: bool = True
    restarted: bool = False
    served: t.Sequence[str] = ()
    handlers: t.Sequence[str] = ()
    files: t.Mapping[str, str] = field(default_factory=dict)
    output: t.Sequence[str] = ()
    status: int = 0
    warning: str = ""


def missing(arguments: Arguments, state: State) -> str:
    """Say why there is no command for a cleanup; '' when there is one. What is left behind is removed without one, too."""
    if arguments["command"] != "cleanup":
        return ""
    last = state.receipt().installer.done.get("uninstall") or CommandDone("")
    kept = find(state, arguments["digest"] or last.digest)
    if kept is None:
        return "The payload's own command for the cleanup was not run: its layers are no longer on the node."
    contract = kept.contract.commands if kept.contract else {}
    if "cleanup" not in {**contract, **last.commands, **arguments["commands"]}:
        return "The payload has no command of its own for the cleanup."
    return ""


def requested(arguments: Arguments, state: State, engine: Engine) -> Command:
    """Return the command to run. Each part is what the user says now, else what they said at the installation, else the contract's."""
    name = arguments["command"]
    done = _before(name, state)
    digest = arguments["digest"] or done.digest
    kept = find(state, digest) if digest else None
    contract = contract_of(name, kept)
    known = _known(arguments, done)
    commands = {**(contract.commands if contract else {}), **known["commands"]}
    if name not in commands and kept:
        raise _unknown(name, kept)
    return Command(
        name=name,
        digest=digest,
        argv=[str(word) for word in commands.get(name, ())],
        volumes=_given(known["volumes"], contract.volumes(engine) if contract else None) or [],
        mounts=_given(known["mounts"], contract.mounts(engine) if contract else None) or [],
        environment={str(key): str(value) for key, value in (known["environment"] or {}).items()},
        kubectl=known["kubectl"],
        finished=arguments["done"],
        handlers=arguments["handlers"] if name == "install" else (),
        timeout=arguments["timeout"],
        limits=dataclasses.asdict(layers.limits_of(arguments["limits"])),
        known=known,
    )


def _before(name: str, state: State) -> CommandDone:
    """Return the run of an earlier command: a later one takes over what the user said then."""
    runs = state.receipt().installer.done if name in _OF_THE_PAYLOAD[1:] else {}
    return next((runs[other] for other in _OF_THE_PAYLOAD if other in runs), CommandDone(""))


def contract_of(name: str, kept: Kept | None) -> contracts.Contract | None:
    """Return the contract that a command of this name follows; None for an installer that nobody here knows."""
    # The operator runs the same scripts in every hook, whatever else its image holds.
    if name not in _OF_THE_PAYLOAD:
        return contracts.HOOKS
    return kept.contract if kept else None


def _known(arguments: Arguments, done: CommandDone) -> dict[str, t.Any]:
    """Return all that the user says of the contract, now or at an earlier command."""
    return {
        "commands": {**done.commands, **arguments["commands"]},
        "volumes": _given(arguments["volumes"], done.volumes),
        "mounts": _given(arguments["volume_mounts"], done.mounts),
        "environment": _given(json.loads(arguments["environment"] or "null"), done.environment),
        "kubectl": arguments["kubectl"] or done.kubectl or "none",
    }


def _given(first: t.Any, second: t.Any) -> t.Any:
    return second if first is None else first


def _unknown(name: str, kept: Kept) -> Refusal:
    return Refusal(
        f"a command for {name} of {kept.title}",
        f"no installer that is known in it, and none in coco_{name}_cmd",
        "Name its program and arguments there."
        if name == "uninstall"
        else "Name its program and arguments there, or leave coco_installer out.",
    )


def foreseen(command: Command) -> dict[str, t.Any]:
    """Return the part of the module's result that is known before a command is run."""
    paths = {
        volume.get("name"): (volume.get("hostPath") or {}).get("path", "a directory") for volume in command.volumes
    }
    lines = [
        f"run {' '.join(command.argv) or f'{command.name} of the payload, known when it is on the node'}",
        *(f"mount {paths.get(mount.get('name'))} at {mount.get('mountPath')}" for mount in command.mounts),
        *(f"set {name}" for name in sorted(command.environment)),
        "what it changes is unknown before it has run",
    ]
    return {"changed": True, "argv": list(command.argv), "diff": {"prepared": "\n".join(lines) + "\n"}}
