# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of payload_command: it shows that a long command is still at work."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import progress
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        environment = self.options(_arguments.PAYLOAD_COMMAND)["environment"]
        options = {**self._task.args, **({"environment": environment} if environment else {})}
        return self.watched(
            lambda: self.node("payload_command", task_vars, **options), f"cat {progress.PATH}", progress.parse
        )
