# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which places of a node a payload's command answers for: what changes there while it is at work counts as changed by it.

Who has written is not known, so no place is among them in which others write and to which the command has no access.
"""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import Bind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts

#: Where an admin's units are. The node's systemd writes there, too, for a command that tells it to enable a unit.
UNITS = places.UNITS
#: Where only payloads are.
_PREFIXES = tuple(layout.prefix for layout in layouts.LAYOUTS)
#: Where programs of others are as well.
_SHARED = ("/usr/local/bin",)
#: Volumes in these are recorded. All of one of them, as all of the node, is too much: others write there, and it may be of any size.
_INSTALLED = ("/etc/", "/opt/", "/usr/local/")


def recorded(driver: Driver, binds: t.Iterable[Bind]) -> list[str]:
    """Return the paths that are recorded before a command with these volumes is run, with all that is in them."""
    writable = [bind.source for bind in binds if not bind.read_only]
    volumes = [path for path in writable if path.startswith(_INSTALLED) and f"{path.rstrip('/')}/" not in _INSTALLED]
    shared = [path for path in _SHARED if any(f"{path}/".startswith(f"{source.rstrip('/')}/") for source in writable)]
    return [*driver.territory(), UNITS, *_PREFIXES, *shared, *volumes]


def configures(driver: Driver, path: str) -> bool:
    """Tell whether a path belongs to the engine's configuration."""
    return any(f"{path}/".startswith(f"{place}/") for place in driver.territory())
