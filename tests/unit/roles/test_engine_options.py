# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user says about the engine reaches every module that asks it, in whichever way a play takes a role.

The roles are real, and so are their variables; of the modules only the controller's half is left, which writes down what it is given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
GROUPS: dict[str, list[str]] = yaml.safe_load((ROOT / "meta/runtime.yml").read_text(encoding="utf-8"))["action_groups"]

WRITE_DOWN = """
import json
import os

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        module = self._task.action.rpartition(".")[2]
        with open(os.environ["WRITTEN_DOWN"], "a") as stream:
            stream.write(json.dumps([task_vars["ansible_play_name"], module, dict(self._task.args)]) + chr(10))
        return {**super().run(tmp, task_vars), **task_vars["found"].get(module, {})}
"""

TOLD = {
    "engine": "containerd",
    "engine_config": "/etc/two.toml",
    "engine_unit": "two.service",
    "engine_socket": "/run/two.sock",
    "engine_timeout": "33",
}
NOTHING_TOLD = {"engine": "auto", "engine_timeout": "120"}

#: What a node answers: one on which as many tasks as possible have something to do.
NODE = {
    "problems": [],
    "interrupted": True,
    "installed": False,
    "remembers": True,
    "receipt": {"installer": "payload", "commands": ["uninstall"]},
    "cri": {"ready": True},
    "served": [],
    "stays": [],
    "engine": {"name": "containerd", "version": "2.1"},
}
FOUND = {
    "payload_extract": {"digest": "sha256:1", "found": "staged", "prefix": "/p", "handlers": [], "excluded": {}},
    "runtime_handlers": {"engine": NODE["engine"], "handlers": [], "served": []},
    "node_state": {"edited": []},
}
HOOK = {"image": "docker://x/y"}
#: The roles, and what makes them run every module that they have.
ROLES: dict[str, tuple[dict[str, t.Any], set[str]]] = {
    "install": (
        {"coco_payload": "dir:/x", "coco_pre_install": HOOK},
        {"runtime_info", "payload_extract", "payload_command", "payload_artifacts", "runtime_handlers"},
    ),
    "install by payload": (
        {"coco_payload": "dir:/x", "coco_installer": "payload"},
        {"runtime_info", "payload_extract", "payload_command"},
    ),
    "uninstall": (
        {"coco_post_uninstall": HOOK},
        {"runtime_info", "payload_extract", "payload_command", "payload_artifacts", "runtime_handlers"},
    ),
    "cleanup": ({}, {"runtime_info", "payload_command", "runtime_handlers", "node_state"}),
}
#: Roles are taken in three ways. What holds for one of them holds for all.
PLAYS = [("install", "roles"), ("install", "import_role"), *((title, "include_role") for title in ROLES)]
#: By the name of a play: the modules that it ran, and the options that each was given.
Given = dict[str, list[tuple[str, dict[str, t.Any]]]]


def variables(told: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the variables of roles that say this."""
    return {f"coco_{option}": value for option, value in told.items()}


def play(title: str, way: str, told: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return a play that takes a role in one of three ways."""
    name = f"confidential_containers.runtime.{title.split()[0]}"
    node = {**NODE, "installed": title == "uninstall"}
    return {
        "name": f"{title} {way}",
        "hosts": "coco_nodes",
        "gather_facts": False,
        "vars": {**ROLES[title][0], **variables(told), "found": {**FOUND, "runtime_info": node}},
        **({"roles": [name]} if way == "roles" else {"tasks": [{f"ansible.builtin.{way}": {"name": name}}]}),
    }


def collection(directory: Path) -> Path:
    """Make a copy of the collection whose actions write down what they are given, and return where it is."""
    copy = directory / "collections/ansible_collections/confidential_containers/runtime"
    (copy / "plugins/action").mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "roles", "playbooks"):
        (copy / name).symlink_to(ROOT / name)
    for name in ("filter", "modules", "module_utils", "plugin_utils", "doc_fragments"):
        (copy / "plugins" / name).symlink_to(ROOT / "plugins" / name)
    for name in ("check_variables", "status_table"):
        (copy / f"plugins/action/{name}.py").symlink_to(ROOT / f"plugins/action/{name}.py")
    for name in {*GROUPS["engine"], "payload_artifacts"}:
        (copy / f"plugins/action/{name}.py").write_text(WRITE_DOWN, encoding="utf-8")
    return directory / "collections"


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Run all plays at once, and return for each one the modules and what they were given."""
    directory = tmp_path_factory.mktemp("plays")
    plays = [play(title, way, TOLD) for title, way in PLAYS]
    untold = {**play("install", "import_role", {}), "name": "nothing told"}
    status = {
        "import_playbook": "confidential_containers.runtime.status",
        "vars": {**variables(TOLD), "found": {"runtime_info": {"failed": True, "msg": "no node"}}},
    }
    (directory / "plays.yml").write_text(yaml.safe_dump([*plays, untold, status]), encoding="utf-8")
    (directory / "inventory.yml").write_text("coco_nodes: {hosts: {one: {}}}\n", encoding="utf-8")
    written = directory / "written"
    environment = {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(collection(directory)),
        "WRITTEN_DOWN": str(written),
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "plays.yml", "-i", "inventory.yml"],
        check=False,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines: Given = {}
    for line in written.read_text(encoding="utf-8").splitlines():
        name, module, options = json.loads(line)
        lines.setdefault(name, []).append((module, options))
    return lines


def of_the_engine(options: dict[str, t.Any]) -> dict[str, str]:
    """Return the options about the engine, as text: before ansible-core 2.19, a template makes text of a number, too."""
    return {name: str(value) for name, value in options.items() if name.startswith("engine")}


def expected(module: str, told: dict[str, str]) -> dict[str, str]:
    """Return what of this a module has options for."""
    if module not in GROUPS["engine"]:
        return {}
    return {name: value for name, value in told.items() if name != "engine_timeout" or module in GROUPS["restart"]}


@pytest.mark.parametrize(("title", "way"), PLAYS)
def test_a_role_tells_every_module(given: Given, title: str, way: str) -> None:
    ran = given[f"{title} {way}"]
    assert {module for module, _options in ran} == ROLES[title][1]
    for module, options in ran:
        assert of_the_engine(options) == expected(module, TOLD), module


def test_status_tells_every_module(given: Given) -> None:
    ((module, options),) = given["Show the Confidential Containers runtime of all nodes"]
    assert (module, of_the_engine(options)) == ("runtime_info", expected("runtime_info", TOLD))


def test_what_the_user_does_not_say_is_left_out(given: Given) -> None:
    for module, options in given["nothing told"]:
        assert of_the_engine(options) == expected(module, NOTHING_TOLD), module
