# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter for the environment of a payload's own installer."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.confidential_containers.runtime.plugins.filter.installer_environment import (
    FilterModule,
    installer_environment,
)
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import variables


def test_an_environment() -> None:
    assert installer_environment(
        [{"name": "kata-qemu", "snapshotter": "overlayfs", "pulltype": "guest-pull"}],
        "worker-1",
        default_runtime_class="kata-qemu",
        debug=t.cast("bool", "yes"),
        environment_variables=variables(TEMPLATE="{{ 1 + 1 }}"),
        create_runtime_classes=t.cast("bool", "false"),
    ) == {
        "NODE_NAME": "worker-1",
        "DEBUG": "true",
        "DEFAULT_SHIM": "qemu",
        "CREATE_DEFAULT_RUNTIMECLASS": "false",
        "CREATE_RUNTIMECLASSES": "false",
        "SHIMS": "qemu",
        "SNAPSHOTTER_HANDLER_MAPPING": "qemu:overlayfs",
        "PULL_TYPE_MAPPING": "qemu:guest-pull",
        "TEMPLATE": "{{ 1 + 1 }}",
    }


@pytest.mark.parametrize(
    ("classes", "debug", "message"),
    [
        ("kata", False, "Expected runtime_classes to be a list."),
        ([], "maybe", "'maybe' is not a valid boolean"),
    ],
)
def test_a_refusal_is_an_error_of_the_filter(classes: t.Any, debug: t.Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as failed:
        installer_environment(classes, "n", debug=debug)
    assert message in str(failed.value)


def test_the_filter_is_registered() -> None:
    assert FilterModule().filters() == {"installer_environment": installer_environment}
