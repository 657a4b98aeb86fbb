# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mistakes in the contents of variables are found before a payload is sent. tests/unit/playbooks has the rest."""

from __future__ import annotations

import typing as t

import pytest
from ansible import errors

from ansible_collections.confidential_containers.runtime.plugins.action import check_variables
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml

INSTALL = ["coco_payload"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"coco_handler_overrides": {"kata-qemu": {"snapshoter": "nydus"}}},
            "keys of a handler in coco_handler_overrides.kata-qemu. Found snapshoter (did you mean snapshotter?)",
        ),
        (
            {"coco_handler_overrides": {"kata-qemu": {"snapshotter": ["nydus"]}}},
            "Expected text in coco_handler_overrides.kata-qemu.snapshotter.",
        ),
        ({"coco_proxy_plugins": {"nydus": {"type": "snapshot"}}}, "Found no address"),
        ({"coco_environment_variables": [{"value": "x"}]}, "coco_environment_variables[0].name"),
        ({"coco_installer_volumes": [{"name": "v", "secret": {}}]}, "coco_installer_volumes[0].secret"),
        (
            {"coco_pre_install": {"image": "x", "volumeMounts": [{"name": "v"}]}},
            "coco_pre_install.volumeMounts[0].mountPath",
        ),
    ],
)
def test_contents(values: dict[str, t.Any], words: str) -> None:
    said = [str(refusal) for refusal in check_variables._contents(values, INSTALL)]
    assert len(said) == 1
    assert words in said[0]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("[{'name': 'DB', 'value': 'hunter2'}]: 'nix' is undefined. 'nix' is undefined", ": 'nix' is undefined"),
        ("{'password': 'hunter2'} has no attribute 'user'", ": has no attribute 'user'"),
        ("An unhandled exception occurred while running the lookup plugin: hunter2", "none. Set"),
    ],
)
def test_an_error_of_a_template_quotes_no_value(message: str, why: str) -> None:
    said = str(check_variables._no_value("coco_environment_variables", errors.AnsibleError(message)))
    assert why in said
    assert "hunter2" not in said


def test_an_option_s_value_is_not_said() -> None:
    values = {"coco_handler_overrides": {"kata-qemu": {"options": {"token": "hunter2", "nothing": None}}}}
    (said,) = map(str, check_variables._contents(values, INSTALL))
    assert "coco_handler_overrides.kata-qemu.options.nothing" in said
    assert "hunter2" not in said


def test_a_missing_library_is_told_before_the_payload_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toml, "HAS_TOMLKIT", False)
    assert "pip install tomlkit" in " ".join(map(str, check_variables._contents({}, INSTALL)))
    assert not list(check_variables._contents({"coco_installer": "payload"}, INSTALL))
    assert not list(check_variables._contents({}, []))  # status works without it
