# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Every path of ours on a node that does not depend on a prefix."""

from __future__ import annotations

#: What a node remembers of us, as long as anything of ours is on it.
STATE = "/var/lib/confidential-containers"
#: Held by the run at work; never removed, for it may be held.
LOCK = "/run/confidential-containers.lock"
#: Requests and results between a module and the unit that carries a change out: gone after a reboot.
HANDOVER = "/run/confidential-containers"
#: How far a long work is.
PROGRESS = "/run/confidential-containers.progress"
#: Where a new configuration is tried before it is written. Not below a directory that any engine imports from.
TRIAL = "/run/confidential-containers.trial"
#: The environment of a payload's command, while that is at work.
ENVIRONMENT = f"{HANDOVER}/installer.env"
#: Where systemd finds the units of an admin, and ours.
UNITS = "/etc/systemd/system"
