# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-playbook for hundreds of starts: a process that has imported Ansible, and forks one that runs its command line for each.

A third of a short run goes into the imports. What is forked has read nothing of the collection, no inventory and no variables.
A request is a line of JSON on the standard input, ``{"argv": […], "stdout": path, "stderr": path}``; the answer is the exit status.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import sys
import tempfile
import typing as t

#: What each run imports.
MODULES = (
    "ansible.cli.playbook",
    "ansible.executor.module_common",
    "ansible.executor.playbook_executor",
    "ansible.executor.process.worker",
    "ansible.executor.task_executor",
    "ansible.executor.task_queue_manager",
    "ansible.inventory.manager",
    "ansible.playbook.role_include",
    "ansible.plugins.action.normal",
    "ansible.plugins.callback.default",
    "ansible.plugins.connection.local",
    "ansible.plugins.connection.ssh",
    "ansible.plugins.inventory.yaml",
    "ansible.plugins.shell.sh",
    "ansible.plugins.strategy.linear",
    "ansible.template",
    "ansible.vars.manager",
    "tomlkit",
)


def main() -> None:
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        process = os.fork()
        if process == 0:
            run(**request)
        _process, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(argv: list[str], stdout: str, stderr: str) -> t.NoReturn:
    from ansible import constants
    from ansible.cli.playbook import PlaybookCLI

    # Ansible makes this directory when it is imported, and removes it when it ends: each run has one of its own.
    settings = vars(constants)
    parent = os.path.dirname(settings["DEFAULT_LOCAL_TMP"])
    settings["DEFAULT_LOCAL_TMP"] = tempfile.mkdtemp(prefix=f"ansible-local-{os.getpid()}", dir=parent)
    atexit.register(shutil.rmtree, settings["DEFAULT_LOCAL_TMP"])
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for target, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (stdout, write), (stderr, write))):
        os.dup2(os.open(path, flags, 0o600), target)
    sys.argv = argv
    PlaybookCLI.cli_executor(argv)
    raise AssertionError("cli_executor exits")


if __name__ == "__main__":
    main()
