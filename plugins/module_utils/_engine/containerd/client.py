# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""containerd's client, ctr: it tells what the CRI does not."""

from __future__ import annotations

import os
import shutil
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

#: Distributions that bring ctr only as a command of their own program.
_WITHIN: t.Mapping[str, tuple[str, ...]] = {"k0s": ("k0s", "ctr")}
#: The plugin that Kubernetes talks to. On 2.x, other plugins do its work.
_CRI = "io.containerd.grpc.v1.cri"


def command(engine: Engine, *words: str) -> list[str]:
    """Return the command line of the client for an engine.

    We look for ctr beside the daemon first: the PATH of this process may lack the directory that both were installed to.
    """
    directories = [os.path.dirname(path) for path in (engine.binary, os.path.realpath(engine.binary))]
    path = os.pathsep.join([*directories, process.search_path()])
    program, *before = _WITHIN.get(engine.name, ("ctr",))
    return [shutil.which(program, path=path) or program, *before, "--address", engine.socket, *words]


def is_up(engine: Engine) -> bool:
    """Tell whether the daemon answers, with or without a CRI."""
    return process.run(command(engine, "version"), timeout=10).returncode == 0


def cri_plugins(engine: Engine) -> dict[str, str] | None:
    """Return the state of the CRI's plugins: ``type.id`` → ok, error or skip. A disabled plugin is absent.

    None if the daemon does not answer: then nothing is known about its plugins.
    """
    listed = process.run(command(engine, "plugins", "ls"), timeout=10)
    if listed.returncode != 0:
        return None
    return {
        f"{kind}.{name}": state
        for kind, name, state in _rows(listed.stdout)
        if f"{kind}.{name}" == _CRI or kind == "io.containerd.cri.v1"
    }


def has_cri(engine: Engine) -> bool:
    """Tell whether the daemon has a CRI, in whatever state. True if the daemon does not answer: it may have one."""
    plugins = cri_plugins(engine)
    return plugins is None or _CRI in plugins


def snapshotters(engine: Engine) -> list[str]:
    """Return the names of the snapshotters that work."""
    listed = process.run(command(engine, "plugins", "ls"), timeout=10)
    if listed.returncode != 0:
        raise Refusal(
            f"{listed.args[0]} to list the snapshotters of {engine.unit}",
            (listed.stderr.strip().splitlines() or [f"exit status {listed.returncode}"])[-1],
            f"Have containerd's client ctr beside {engine.binary}."
            if listed.returncode == process.MISSING
            else "Run 'ctr plugins ls' on the node to see why.",
        )
    plugins = _rows(listed.stdout)
    return [name for kind, name, state in plugins if (kind, state) == ("io.containerd.snapshotter.v1", "ok")]


def _rows(listed: str) -> list[tuple[str, str, str]]:
    """Return the type, the name and the state of each plugin. The columns in between can be empty."""
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [(words[0], words[1], words[-1]) for words in rows if len(words) > 2]
