# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The places of a node that a payload's command answers for: whatever changes there while it runs counts as changed by it.

Nobody can tell who wrote to a file. So a place where others write is left out if the command has no access to it.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import Bind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts

#: The directory of an admin's units. The node's systemd also writes there, when a command has it enable a unit.
UNITS = places.UNITS
#: Only payloads are in these.
_PREFIXES = tuple(layout.prefix for layout in layouts.LAYOUTS)
#: Others have programs in these, too.
_SHARED = ("/usr/local/bin",)
#: Volumes below these are recorded. A volume that is all of one of them, or all of the node, is not: others write there, and it can
#: have any size.
_INSTALLED = ("/etc/", "/opt/", "/usr/local/")


def recorded(driver: Driver, binds: t.Iterable[Bind]) -> list[str]:
    """Return the paths to record, with all that is below them, before a command with these volumes is run."""
    writable = [bind.source for bind in binds if not bind.read_only]
    volumes = [path for path in writable if path.startswith(_INSTALLED) and f"{path.rstrip('/')}/" not in _INSTALLED]
    shared = [path for path in _SHARED if any(f"{path}/".startswith(f"{source.rstrip('/')}/") for source in writable)]
    return [*_configuration(driver), UNITS, *_PREFIXES, *shared, *volumes]


def configures(driver: Driver, path: str) -> bool:
    """Tell whether a path belongs to the engine's configuration."""
    return any(f"{path}/".startswith(f"{place}/") for place in _configuration(driver))


def _configuration(driver: Driver) -> list[str]:
    """Return the places of the engine's configuration, links resolved and not.

    Installers write to more files of a distribution's directory than the engine itself reads.
    """
    own = contracts.of_distribution(driver.engine)
    return list(dict.fromkeys([*driver.territory(), *filter(None, [own, os.path.realpath(own) if own else ""])]))
