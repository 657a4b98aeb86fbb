# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The status of an installation, native or by the payload's own installer, for modules/runtime_info.

It says what is installed according to the receipt, and how the node differs from the receipt.
"""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import hardware
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, shims
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import of
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

#: The status of a node whose receipt or journal cannot be read. We assume that something is installed.
_UNKNOWN: t.Mapping[str, t.Any] = {
    "installed": True,
    "receipt": {"commands": [], "installer": "native"},
    "drift": {},
    "excluded": {},
    "left_behind": {},
    "stays": [],
    "waiting": {},
    "remembers": True,
    "interrupted": False,
}
#: The parts of a receipt that are shown unchanged.
_SHOWN = ("payload", "prefix", "collection", "installed_at", "changed_at")


def status(state: State, verify: bool) -> tuple[dict[str, t.Any], list[str]]:
    """Return the facts about the installation, and the problems with it. ``verify``: compare digests, too.

    Takes no lock, so another run may change the node meanwhile.
    """
    try:
        receipt = state.receipt()
        interrupted = Journal.find(state) is not None
    except Refusal as refusal:
        return dict(_UNKNOWN), [str(refusal)]
    waiting, problems = _waiting(state)
    facts = {
        "installed": receipt.is_installed,
        "receipt": _shown(receipt),
        "drift": _drift(receipt, verify),
        "excluded": _excluded(receipt),
        "remembers": bool(receipt.payload.digest or receipt.installer.done),
        "left_behind": {} if receipt.is_installed else transaction.left_behind(receipt),
        "stays": artifacts.staying(receipt),
        "waiting": waiting,
        "interrupted": interrupted,
    }
    return facts, problems


def _shown(receipt: Receipt) -> dict[str, t.Any]:
    document, commands = receipt.plain(), receipt.installer.done
    shown: dict[str, t.Any] = {key: document[key] for key in _SHOWN if key in document}
    shown["commands"] = sorted(commands)
    shown["installer"] = "payload" if "install" in commands else "native"
    if receipt.is_installed:
        shown["handlers"] = sorted(receipt.handlers)
        shown["files"] = sum(entry["type"] == "file" for entry in receipt.tree.values())
    return shown


def _drift(receipt: Receipt, verify: bool) -> dict[str, str]:
    damage = transaction.damage(receipt) if receipt.is_installed else {}
    return {**artifacts.drift(receipt.prefix, receipt.tree, verify), **damage}


def _excluded(receipt: Receipt) -> dict[str, str]:
    """Return the handlers that the installed payload offers but this node does not serve, each with the reason."""
    payload = receipt.payload
    if not receipt.tree:
        return {}
    components = of(payload.plain())
    offered = shims.offered(receipt.tree, layouts.by_name(payload.layout), receipt.prefix, components)
    absent = [handler for handler in offered if handler.name not in receipt.handlers]
    return shims.reasons(absent, hardware.architecture(), hardware.capabilities())


def _waiting(state: State) -> tuple[dict[str, t.Any], list[str]]:
    """Return the payloads that wait on the node, or why they cannot be told: another run can remove one meanwhile."""
    try:
        return dict(staged.waiting(state)), []
    except (Refusal, OSError) as error:
        return {}, [str(error)]
