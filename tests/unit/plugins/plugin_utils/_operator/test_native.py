# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a native installation makes of the environment of a payload's own installer: nothing of it vanishes."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.native import Settings, settings
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import variables

#: By variable: a value, what is done or said.
DONE: list[tuple[dict[str, str], Settings]] = [
    ({}, Settings()),
    ({"INSTALLATION_PREFIX": "/srv/"}, Settings(prefix="/srv/opt/kata")),
    ({"INSTALLATION_PREFIX": ""}, Settings()),
    ({"SHIMS": " qemu qemu-snp"}, Settings(handlers=["kata-qemu", "kata-qemu-snp"])),
    (
        {"SNAPSHOTTER_HANDLER_MAPPING": "qemu:nydus,qemu-snp:erofs"},
        Settings(overrides={"kata-qemu": {"snapshotter": "nydus"}, "kata-qemu-snp": {"snapshotter": "erofs"}}),
    ),
    ({"DEBUG": "false", "CREATE_RUNTIMECLASSES": "false", "AGENT_NO_PROXY": "", "NODE_NAME": "n"}, Settings()),
]
SAID = {
    "AGENT_HTTPS_PROXY": "agent.https_proxy",
    "AGENT_NO_PROXY": "agent.no_proxy",
    "ALLOWED_HYPERVISOR_ANNOTATIONS": "enable_annotations",
    "ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64": "enable_annotations",
    "CONFIGURE_CC": "set coco_installer to payload",
    "CONTAINERD_CONFIG_FILE_NAME": "coco_engine_config",
    "CREATE_RUNTIMECLASSES": "kubectl apply",
    "DEBUG": "enable_debug",
    "EXPERIMENTAL_FORCE_GUEST_PULL": "experimental_force_guest_pull",
    "EXPERIMENTAL_SETUP_SNAPSHOTTER": "coco_proxy_plugins",
    "MULTI_INSTALL_SUFFIX": "take it out",
    "PULL_TYPE_MAPPING": "nydus",
    "SHIMS_S390X": "coco_handlers",
    "SNAPSHOTTER_HANDLER_MAPPING_AARCH64": "coco_handler_overrides",
}


@pytest.mark.parametrize(("given", "expected"), DONE)
def test_what_a_variable_of_ours_does_is_done(given: dict[str, str], expected: Settings) -> None:
    assert settings(variables(**given)) == expected


@pytest.mark.parametrize(("name", "says"), SAID.items())
def test_about_the_rest_there_is_one_note_each(name: str, says: str) -> None:
    found = settings(variables(**{name: "hunter2"}))
    (note,) = found.notes
    assert note.startswith(f"{name} is not used with coco_installer=native: ")
    assert says in note
    assert "hunter2" not in note
    assert found == Settings(notes=[note])


def test_the_last_one_counts() -> None:
    assert settings([*variables(SHIMS="clh"), *variables(SHIMS="qemu")]).handlers == ["kata-qemu"]


def test_values_of_other_variables() -> None:
    given = variables(ROOT="/srv", INSTALLATION_PREFIX="$(ROOT)/coco")
    assert settings(given).prefix == "/srv/coco/opt/kata"
    name = {"name": "INSTALLATION_PREFIX", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    assert settings([name]).prefix == ""


def test_what_is_no_environment() -> None:
    for wrong in ([{"value": "x"}], ["x"], {"X": "y"}):
        with pytest.raises(Refusal, match="coco_environment_variables"):
            settings(t.cast("list[dict[str, t.Any]]", wrong))


def test_what_is_no_class() -> None:
    for wrong in ([{"pulltype": "guest-pull"}], [None], "kata-qemu"):
        with pytest.raises(Refusal, match="runtime_classes"):
            settings([], t.cast("list[str]", wrong))


def test_what_is_for_hooks_is_theirs() -> None:
    given = variables(INSTALL_NYDUS_SNAPSHOTTER="true", AGENT_NO_PROXY="x")
    assert [note.partition(" ")[0] for note in settings(given, hooks=True).notes] == ["AGENT_NO_PROXY"]
    assert len(settings(given).notes) == 2


def test_classes_and_debug() -> None:
    classes = [{"name": f"kata-{kind}", "pulltype": kind} for kind in ("", "default", "guest-pull")]
    (debug, pull) = settings([], classes, debug=True).notes
    assert debug.startswith("debug is not used")
    assert pull.startswith("pulltype guest-pull of kata-guest-pull is not used")


def test_a_handler_that_the_user_names_has_no_class() -> None:
    assert settings([], ["kata-qemu", {"name": "kata-clh", "pulltype": ""}]) == Settings()


def test_a_prefix_that_is_none() -> None:
    with pytest.raises(Refusal, match=r"Found srv\. Write /srv"):
        settings(variables(INSTALLATION_PREFIX="srv"))


def test_handlers_that_are_only_named() -> None:
    """As coco_handlers has them, beside those of a manifest."""
    classes: list[str | dict[str, str]] = [
        "kata-qemu",
        {"name": "kata-clh", "snapshotter": "", "pulltype": "guest-pull"},
    ]
    assert settings([], classes) == settings([], classes[1:])
    assert settings([], ["kata-qemu"]) == Settings()
