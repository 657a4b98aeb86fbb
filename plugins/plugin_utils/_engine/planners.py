# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of planners: one for each family of engines. The only place of the controller's half that chooses between them."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Planner
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd.plan import Containerd
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.crio.plan import Crio

_FAMILIES: t.Mapping[str, Planner] = {"containerd": Containerd(), "crio": Crio()}


def planner_of(engine: str) -> Planner:
    """Return the planner of an engine, given the name of its flavour."""
    return _FAMILIES[FLAVOURS[engine].family]


def keys() -> set[str]:
    """Return the keys of a handler's table that any engine knows."""
    return {key for family in _FAMILIES.values() for key in family.keys}
