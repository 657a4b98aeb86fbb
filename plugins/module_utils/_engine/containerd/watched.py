# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Wait for a containerd that its distribution restarts, because it watches the directory of drop-ins (k0s).

k0s waits 3 s after the last event in the directory, whatever its kind. Then it ends containerd, and starts it again 5 s later.
Source: pkg/component/worker/containerd/component.go and pkg/supervisor of k0sproject/k0s.
"""

from __future__ import annotations

import os
import time

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import daemon
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, systemd

#: Seconds between the last event and the end of the daemon.
_DEBOUNCE = 3.0
#: After so many seconds a daemon that has not been restarted will not be. Half-way we try once more: a distribution that is
#: starting itself, as at boot, starts the daemon before it watches the directory.
_PATIENCE = 30.0
#: So many seconds it takes at least until the next daemon serves, however impatient the user is.
LEAST = 60.0
#: An event of our own: it can be waited for, even if the files have been in place for a while.
_EVENT = ".confidential-containers"


def start(engine: Engine) -> str:
    """Return an identifier of the daemon's present start. '' if it is down."""
    found = _daemon(engine)
    return f"{found.pid}@{daemon.started(found.pid)}" if found else ""


def await_restart(engine: Engine, directory: str, timeout: float) -> None:
    """Wait until the distribution has restarted the daemon for what is in the directory now. Refuse if it does not.

    A daemon that started less than the debounce after the last event is one of before, and will end.
    """
    began = time.monotonic()
    since, again = _event(directory), began + _PATIENCE / 2
    while True:
        found, now = _daemon(engine), time.monotonic()
        if found and daemon.started(found.pid) > since + _DEBOUNCE:
            return
        if now - began > timeout or (found and now - began > _PATIENCE):
            raise Refusal(
                f"{engine.unit} to restart containerd because of the change in {directory}",
                "the daemon of before" if found else "no daemon",
                f"'journalctl -u {engine.unit}' says why: it only warns of files that it cannot read.",
            )
        if found and now > again:
            since, again = _event(directory), began + timeout
        time.sleep(0.2)


def _event(directory: str) -> float:
    """Make something happen in the directory. Return when, in seconds of the kernel's clock CLOCK_BOOTTIME."""
    event = os.path.join(directory, _EVENT)
    if not files.remove_file(event):  # a killed run can have left it
        os.close(os.open(event, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        files.remove_file(event)
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _daemon(engine: Engine) -> daemon.Daemon | None:
    main, group = systemd.show(engine.unit, "MainPID"), systemd.show(engine.unit, "ControlGroup")
    return daemon.find(int(main or 0), group)
