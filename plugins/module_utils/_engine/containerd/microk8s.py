# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""MicroK8s: at each start, it renders containerd's main file from a template with placeholders such as ${SNAP}.

The template belongs to the admin: a refresh of the snap copies it. Sources: microk8s-resources/wrappers/run-containerd-with-args
and microk8s-resources/default-args of canonical/microk8s.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Engine,
    Facts,
    InPlace,
    Place,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import rendering
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

_SNAP = "microk8s"
#: Restarts the daemon as users of the snap do.
RESTART = ("snap", "restart", f"{_SNAP}.daemon-containerd")


def place(facts: Facts) -> Place:
    """Return the template, in which handlers are written in place."""
    if facts.mode not in ("auto", InPlace.mode):
        raise Refusal(
            "coco_config_mode=auto or in_place, because MicroK8s renders the main file from a template",
            facts.mode,
            "Leave coco_config_mode out.",
        )
    return InPlace(facts.config)


def source(config: str) -> str:
    """Return the template, given the path of the main file."""
    return os.path.join(os.path.dirname(config), "containerd-template.toml")


def places(config: str) -> list[str]:
    """Return the template."""
    return [source(config)]


def doubts(engine: Engine) -> t.Iterator[Refusal]:
    """Yield a refusal if the template was changed since it was rendered."""
    yield from rendering.doubts(engine, [source(engine.config)], engine.config)


@contextlib.contextmanager
def held() -> t.Iterator[None]:
    """Keep the snap from being refreshed for as long as this lasts, at most an hour. An old snapd cannot do that."""
    notes = process.run(["snap", "list", _SNAP]).stdout.splitlines()[-1:]
    ours = not any("held" in line.split()[-1].split(",") for line in notes if line.split())
    if ours:
        process.run(["snap", "refresh", "--hold=1h", _SNAP])
    try:
        yield
    finally:
        if ours:
            process.run(["snap", "refresh", "--unhold", _SNAP])
