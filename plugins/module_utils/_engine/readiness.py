# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What there is to say about a node's engine, and what stands in the way of serving handlers with it."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, probe, toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    detect,
    dump,
    schemas,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


def look(overrides: detect.Overrides, config_mode: str, enable_cri: bool) -> tuple[dict[str, t.Any], list[Refusal]]:
    """Return what there is to say about the engine, and all that is wrong with it."""
    facts: dict[str, t.Any] = {
        "engine": {},
        "config_schema": 0,
        "config_mode": "",
        "cri": {"ready": False, "reason": ""},
        "served": [],
        "pods": {},
    }
    problems: list[Refusal] = []
    disabled = True
    try:
        engine, doubts = detect.find(overrides)
        facts["engine"] = engine.facts()
        problems += doubts
        text = _text(engine.config)
        facts["config_schema"] = schema = toml_text.schema_of(text)
        plain = not toml_text.sets_plugins(text) and not toml_text.declares_version(text)
        facts["config_mode"] = schemas.decide(engine.version, schema, config_mode, plain).mode
        # Refuses a file that the engine would not start with.
        disabled = not dump.cri_enabled(detect.dump(engine, engine.config)[0])
    except Refusal as refusal:
        problems.append(refusal)
    if facts["engine"]:
        try:
            _ask(engine, facts, enable_cri, disabled)
        except Refusal as refusal:
            problems.append(refusal)
    return facts, problems


def require(overrides: detect.Overrides, config_mode: str, enable_cri: bool) -> None:
    """Refuse an engine with which something is wrong, and name all of that."""
    _facts, problems = look(overrides, config_mode, enable_cri)
    if problems:
        first, *others = problems
        raise Refusal(first.expected, first.found, " ".join([first.remedy, *map(str, others)]))


def _ask(engine: detect.Engine, facts: dict[str, t.Any], enable_cri: bool, disabled: bool) -> None:
    """Add what the running engine itself says; ``disabled``: its files disable its CRI."""
    try:
        facts["served"] = probe.served(engine)
        if facts["served"]:
            status = cri.status(engine.socket)
            facts["cri"] = {"ready": status.ready, "reason": status.reason}
            for pod in cri.sandboxes(engine.socket):
                if pod.ready:
                    facts["pods"].setdefault(pod.handler, []).append(f"{pod.namespace}/{pod.name}")
            return
    except Refusal as refusal:
        facts["cri"]["reason"] = refusal.found
        raise
    except cri.CriError as error:
        facts["cri"]["reason"] = str(error)
        raise probe.no_answer(engine, error) from error
    facts["cri"]["reason"] = "disabled"
    if not disabled:
        raise Refusal(
            f"{engine.unit} with a CRI",
            f"a daemon without one, although {engine.config} does not disable it",
            "If the file was changed since the daemon started, restart it. A containerd that was built without its CRI cannot "
            "serve Kubernetes: install another one.",
        )
    if not enable_cri:
        raise Refusal(
            f"{engine.unit} with its CRI enabled",
            f"it in the disabled_plugins of {engine.config} or a file that this imports",
            "Take it out there and restart the engine, or set coco_enable_cri=true.",
        )


def _text(path: str) -> str:
    """Return a file's text; none where there is no file: an engine then takes its defaults."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
