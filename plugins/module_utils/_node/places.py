# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Every path that this collection uses on a node, but for those that depend on a prefix."""

from __future__ import annotations

#: The state directory: receipt, journal and payloads. It is there as long as anything of ours is on the node.
STATE = "/var/lib/confidential-containers"
#: The lock that a run at work holds. Never removed, because somebody may hold it.
LOCK = "/run/confidential-containers.lock"
#: Requests of a module to the unit that carries out a change, and the results. Gone after a reboot.
HANDOVER = "/run/confidential-containers"
#: How far long work has come: see ``_node.progress``.
PROGRESS = "/run/confidential-containers.progress"
#: Where the engine tries a new configuration before we write it. No engine imports files from here.
TRIAL = "/run/confidential-containers.trial"
#: The environment of a payload's command, while the command is at work.
ENVIRONMENT = f"{HANDOVER}/installer.env"
#: Where systemd finds the admin's units, and ours.
UNITS = "/etc/systemd/system"
