# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of runtime_handlers: it plans the edits with a TOML library, because nodes have none.

The node's half is the module engine_config: it reads the engine's files, and applies the plan.
"""

from __future__ import annotations

import base64
import contextlib
import typing as t

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import startable
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Apply
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import sha256
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _secrets
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import NodeFailed, RuntimeAction
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import looked, toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import (
    Edit,
    Found,
    Plan,
    Wanted,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.handlers import proxy_tables
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.planners import planner_of


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        try:
            options = self.options(_arguments.RUNTIME_HANDLERS)
            toml.require()
            engine = {key: options[key] for key in _arguments.RESTART_OPTIONS if options[key] is not None}
            return self._reconcile(options, engine, task_vars)
        except AnsibleConnectionFailure:
            raise  # the node cannot be asked to go back; the next run finds its journal
        except Exception:
            # The user may repair what was refused before the next task: that one must look again.
            looked.forget(self.host, self._task.args)
            # The artifacts are part of the same run: when its handlers are refused, they are put back, too.
            run = self._task.args.get("run")
            if run:
                with contextlib.suppress(NodeFailed):
                    self.node("engine_config", task_vars, state="restored", run=run)
            raise

    def _look(
        self, options: dict[str, t.Any], engine_options: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """Return the engine's files. A check reads them, and the run that follows it takes what the check has read."""
        follows = self._task.check_mode or options["run"]
        found = looked.recall(self.host, engine_options) if follows else None
        if found is None:
            found = self.node("engine_config", task_vars, state="read", run=options["run"], **engine_options)
            if self._task.check_mode:
                looked.remember(self.host, engine_options, found)
        if not self._task.check_mode:
            looked.forget(self.host, engine_options)
        return found

    def _reconcile(
        self, options: dict[str, t.Any], engine_options: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        found = self._look(options, engine_options, task_vars)
        _refuse_dead(found, options)
        planner = planner_of(found["engine"]["name"])
        unserved = not set(planner.served(found["dump"])) <= set(found["served"])
        if not (
            options["handlers"] or options["run"] or found["owned"] or found["before"] or found["links"] or unserved
        ):
            # Nothing is wanted and nothing is ours: then any configuration of this engine is fine.
            return _result(found, "", {}, {"changed": False, "restarted": False, "served": found["served"]})
        version = Found.read(found).version
        handlers = [
            {key: value for key, value in handler.items() if value is not None} for handler in options["handlers"]
        ]
        overrides = options["overrides"] if handlers else {}
        wanted = Wanted(
            handlers=planner.tables(handlers, overrides, version),
            proxies=proxy_tables(options["proxy_plugins"]) if handlers else {},
            mode=options["config_mode"],
            keep_aside=options["conflicts"] == "keep_aside",
            enable_cri=options["enable_cri"],
        )
        links = planner.links(handlers, overrides, version)
        _refuse_unstartable(found, wanted.handlers, links)
        plan = planner.plan(Found.read(found), wanted, places.TRIAL)
        applied: dict[str, t.Any] = {"changed": False, "restarted": False, "served": found["served"], "links": {}}
        settled = (set(wanted.handlers), set(wanted.proxies), links) == (
            set(found["owned"]),
            set(found["proxy_plugins"]),
            found["links"],
        )
        if plan.edits or options["run"] or unserved or not settled:
            applied = self.node(
                "engine_config",
                task_vars,
                state="applied",
                files=[_file(edit) for edit in plan.edits],
                trial={name: _encoded(text) for name, text in plan.trial.items()},
                handlers=wanted.handlers,
                proxy_plugins=wanted.proxies,
                links=links,
                returned=plan.returned,
                run=options["run"],
                ignore_running_pods=options["ignore_running_pods"],
                **engine_options,
            )
        result = _result(found, plan.mode, wanted.handlers, applied)
        if wanted.handlers and found["remarks"]:
            result["warnings"] = list(found["remarks"])
        if result["changed"] and self._task.diff:
            result["diff"] = _diff(plan, applied, found["engine"])
        return result


def _refuse_unstartable(
    found: dict[str, t.Any], handlers: t.Mapping[str, t.Mapping[str, t.Any]], links: t.Mapping[str, str]
) -> None:
    """Refuse handlers whose shim cannot be started on the node. The check at the installation may be outdated."""
    for path, flaw in found["unstartable"].items():
        linked = path in links.values()
        names = sorted(name for name, table in handlers.items() if linked or table.get("runtime_path") == path)
        if names:
            raise Refusal(startable.EXPECTED.format(path=path, handlers=", ".join(names)), **flaw)


def _refuse_dead(found: dict[str, t.Any], options: dict[str, t.Any]) -> None:
    """Refuse to call a node clean if its engine is configured with handlers whose programs went with our artifacts."""
    if options["handlers"] or not found["dead"]:
        return
    files = Found.read(found).files
    places = {name: [path for path, text in files.items() if name in (text or "")] for name in found["dead"]}
    raise Refusal(
        "no handler in the engine's configuration whose program was removed with this collection's artifacts",
        "; ".join(f"{name} in {' and '.join(places[name])}, without {path}" for name, path in found["dead"].items()),
        "No pod of theirs can start. Take these handlers out of the configuration (the tables [….runtimes.NAME] and what is below "
        "them), restart the engine, and run the playbook again.",
    )


def _result(
    found: dict[str, t.Any], config_mode: str, tables: t.Mapping[str, t.Any], applied: dict[str, t.Any]
) -> dict[str, t.Any]:
    return {
        "changed": found["changed"] or applied["changed"],
        "handlers": sorted(tables),
        "served": applied["served"],
        "config_mode": config_mode,
        "restarted": applied["restarted"],
        "engine": found["engine"],
        "recovered": found["recovered"],
    }


def _encoded(text: str | None) -> str | None:
    return None if text is None else base64.b64encode(text.encode()).decode()


def _file(edit: Edit) -> dict[str, t.Any]:
    return {
        "path": edit.path,
        "expected": "" if edit.now is None else sha256(edit.now.encode()),
        "content": _encoded(edit.wanted),
        "before": _encoded(edit.without),
        "builtin": dict(edit.builtin),
        "disabled": list(edit.disabled),
    }


def _diff(plan: Plan, applied: dict[str, t.Any], engine: t.Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return a diff for humans: files without their secrets, links, and the restart."""
    diffs = [
        {
            "before_header": edit.path,
            "after_header": edit.path,
            "before": _secrets.mask(edit.now or ""),
            "after": _secrets.mask(edit.wanted or ""),
        }
        for edit in plan.edits
    ]
    lines = [f"+ {path} -> {target}\n" if target else f"- {path}\n" for path, target in applied["links"].items()]
    if applied["restarted"]:
        watched = FLAVOURS[engine["name"]].apply is Apply.WATCHED
        lines.append(f"{engine['unit']} restarts containerd\n" if watched else f"restart {engine['unit']}\n")
    return [*diffs, {"prepared": "".join(lines)}] if lines else diffs
