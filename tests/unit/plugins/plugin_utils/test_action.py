# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What action plugins show of their work on a node. Integration tests show the same with real connections."""

from __future__ import annotations

import typing as t
from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.confidential_containers.runtime.plugins.action import payload_command
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction

SECRET = "hunter2"


class Connection:
    """A connection that shows what it carries, like Ansible's own for ssh (-vvv) and others (-vvvv)."""

    def __init__(self, returned: dict[str, t.Any]) -> None:
        self._shell = type("Shell", (), {"tmpdir": None})()
        self.returned = returned
        self.verbosity = 9

    def execute(self) -> dict[str, t.Any]:
        self.verbosity = max(Display().verbosity, Display().log_verbosity)
        for say in (Display().vvv, Display().vvvv, Display().vvvvv):
            say(f"returned {self.returned}")
        return dict(self.returned)


class Action(RuntimeAction):
    """An action whose node returns what its connection has."""

    def __init__(self, returned: dict[str, t.Any]) -> None:
        self.carrier = Connection(returned)
        self._connection: t.Any = self.carrier

    def _execute_module(self, *_args: t.Any, **_how: t.Any) -> dict[str, t.Any]:
        return self.carrier.execute()

    def _remove_tmp_path(self, *_args: t.Any, **_how: t.Any) -> None:
        pass

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        return {"served": self.node("engine_config", task_vars)["served"]}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., dict[str, t.Any]]:
    monkeypatch.setattr(ActionBase, "run", lambda *_args: {})

    def run(**returned: t.Any) -> dict[str, t.Any]:
        action = Action(returned)
        result = action.run()
        assert action.carrier.verbosity < 3
        return result

    return run


@pytest.mark.parametrize("verbosity", [0, 3, 4, 6])
@pytest.mark.parametrize("where", ["verbosity", "log_verbosity"])
def test_what_a_connection_carries_is_not_shown(
    run: t.Callable[..., dict[str, t.Any]], monkeypatch: pytest.MonkeyPatch, where: str, verbosity: int
) -> None:
    display, shown = Display(), []
    monkeypatch.setattr(display, where, verbosity)
    monkeypatch.setattr(display, "display", lambda text, **_how: shown.append(text))
    assert run(dump=SECRET, served=["runc"]) == {"served": ["runc"]}
    assert not [text for text in shown if SECRET in text]
    assert getattr(display, where) == verbosity
    if where == "verbosity":
        Display().vvv("seen again")
        assert bool(shown) == (verbosity >= 3)


def test_progress_is_shown_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    """The output may be a document: ANSIBLE_STDOUT_CALLBACK=ansible.posix.json."""
    action = Action({})
    action._task_vars = {"inventory_hostname": "worker-1"}
    action.show("1 of 4 MiB (25 %) sent")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "worker-1: 1 of 4 MiB (25 %) sent\n")


def test_a_failure_shows_no_secret(run: t.Callable[..., dict[str, t.Any]]) -> None:
    """Neither does the traceback of a module that has crashed, nor what it was called with."""
    quoted = f'password = "{SECRET}"'
    result = run(
        failed=True, msg=f"Found {quoted}.", exception=quoted, module_stdout=quoted, invocation={"module_args": quoted}
    )
    assert result["failed"]
    assert SECRET not in str(result)
    assert result["msg"].startswith("Found password = ")


@pytest.mark.parametrize("traceback", [None, f'password = "{SECRET}"'])
def test_a_failure_of_newer_versions_of_ansible(run: t.Callable[..., dict[str, t.Any]], traceback: str | None) -> None:
    said = f'Found password = "{SECRET}".'
    summary = SimpleNamespace(event=SimpleNamespace(msg=said, formatted_traceback=traceback))
    result = run(failed=True, msg=said, exception=summary)
    assert SECRET not in str(result)
    assert ("exception" in result) == bool(traceback)


def test_a_failure_is_not_masked_beyond_recognition(run: t.Callable[..., dict[str, t.Any]]) -> None:
    said = "Expected coco_registry_auth. Found none, with coco_payload_on=node and MODE=qemu."
    assert run(failed=True, msg=said)["msg"] == said


def test_values_of_variables_mask_nothing() -> None:
    """Ansible masks each value of a mapping that is no_log, wherever it stands: the environment goes to the node as one text."""
    given: dict[str, t.Any] = {"command": "install", "environment": {"MODE": "node"}, "timeout": None}
    action: t.Any = object.__new__(payload_command.ActionModule)
    action._task = SimpleNamespace(args=given)
    action.watched = lambda work, *_how: work()
    action.node = lambda _module, _task_vars, **options: options
    assert action.act({}) == {"command": "install", "environment": '{"MODE": "node"}'}
    action._task.args = {**given, "environment": '{"MODE":"node"}'}
    assert action.act({})["environment"] == '{"MODE":"node"}'
