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
from ansible_collections.confidential_containers.runtime.plugins.module_utils._module import ENGINE_OPTIONS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import COLLECTION_VERSION

ROOT = Path(__file__).parents[3]
ROLES = ("install", "uninstall", "cleanup")


def load(path: str) -> t.Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def specs(role: str) -> dict[str, dict[str, t.Any]]:
    spec: dict[str, dict[str, t.Any]] = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return spec


def written(role: str) -> dict[str, str]:
    """Return each option's lines, as they are written."""
    text = (ROOT / f"roles/{role}/meta/argument_specs.yml").read_text(encoding="utf-8")
    parts = re.split(r"^      (coco_\w+):\n", text.partition("    options:\n")[2], flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


EVERY_OPTION = {name: spec for role in ROLES for name, spec in specs(role).items()}
DEFAULTS = load("roles/common/defaults/main.yml")
VARS = load("roles/common/vars/main.yml")


@pytest.mark.parametrize("role", ROLES)
def test_options_are_read_as_they_are_written(role: str) -> None:
    assert list(written(role)) == list(specs(role))


@pytest.mark.parametrize("name", EVERY_OPTION)
def test_roles_that_share_an_option_say_the_same_of_it(name: str) -> None:
    assert len({written(role)[name] for role in ROLES if name in specs(role)}) == 1


@pytest.mark.parametrize("name", EVERY_OPTION)
def test_an_option_is_documented_and_known(name: str) -> None:
    assert EVERY_OPTION[name]["description"]
    assert EVERY_OPTION[name]["type"]
    assert name in VARS["_coco_known"]


@pytest.mark.parametrize(
    "name", sorted({*DEFAULTS, *(name for name, spec in EVERY_OPTION.items() if "default" in spec)})
)
def test_a_default_is_what_the_specification_says(name: str) -> None:
    assert name in DEFAULTS
    assert EVERY_OPTION[name]["default"] == DEFAULTS[name]


@pytest.mark.parametrize("names", ["_coco_known", "_coco_later"])
def test_names_are_sorted_and_unique(names: str) -> None:
    assert VARS[names] == sorted(set(VARS[names]))
    assert all(re.fullmatch(r"coco_[a-z_]+", name) for name in VARS[names])


def test_what_comes_later_is_not_known_yet() -> None:
    assert not set(VARS["_coco_known"]) & set(VARS["_coco_later"])


def test_every_variable_that_is_read_is_known() -> None:
    text = "".join(
        path.read_text(encoding="utf-8") for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")
    )
    read = set(re.findall(r"(?<![\w])coco_[a-z_]+", text)) - set(VARS["_coco_later"])
    assert read <= {*VARS["_coco_known"], "coco_nodes"}  # the group
    used = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles").rglob("tasks/*.yml"))
    used += (ROOT / "roles/install/vars/main.yml").read_text(encoding="utf-8")
    used += (ROOT / "roles/common/vars/main.yml").read_text(encoding="utf-8").partition("# What the user says")[2]
    used += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "playbooks").rglob("*.yml"))
    assert not [name for name in VARS["_coco_known"] if not re.search(rf"\b{name}\b", used)]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_passes_every_option_of_the_engine(role: str) -> None:
    for tasks in ("common", role):
        text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / f"roles/{tasks}/tasks").glob("*.yml"))
        for option in ENGINE_OPTIONS:
            if tasks == role or option != "engine_timeout":
                assert f'{option}: "{{{{ coco_{option}' in text, f"roles/{tasks} does not pass {option}"


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
