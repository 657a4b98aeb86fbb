# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Labels of SELinux: artifacts are unpacked elsewhere and renamed to the prefix, so they have the labels of another place."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

#: On a node with SELinux, this file says what it does: 1, it forbids; 0, it only reports.
_ENFORCING = "/sys/fs/selinux/enforce"


def restore(prefix: str, warn: t.Callable[[str], None]) -> None:
    """Give artifacts the labels of their place. If that fails, refuse; only ``warn`` where SELinux only reports."""
    if not os.path.exists(_ENFORCING):
        return
    done = process.run(["restorecon", "-R", prefix], timeout=300)
    if done.returncode == 0:
        return
    refusal = Refusal(
        f"SELinux labels for the artifacts, from restorecon -R {prefix}",
        (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1],
        "The node's SELinux decides with these labels whether a shim may be executed.",
    )
    with open(_ENFORCING, encoding="ascii") as stream:
        if stream.read().strip() == "1":
            raise refusal
    warn(str(refusal))
