# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The commands that payloads bring: which one undoes which others in the receipt, and which excludes a native installation."""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Installer, Receipt

#: Each command, and the commands that count as undone after it.
UNDOES: t.Mapping[str, tuple[str, ...]] = {
    "pre_install": ("post_uninstall", "cleanup"),
    "install": ("uninstall", "post_uninstall", "cleanup"),
    "uninstall": ("install",),
    "post_uninstall": ("pre_install",),
    "cleanup": ("uninstall",),
}


def undone_by(command: str, installer: Installer) -> Installer:
    """Return the receipt's part about commands, without the commands that ``command`` undoes."""
    return replace(installer, done={name: run for name, run in installer.done.items() if name not in UNDOES[command]})


def refuse_installed(receipt: Receipt) -> None:
    """Refuse a native installation on a node on which a payload's own installer has installed something."""
    if "install" in receipt.installer.done:
        raise Refusal(
            "a node without the runtime, or one on which coco_installer was native, too",
            f"an installation with coco_installer=payload, of payload {receipt.payload.digest}",
            "Uninstall that first, or set coco_installer to it.",
        )
