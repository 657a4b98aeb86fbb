# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles say about their variables agrees: with each other, with the defaults, and with the modules."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.plugins.doc_fragments._engine import ModuleDocFragment
from ansible_collections.confidential_containers.runtime.plugins.module_utils._arguments import ENGINE_OPTIONS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import COLLECTION_VERSION
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _variables
from ansible_collections.confidential_containers.runtime.tests import generate

ROOT = Path(__file__).parents[3]
ROLES = ("install", "uninstall", "cleanup")


def load(path: str) -> t.Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def specs(role: str) -> dict[str, dict[str, t.Any]]:
    spec: dict[str, dict[str, t.Any]] = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return spec


EVERY_OPTION = {name: spec for role in ROLES for name, spec in specs(role).items()}
DEFAULTS = load("roles/common/defaults/main.yml")
KNOWN = _variables.KNOWN
#: Variables of playbooks, which no role has.
OF_PLAYBOOKS = {*_variables.OF_PLAYS, "coco_status_file"}


@pytest.mark.parametrize("role", ROLES)
def test_roles_that_share_an_option_say_the_same_of_it(role: str) -> None:
    assert (ROOT / generate.specs_of(role)).read_text(encoding="utf-8") == generate.with_shared_options(role)


@pytest.mark.parametrize("name", EVERY_OPTION)
def test_an_option_is_documented_and_known(name: str) -> None:
    assert EVERY_OPTION[name]["description"]
    assert EVERY_OPTION[name]["type"]
    assert name in KNOWN


def compared(spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what an argument spec says of types, for all keys of a mapping."""
    return {
        "type": (spec["type"], spec.get("elements")),
        "choices": list(spec.get("choices", ())),
        "options": {key: compared(part) for key, part in spec.get("options", {}).items()},
    }


def tabled(variable: _variables.Variable) -> dict[str, t.Any]:
    """Return the same of the table of variables."""
    return {
        "type": variable.kind.spec,
        "choices": list(variable.choices),
        "options": {key: tabled(part) for key, part in variable.keys.items()},
    }


@pytest.mark.parametrize("name", sorted({*EVERY_OPTION, *KNOWN} - OF_PLAYBOOKS))
def test_the_table_of_variables_is_what_the_specification_says(name: str) -> None:
    assert tabled(KNOWN[name]) == compared(EVERY_OPTION[name])
    assert EVERY_OPTION[name].get("default") == KNOWN[name].default


def test_the_readme_has_every_variable_once() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Variables")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `coco_")]
    assert sorted(name for cell in cells for name in re.findall(r"coco_\w+", cell)) == sorted(KNOWN)


@pytest.mark.parametrize(
    "name", sorted({*DEFAULTS, *(name for name, spec in EVERY_OPTION.items() if "default" in spec)})
)
def test_a_default_is_what_the_specification_says(name: str) -> None:
    assert name in DEFAULTS
    assert EVERY_OPTION[name]["default"] == DEFAULTS[name]


def test_names_are_sorted_and_unique() -> None:
    assert list(KNOWN) == sorted(KNOWN)
    assert list(_variables.LATER) == sorted(set(_variables.LATER))
    assert not set(KNOWN) & set(_variables.LATER)
    assert all(re.fullmatch(r"coco_[a-z_]+", name) for name in (*KNOWN, *_variables.LATER))


RAW = re.compile(r"(?<!\w)coco_[a-z_]+")


def expressions(path: Path) -> t.Iterator[str]:
    """Yield what Ansible evaluates in a file of tasks or variables, without texts in quotes and what a manifest says."""
    text = path.read_text(encoding="utf-8")
    found = re.findall(r"\{\{.*?\}\}", text, re.DOTALL) + re.findall(r"(?:when|that|until|failed_when): (.*)", text)
    yield from (re.sub(r"'[^']*'|_coco_manifest\.variables\.\w+", "''", part) for part in found)


def test_only_one_file_reads_the_variables_themselves() -> None:
    """All others read what is made of them: with -e, a list is a text, and false is a text that is true."""
    converting = ROOT / "roles/common/vars/main.yml"
    files = [path for folder in ("tasks", "vars") for path in (ROOT / "roles").glob(f"*/{folder}/*.yml")]
    for path in {*files, *(ROOT / "playbooks").rglob("*.yml")} - {converting}:
        for expression in expressions(path):
            for name in RAW.findall(expression):
                given = f"{name} | default(none)"
                assert f"{given} |" in expression or f"{given} is not none" in expression, (
                    f"{path}: read _{name}, not {name}"
                )
    for expression in expressions(converting):
        for name in RAW.findall(expression):
            ways = (f"{name} | default(none)", f"{{{{ {name} | confidential_containers.runtime.role_variable(")
            assert any(way in expression for way in ways), f"{name} is not converted"


def test_every_variable_that_is_read_is_known() -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")
    )
    assert set(RAW.findall(text)) - set(_variables.LATER) == {*KNOWN, "coco_nodes"}  # the group


@pytest.mark.parametrize("name", sorted({*KNOWN} - {"coco_payload", "coco_hosts", "coco_serial"}))
def test_every_variable_is_used(name: str) -> None:
    other = {
        "installer_volumes": "volumes",
        "installer_volume_mounts": "volume_mounts",
        "environment_variables": "variables",
    }
    made = "_coco_" + other.get(name.removeprefix("coco_"), name.removeprefix("coco_"))
    folders = (ROOT / "roles", ROOT / "playbooks")
    used = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.yml"))
    assert len(re.findall(rf"\b{made}\b", used)) > 1  # made, and read


@pytest.mark.parametrize(("group", "mark"), [("runtime", ""), ("engine", "._engine\n"), ("restart", "._restart\n")])
def test_a_group_of_modules_is_complete(group: str, mark: str) -> None:
    """Those of the last two have the options that the documentation fragment is about: test_engine_options shows what they are given."""
    modules = [path.stem for path in sorted((ROOT / "plugins/modules").glob("*.py")) if mark in path.read_text()]
    assert load("meta/runtime.yml")["action_groups"][group] == modules


def test_roles_and_modules_agree_about_the_engine() -> None:
    for option, spec in ENGINE_OPTIONS.items():
        ours = EVERY_OPTION[f"coco_{option}"]
        assert {key: ours.get(key) for key in ("type", "default", "choices")} == {
            key: spec.get(key) for key in ("type", "default", "choices")
        }


def test_the_engine_s_options_are_documented_as_they_are_read() -> None:
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert list(documented) == list(ENGINE_OPTIONS)
    for option, spec in ENGINE_OPTIONS.items():
        assert {key: value for key, value in documented[option].items() if key != "description"} == spec


def test_the_version_is_the_collection_s() -> None:
    assert load("galaxy.yml")["version"] == COLLECTION_VERSION
