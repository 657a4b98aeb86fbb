# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The base class of the action plugins: it checks the options, runs modules on the node, and keeps secrets off the screen."""

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


#: The keys of a failed module's result that hold its words.
_TEXTS = ("msg", "exception", "module_stdout", "module_stderr")
#: From this verbosity on (-vvv), connections show what they carry.
_SEEN = 3


@contextlib.contextmanager
def _unseen() -> t.Iterator[None]:
    """Keep what goes over the connection out of the output and out of the log.

    From ``-vvv`` on, Ansible's connections print all that a module returns. Our modules return whole configurations to their
    action, with the passwords in them.
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
    """The node's half failed, or would fail with these arguments. ``result`` is what the user gets."""

    def __init__(self, result: dict[str, t.Any]) -> None:
        super().__init__(result.get("msg", ""))
        self.result = result


def _presentable(result: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a failure without secrets: an engine's message, or a traceback, may quote a line of a configuration."""
    said = {key: str(result[key]) for key in _TEXTS if result.get(key)}
    event = getattr(result.get("exception"), "event", None)
    if event is not None:
        # From ansible-core 2.19 on, the exception is an object, which also repeats the message: keep the traceback only.
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
            # A result, not an exception, so that failed_when and until see it.
            result.update(failed=True, msg=str(refusal))
        except NodeFailed as failure:
            result.update(failure.result)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        # These come from any of the node's modules. The user is told once.
        if self._said:
            result["warnings"] = self._said
        if self._recovered:
            result.update(changed=True, recovered=self._recovered)
        return result

    @property
    def host(self) -> str:
        """The host on which the modules run. If the task is delegated, that is the host that it is delegated to."""
        return str(self._task.delegate_to or self._task_vars.get("inventory_hostname", ""))

    def options(self, spec: _arguments.Options) -> dict[str, t.Any]:
        """Return the task's options, checked and converted as on the node. An option that is null counts as not given.

        We do not use Ansible's own check, because it shows all arguments beside its message, with their passwords.
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
        """Do the work and return the result. Raises Refusal or NodeFailed."""
        raise NotImplementedError

    def watched(
        self, work: t.Callable[[], _watch.Result], command: str, entry: t.Callable[[str], _watch.Entry | None]
    ) -> _watch.Result:
        """Do long ``work``, and show how far it has come.

        Meanwhile ``command`` runs on the node now and then. ``entry`` turns what it prints into an entry to show.
        """

        def look() -> _watch.Entry | None:
            printed = self._low_level_execute_command(command, sudoable=False)
            return entry(str(printed.get("stdout", "")))

        return _watch.watch(work, look, self.show)

    def show(self, line: str) -> None:
        """Show the user a line while the task runs. It goes to stderr: stdout may be a callback's document for programs."""
        _DISPLAY.display(f"{self._task_vars.get('inventory_hostname', '')}: {line}", stderr=True)

    def node(self, module: str, task_vars: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        """Run one of our modules on the node. Raises NodeFailed if it fails or is skipped."""
        result: dict[str, t.Any] = self._execute_module(
            module_name=f"{COLLECTION}.{module}", module_args=options, task_vars=task_vars
        )
        # The module's arguments are not what the user wrote, so they are not shown.
        result.pop("invocation", None)
        self._said += result.pop("warnings", [])
        self._recovered = result.get("recovered") or self._recovered
        if result.get("failed") or result.get("skipped"):
            raise NodeFailed(_presentable({**result, "msg": _crashed.reason(module, result)}))
        return result
