# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins share."""

from __future__ import annotations

import contextlib
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _crashed, _secrets, _watch

_DISPLAY = Display()

COLLECTION = "confidential_containers.runtime"


#: What a failed module says in words.
_TEXTS = ("msg", "exception", "module_stdout", "module_stderr")
#: From -vvv on, connections show what they carry.
_SEEN = 3


@contextlib.contextmanager
def _unseen() -> t.Iterator[None]:
    """Keep from the output and from the log what goes over the connection: from ``-vvv`` on, Ansible's connections print all that a
    module returns, and what ours return to their action holds whole configurations, with their passwords.
    """
    before = {name: getattr(_DISPLAY, name) for name in ("verbosity", "log_verbosity")}
    if max(before.values()) >= _SEEN:
        _DISPLAY.vvv(f"{COLLECTION}: what goes over the connection is not shown, it can hold secrets")
    try:
        for name, verbosity in before.items():
            setattr(_DISPLAY, name, min(verbosity, _SEEN - 1))
        yield
    finally:
        for name, verbosity in before.items():
            setattr(_DISPLAY, name, verbosity)


class NodeFailed(Exception):
    """The node's half failed, or would with these arguments; ``result`` is what the user gets."""

    def __init__(self, result: dict[str, t.Any]) -> None:
        super().__init__(result.get("msg", ""))
        self.result = result


def _presentable(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a failure as it may be shown: an engine's own message, or a traceback, may quote a line of a configuration."""
    said = {key: str(result[key]) for key in _TEXTS if result.get(key)}
    event = getattr(result.get("exception"), "event", None)
    if event is not None:
        # From ansible-core 2.19 on an object, which has the message, too.
        said["exception"] = str(event.formatted_traceback or "")
    others = {key: value for key, value in result.items() if key not in _TEXTS}
    return {**others, "msg": "", **{key: _secrets.mask(text) for key, text in said.items() if text}}


class RuntimeAction(ActionBase):
    """An action with a controller's half (:meth:`act`) that runs modules on the node."""

    _requires_connection = True

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        self._said: list[t.Any] = []
        self._recovered = ""
        del tmp
        try:
            with _unseen():
                result.update(self.act(self._task_vars))
        except Refusal as refusal:
            # A result, not an exception: failed_when and until see it.
            result.update(failed=True, msg=str(refusal))
        except NodeFailed as failure:
            result.update(failure.result)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        # Whichever of the node's modules met it: it is said once.
        if self._said:
            result["warnings"] = self._said
        if self._recovered:
            result.update(changed=True, recovered=self._recovered)
        return result

    @property
    def host(self) -> str:
        """The host on which modules are run: the one that the task is delegated to, if it is."""
        return str(self._task.delegate_to or self._task_vars.get("inventory_hostname", ""))

    def options(self, spec: _arguments.Options) -> dict[str, t.Any]:
        """Return the task's options, checked and converted as the node's half does it. From now on, one that is null counts as one
        that was not given.

        Ansible's own check names a file instead of the module. Where the arguments are not exactly what the user wrote, it also shows
        their values beside its message, passwords included.
        """
        self._task.args = {name: value for name, value in self._task.args.items() if value is not None}
        checked = ArgumentSpecValidator(spec).validate(self._task.args)
        if not checked.error_messages:
            return t.cast("dict[str, t.Any]", checked.validated_parameters)
        words = str(checked.errors.msg)
        if isinstance(checked.errors[0], UnsupportedError):
            module = type(self).__module__.rpartition(".")[2]
            words = f"Unsupported parameters for ({COLLECTION}.{module}) module: {words}"
        raise NodeFailed({"failed": True, "msg": words})

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Do the work and return the result; raise Refusal or NodeFailed."""
        raise NotImplementedError

    def watched(
        self, work: t.Callable[[], _watch.Result], command: str, entry: t.Callable[[str], _watch.Entry | None]
    ) -> _watch.Result:
        """Do long work, and show how far it is: ``entry`` of what a command prints on the node meanwhile."""

        def look() -> _watch.Entry | None:
            printed = self._low_level_execute_command(command, sudoable=False)
            return entry(str(printed.get("stdout", "")))

        return _watch.watch(work, look, self.show)

    def show(self, line: str) -> None:
        """Show the user a line while the task runs: not where a callback writes a document for programs."""
        _DISPLAY.display(f"{self._task_vars.get('inventory_hostname', '')}: {line}", stderr=True)

    def node(self, module: str, task_vars: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        """Run one of our modules on the node."""
        result: dict[str, t.Any] = self._execute_module(
            module_name=f"{COLLECTION}.{module}", module_args=options, task_vars=task_vars
        )
        # What the module was given is not what the user wrote.
        result.pop("invocation", None)
        self._said += result.pop("warnings", [])
        self._recovered = result.get("recovered") or self._recovered
        if result.get("failed") or result.get("skipped"):
            raise NodeFailed(_presentable({**result, "msg": _crashed.reason(module, result)}))
        return result
