# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of CRI-O's versions: which keys of a handler's table work, and where handlers go."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import DropIn, Facts, Version
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: The first version that this collection configures.
FIRST: Version = (1, 28)
#: From this version on, the CRI's Status has the handlers.
STATUS_HAS_HANDLERS: Version = (1, 30)

#: The table of runtime handlers.
RUNTIMES = ("crio", "runtime", "runtimes")
#: The type of a handler whose shim speaks containerd's protocol, and where such shims keep their state.
VM = "vm"
ROOT = "/run/vc"
#: CRI-O silently leaves out a ``vm`` handler whose program has another name.
SHIM = re.compile(r"containerd-shim-[A-Za-z0-9+-]+")

#: The least ``container_create_timeout``, in seconds: CRI-O silently takes this one in place of less.
LEAST_TIMEOUT = 30
#: The keys that a ``vm`` handler can have beside the path of its configuration, each with the first version that acts on it.
KEYS: t.Mapping[str, Version] = {
    "runtime_type": FIRST,
    "runtime_path": FIRST,
    "runtime_root": FIRST,
    "privileged_without_host_devices": FIRST,
    "allowed_annotations": FIRST,
    "runtime_pull_image": (1, 29),
    "container_create_timeout": (1, 35),
}

_NAME = "99-confidential-containers.conf"
#: CRI-O reads every file below this directory, whatever its name.
DIRECTORY = "crio.conf.d"


def decide(version: Version, mode: str) -> None:
    """Refuse a version that we do not configure, and a ``coco_config_mode`` other than a file of our own."""
    text = ".".join(map(str, version))
    if version < FIRST:
        raise Refusal(
            f"CRI-O {'.'.join(map(str, FIRST))} or newer",
            f"CRI-O {text}",
            "Upgrade CRI-O on this node, or leave the node out.",
        )
    if mode not in ("auto", DropIn.mode):
        raise Refusal(
            f"coco_config_mode to be auto or {DropIn.mode} for CRI-O {text}",
            mode,
            f"CRI-O reads every file in {DIRECTORY}, so ours needs no place in yours: leave coco_config_mode out.",
        )


def directory(config: str, drop_ins: str = "") -> str:
    """Return the directory of drop-ins. ``drop_ins``: what the command line says of it."""
    return drop_ins or os.path.join(os.path.dirname(config), DIRECTORY)


def drop_in_path(config: str, drop_ins: str = "") -> str:
    """Return the path of our file."""
    return os.path.join(directory(config, drop_ins), _NAME)


def place(facts: Facts) -> DropIn:
    """Return where handlers go."""
    decide(facts.version, facts.mode)
    return DropIn(drop_in_path(facts.config))


def places(config: str) -> list[str]:
    """Return the only file that we write."""
    return [drop_in_path(config)]
