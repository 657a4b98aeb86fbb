# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The systemd unit of an open run. It exists as long as the journal is open.

The unit is enabled: if nobody goes on with the run, the unit ends it when the node boots. Its program is a copy of this
collection's code beside the journal, because Ansible removes its own copy when the connection ends.
"""

from __future__ import annotations

import importlib.util
import io
import os
import pkgutil
import sys
import time
import typing as t
import zipfile

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import (
    files,
    places,
    process,
    systemd,
)

NAME = "confidential-containers-transaction.service"
_PATH = f"{places.UNITS}/{NAME}"
_WANTED = f"{places.UNITS}/multi-user.target.wants/{NAME}"
#: The unit's files while a run is open, temporary names included.
PATHS = (_PATH, _WANTED, files.temporary(_PATH), files.temporary(_WANTED))
#: The package of the node's half, module_utils. Taken from a module directly in it: this file lies in a package below it.
_PACKAGE = Refusal.__module__.rpartition(".")[0]
_MAIN = f"from {_PACKAGE}._handover import main\n\nmain()\n"

# Not Type=oneshot: systemd before 244 never restarts such a unit. With Restart=on-abnormal, systemd starts a killed process
# again, which then finds the journal. A process that failed has said so; its run waits for the next run or the next boot.
_UNIT = """\
# Written by Ansible (confidential_containers.runtime) while a change of this node's engine is open; gone afterwards.
[Unit]
Description=Open change of the Confidential Containers runtime
After={after}

[Service]
Type=simple
ExecStart="{python}" -I "{program}"
Restart=on-abnormal

[Install]
WantedBy=multi-user.target
"""


def enable(directory: str) -> None:
    """Write and enable the unit. Its program lies below ``directory``, that of the journal."""
    files.make_directories(directory, mode=0o700)
    program = os.path.join(directory, "transaction.zip")
    files.write_atomically(program, _program(), mode=0o600)
    text = _UNIT.format(
        after=" ".join(flavours.units()),
        python=_escaped(sys.executable),
        program=_escaped(program),
    )
    files.write_atomically(_PATH, text.encode())
    files.make_directories(os.path.dirname(_WANTED))
    files.set_link(_WANTED, _PATH)
    systemd.reload()


def disable(directory: str) -> str:
    """Remove the unit, and the journal's directory with the program. The unit's own process may call this.

    Returns why systemd could not read its units again, or ''. What systemd then still knows of the unit does no harm.
    """
    here = [files.remove_file(path) for path in (files.temporary(_WANTED), _WANTED, files.temporary(_PATH), _PATH)]
    files.remove_tree(directory)
    try:
        if any(here):
            systemd.reload()
    except Refusal as refusal:
        return str(refusal)
    return ""


def start() -> None:
    """Start the unit. Returns when its process exists."""
    process.run(["systemctl", "reset-failed", "--", NAME])
    done = process.run(["systemctl", "start", "--", NAME])
    if done.returncode != 0:
        raise Refusal(f"{NAME} to start", done.stderr.strip(), "Run 'systemctl status' on the node to see why.")


def wait(arrived: t.Callable[[], bool]) -> bool:
    """Wait until ``arrived`` says yes, or the unit has ended. Return whether ``arrived`` said yes."""
    alive, asked = True, time.monotonic()
    while not arrived():
        if not alive:
            return False
        time.sleep(0.05)
        # Once a second only: asking systemd takes processor time from the engine that is starting.
        if time.monotonic() - asked < 1:
            continue
        asked = time.monotonic()
        # A unit that was killed and is about to start again is "activating".
        alive = systemd.show(NAME, "ActiveState") not in ("inactive", "failed", "")
    return True


def _program() -> bytes:
    """Return the node's half of this collection, as far as Ansible has brought it, as a zip that Python can run."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__main__.py", _MAIN)
        parts = _PACKAGE.split(".")
        for depth in range(len(parts)):
            archive.writestr("/".join([*parts[: depth + 1], "__init__.py"]), "")
        for module in pkgutil.walk_packages(sys.modules[_PACKAGE].__path__, f"{_PACKAGE}."):
            # The one file that needs Ansible.
            if module.name != f"{_PACKAGE}._module":
                path = module.name.replace(".", "/") + ("/__init__.py" if module.ispkg else ".py")
                loader = t.cast("t.Any", importlib.util.find_spec(module.name)).loader
                archive.writestr(path, loader.get_source(module.name))
    return buffer.getvalue()


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
