# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Is a node's engine ready to serve handlers? The facts about it, and all that stands in the way."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver, Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


def look(overrides: Overrides, config_mode: str, enable_cri: bool) -> tuple[dict[str, t.Any], list[Refusal]]:
    """Return the facts about the engine, and all problems with it."""
    facts: dict[str, t.Any] = {
        "engine": {},
        "config_schema": 0,
        "config_mode": "",
        "cri": {"ready": False, "reason": ""},
        "served": [],
        "pods": {},
        "remarks": [],
    }
    problems: list[Refusal] = []
    disabled = True
    try:
        driver, doubts = flavours.find(overrides)
        facts["engine"] = driver.engine.facts()
        facts["remarks"] = flavours.FLAVOURS[driver.engine.name].remarks(driver.engine)
        problems += doubts
        wanted = driver.facts(config_mode)
        facts["config_schema"] = wanted.schema
        facts["config_mode"] = flavours.FLAVOURS[driver.engine.name].place(wanted).mode
        # configured() refuses a file with which the engine would not start.
        disabled = not driver.configured().cri_enabled()
    except Refusal as refusal:
        problems.append(refusal)
    if facts["engine"]:
        try:
            _ask(driver, facts, enable_cri, disabled)
        except Refusal as refusal:
            problems.append(refusal)
    return facts, problems


def require(overrides: Overrides, config_mode: str, enable_cri: bool) -> None:
    """Refuse an engine that has problems, and name all of them."""
    _facts, problems = look(overrides, config_mode, enable_cri)
    if problems:
        first, *others = problems
        raise Refusal(first.expected, first.found, " ".join([first.remedy, *map(str, others)]))


def _ask(driver: Driver, facts: dict[str, t.Any], enable_cri: bool, disabled: bool) -> None:
    """Add what the running engine says about itself. ``disabled``: its files disable its CRI."""
    engine = driver.engine
    try:
        facts["served"] = driver.served()
        if facts["served"]:
            status = driver.status()
            facts["cri"] = {"ready": status.ready, "reason": status.reason}
            for pod in driver.pods():
                if pod.ready:
                    facts["pods"].setdefault(pod.handler, []).append(f"{pod.namespace}/{pod.name}")
            return
    except Refusal as refusal:
        facts["cri"]["reason"] = refusal.found
        raise
    except cri.CriError as error:
        facts["cri"]["reason"] = str(error)
        raise driver.no_answer(error) from error
    facts["cri"]["reason"] = "disabled"
    if not disabled:
        raise Refusal(
            f"{engine.unit} with a CRI",
            f"a daemon without one, although {engine.config} does not disable it",
            "If the file was changed since the daemon started, restart it. One that was built without a CRI cannot "
            "serve Kubernetes: install another one.",
        )
    if not enable_cri:
        raise Refusal(
            f"{engine.unit} with its CRI enabled",
            f"the CRI in the disabled_plugins of {engine.config}, or of a file that it imports",
            "Remove it from that list and restart the engine, or set coco_enable_cri=true.",
        )
