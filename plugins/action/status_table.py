# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All of status_table: it works on the controller only, and prints the table of the filter with the same name."""

from __future__ import annotations

import shutil
import sys
import typing as t

from ansible import constants
from ansible.utils.display import Display

from ansible_collections.confidential_containers.runtime.plugins.filter.status_table import status_table
from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction

#: Callback plugins that write text for people. Others may write a document, which more text would break.
_FOR_PEOPLE = ("default", "minimal", "oneline")


def _terminal() -> int | None:
    """Return the width of the terminal; None when the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.__stdout__ and sys.__stdout__.isatty() else None


# Ansible loads this file before it starts the process for a task, which has no terminal.
_WIDTH = _terminal()


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        del task_vars  # the arguments have all that is shown
        result: dict[str, t.Any] = {"changed": False}
        options = self.options(_arguments.STATUS_TABLE)
        callback = str(t.cast(t.Any, constants).DEFAULT_STDOUT_CALLBACK).removeprefix("ansible.builtin.")
        if callback in _FOR_PEOPLE:
            Display().display("\n".join(status_table(options["nodes"], _WIDTH)))
        else:
            result["_ansible_verbose_always"] = True
        return {**result, "lines": status_table(options["nodes"])}
