# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment of a payload's own installer."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.environment import of_installer
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import NODE_NAME, classes, variables

NONE = {
    "NODE_NAME": "worker-1",
    "DEBUG": "false",
    "DEFAULT_SHIM": "",
    "CREATE_DEFAULT_RUNTIMECLASS": "false",
    "CREATE_RUNTIMECLASSES": "true",
    "SHIMS": "",
    "SNAPSHOTTER_HANDLER_MAPPING": "",
    "PULL_TYPE_MAPPING": "",
}


@pytest.mark.parametrize(
    ("runtime_classes", "options", "expected"),
    [
        pytest.param([], {}, {}, id="nothing"),
        pytest.param(["kata-clh", "kata-qemu-tdx"], {}, {"SHIMS": "clh qemu-tdx"}, id="names"),
        pytest.param(classes("", "enclave-cc"), {}, {"SHIMS": "enclave-cc"}, id="enclave-cc"),
        pytest.param(classes("", "kata", "kata-qemu"), {}, {"SHIMS": "qemu"}, id="kata is no shim"),
        pytest.param(
            [*classes("nydus", "kata-a", "kata-b", pulltype="guest-pull"), *classes("", "kata-c")],
            {},
            {
                "SHIMS": "a b c",
                "SNAPSHOTTER_HANDLER_MAPPING": "a:nydus,b:nydus",
                "PULL_TYPE_MAPPING": "a:guest-pull,b:guest-pull",
            },
            id="mappings",
        ),
        pytest.param([], {"debug": True}, {"DEBUG": "true"}, id="debug"),
        pytest.param(
            [],
            {"default_runtime_class": "kata-qemu"},
            {"DEFAULT_SHIM": "qemu", "CREATE_DEFAULT_RUNTIMECLASS": "true"},
            id="default",
        ),
        pytest.param([], {"default_runtime_class": "enclave-cc"}, {}, id="a default without kata-"),
        pytest.param(
            [],
            {"default_runtime_class": "kata-qemu", "create_runtime_classes": False},
            {"DEFAULT_SHIM": "qemu", "CREATE_RUNTIMECLASSES": "false"},
            id="no classes",
        ),
        pytest.param(
            [],
            {"environment_variables": [NODE_NAME, *variables(DEBUG="yes", MINE="x"), {"name": "EMPTY"}]},
            {"DEBUG": "yes", "MINE": "x", "EMPTY": ""},
            id="the user's",
        ),
        pytest.param(
            ["kata-qemu"],
            {
                "environment_variables": [
                    {**NODE_NAME, "name": "HOST"},
                    *variables(A="$(HOST) $(SHIMS) $(B)", B="$$(A)"),
                ]
            },
            {"SHIMS": "qemu", "HOST": "worker-1", "A": "worker-1 qemu $(B)", "B": "$(A)"},
            id="from others",
        ),
        pytest.param(
            [], {"environment_variables": [*variables(A="1"), *variables(A="2")]}, {"A": "2"}, id="the later wins"
        ),
    ],
)
def test_environment(runtime_classes: list[t.Any], options: dict[str, t.Any], expected: dict[str, str]) -> None:
    assert of_installer(runtime_classes, "worker-1", **options) == {**NONE, **expected}


@pytest.mark.parametrize(
    ("runtime_classes", "environment_variables", "message"),
    [
        ("kata-qemu", [], "Expected runtime_classes to be a list. Found text."),
        ([{"snapshotter": "x"}], [], "Expected runtime_classes[0].name in the manifest. Found nothing."),
        ([], {"A": "b"}, "Expected coco_environment_variables to be a list. Found a mapping."),
        ([], [{"name": "A", "value": 1}], "Expected coco_environment_variables[0].value to be text."),
    ],
)
def test_environment_of_something_else(runtime_classes: t.Any, environment_variables: t.Any, message: str) -> None:
    with pytest.raises(Refusal) as refused:
        of_installer(runtime_classes, "worker-1", environment_variables=environment_variables)
    assert message in str(refused.value)
