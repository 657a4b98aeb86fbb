# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All of payload_archive: it works where Ansible runs, and shows its progress."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import docker


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    _requires_connection = False

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        del task_vars  # the archive is the same for every node
        options = self.options(_arguments.PAYLOAD_ARCHIVE)
        path = os.path.abspath(options["path"])
        daemon = docker.Daemon(self.show, options["docker_host"])
        image = daemon.image(options["image"], "never" if self._task.check_mode else options["pull"])
        changed = not docker.holds(path, image["Id"])
        if changed and not self._task.check_mode:
            daemon.save(options["image"], path, image["Size"])
        return {"changed": changed, "path": path, "digest": image["Id"], "architecture": image["Architecture"]}
