# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Which places of a node a payload's command answers for: what changes there while it is at work counts as changed by it.

Who has written is not known, so no place is among them in which others write and to which the command has no access.
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import imports, schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.detect import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import Bind
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts

#: Where an admin's units are. The node's systemd writes there, too, for a command that tells it to enable a unit.
UNITS = "/etc/systemd/system"
#: Where only payloads are.
_PREFIXES = tuple(layout.prefix for layout in layouts.LAYOUTS)
#: Where programs of others are as well.
_SHARED = ("/usr/local/bin",)
#: Volumes in these are recorded. All of one of them, as all of the node, is too much: others write there, and it may be of any size.
_INSTALLED = ("/etc/", "/opt/", "/usr/local/")
#: Directories that are their engine's own, wherever they are.
_ENGINES = ("containerd", "crio")


def recorded(engine: Engine, binds: t.Iterable[Bind]) -> list[str]:
    """Return the paths that are recorded before a command with these volumes is run, with all that is in them."""
    writable = [bind.source for bind in binds if not bind.read_only]
    volumes = [path for path in writable if path.startswith(_INSTALLED) and f"{path.rstrip('/')}/" not in _INSTALLED]
    shared = [path for path in _SHARED if any(f"{path}/".startswith(f"{source.rstrip('/')}/") for source in writable)]
    return [*configurations(engine), UNITS, *_PREFIXES, *shared, *volumes]


def configurations(engine: Engine) -> list[str]:
    """Return what the engine is configured by, where it is looked for and where that leads to: the directory, if it is the engine's
    own. Of another one, which may be /etc itself, the file, the copy that installers make of it, drop-ins and imported files.
    """
    found: list[str] = []
    for path in (engine.config, os.path.realpath(engine.config)):
        directory = os.path.dirname(path)
        if os.path.basename(directory) in _ENGINES:
            found.append(directory)
        else:
            found += [path, f"{path}.bak", os.path.dirname(schemas.drop_in_path(path)), *imports.read(path)]
    return list(dict.fromkeys(found))


def configures(engine: Engine, path: str) -> bool:
    """Tell whether a path belongs to the engine's configuration."""
    return any(f"{path}/".startswith(f"{place}/") for place in configurations(engine))
