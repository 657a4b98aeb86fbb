# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All of check_variables: it works on the controller only, before the node is asked anything.

The table of variables is ``plugin_utils/_variables``.
"""

from __future__ import annotations

import functools
import os
import re
import typing as t
from collections.abc import Iterable, Iterator, Mapping

from ansible import errors
from ansible.utils.vars import load_extra_vars

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _variables
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import handlers, planners, toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import (
    manifest,
    native,
    role_variables,
)

#: The parts of a template's error that name what is missing. They contain no values.
_LACKS = re.compile(r"'[\w.-]+' is undefined|has no attribute '\w+'")


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    _requires_connection = False

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        options = self.options(_arguments.CHECK_VARIABLES)
        wrong = self._of_play(task_vars) if options["playbook"] else self._of_host(task_vars, options["required"])
        if wrong:
            return {"failed": True, "msg": "\n".join(map(str, wrong))}
        return {"changed": False}

    def _of_play(self, task_vars: Mapping[str, t.Any]) -> list[Refusal]:
        """Return what is wrong with a play. Variables of nodes are not looked at: on localhost, their templates may lack values."""
        wrong = [*self._unseen(task_vars), *self._left_out(task_vars)]
        dict(self._values(task_vars, _variables.OF_PLAYS, wrong))
        return wrong

    def _of_host(self, task_vars: Mapping[str, t.Any], required: list[str]) -> list[Refusal]:
        """Return what is wrong with the variables of a host."""
        given = [name for name in task_vars if isinstance(name, str) and name.startswith("coco_")]
        wrong = list(filter(None, [_variables.unknown(given)]))
        values = dict(self._values(task_vars, sorted(set(given) & set(_variables.KNOWN)), wrong))
        wrong += _contents(values, required)
        from_manifest = {} if wrong else self._manifest(values.get("coco_ccruntime"), wrong)
        missing = [name for name in required if name not in values and name not in from_manifest]
        if required and not wrong and values.get("coco_installer") != "payload":
            try:
                native.settings(
                    values.get("coco_environment_variables", from_manifest.get("coco_environment_variables", []))
                )
            except Refusal as refusal:
                wrong.append(refusal)
        if missing and not wrong:
            remedy = "Name the payload, for example: -e coco_payload=oci-archive:/path/of/the/archive."
            wrong.append(Refusal(f"{', '.join(missing)} to be set", "nothing", remedy))
        return wrong

    def _values(
        self, task_vars: Mapping[str, t.Any], names: Iterable[str], wrong: list[Refusal]
    ) -> Iterator[tuple[str, t.Any]]:
        """Yield the variables that have a value, converted to their types. Refusals of wrong types go to ``wrong``."""
        for name in names:
            if name not in task_vars:
                continue
            try:
                value = self._templar.template(task_vars[name])
                if value is not None and value != task_vars.get("omit", self):
                    yield name, _variables.convert(name, value)
            except Refusal as refusal:
                wrong.append(refusal)
            except errors.AnsibleError as error:
                # "{{ omit }}" counts as not set. ansible-core before 2.19 returns a placeholder instead of raising this.
                if type(error).__name__ != "AnsibleValueOmittedError":
                    wrong.append(_no_value(name, error))

    def _unseen(self, task_vars: Mapping[str, t.Any]) -> Iterator[Refusal]:
        """Yield a refusal if the inventory sets variables for keywords of a play: those see only the play's ``vars`` and ``-e``."""
        seen = {**self._task.get_play().get_vars(), **load_extra_vars(self._loader)}
        unseen = [name for name in _variables.OF_PLAYS if name not in seen and task_vars.get(name) is not None]
        if unseen:
            yield Refusal(
                f"{' and '.join(unseen)} with -e, if at all",
                "a value in the inventory, which a play cannot see",
                f"Remove it from the inventory, and run the playbook with -e {unseen[0]}=….",
            )

    def _left_out(self, task_vars: Mapping[str, t.Any]) -> Iterator[Refusal]:
        """Yield a refusal of tags with which Ansible would leave out the playbook's tasks and report success."""
        only, skipped = task_vars.get("ansible_run_tags", ["all"]), task_vars.get("ansible_skip_tags", [])
        if not _variables.chosen(set(self._task.tags) - {"always"}, only, skipped):
            words = [f"--tags {','.join(only)}"] if "all" not in only else []
            words += [f"--skip-tags {','.join(skipped)}"] if skipped else []
            yield Refusal(
                "a run of all tasks, because these have no tags",
                f"{' '.join(words)}, with which nothing would be done",
                "Run the playbook without it.",
            )

    def _manifest(self, source: t.Any, wrong: list[Refusal]) -> Mapping[str, t.Any]:
        """Return the variables that the manifest sets."""
        if source is None:
            return {}
        path = "" if isinstance(source, Mapping) else os.path.realpath(os.path.expanduser(source))
        try:
            return manifest.parse(self._read(path) if path else source).variables
        except Refusal as refusal:
            where = f"{path}: " if path else "coco_ccruntime: "
            wrong.append(Refusal(refusal.expected, f"{where}{refusal.found}", refusal.remedy))
            return {}

    def _read(self, path: str) -> str:
        """Return the text of a file, which may be encrypted with a vault."""
        try:
            with open(self._loader.get_real_file(path), encoding="utf-8") as stream:
                return stream.read()
        except errors.AnsibleFileNotFound:
            raise Refusal(
                "a file in coco_ccruntime",
                "no such file",
                "Give the path of a manifest on the machine where Ansible runs.",
            ) from None
        except (OSError, UnicodeDecodeError, errors.AnsibleError) as error:
            raise Refusal(
                "a manifest that can be read in coco_ccruntime",
                getattr(error, "strerror", None) or str(error),
                "Give the path of a manifest that the user who runs Ansible may read.",
            ) from None


def _no_value(name: str, error: errors.AnsibleError) -> Refusal:
    # The rest of the message may quote the whole variable, with its secrets.
    told = _LACKS.search(getattr(error, "message", "") or str(error))
    why = f": {told.group()}" if told else ""
    return Refusal(
        f"{name} to have a value", f"a template that has none{why}", "Set the variables that the template uses."
    )


def _contents(values: Mapping[str, t.Any], required: list[str]) -> Iterator[Refusal]:
    """Yield what is wrong with values of the right types. Otherwise it would be found only after the payload was sent."""
    checks: list[t.Callable[[], t.Any]] = [
        lambda: handlers.check_overrides(values.get("coco_handler_overrides", {}), planners.keys()),
        lambda: handlers.proxy_tables(values.get("coco_proxy_plugins", {})),
        *(functools.partial(role_variables.check_variable, name, value) for name, value in values.items()),
    ]
    if required and values.get("coco_installer") != "payload":
        checks.append(toml.require)
    for check in checks:
        try:
            check()
        except Refusal as refusal:
            yield refusal
