# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters for manifests of the operator."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.confidential_containers.runtime.plugins.filter import (
    ccruntime_variables as variables_file,
)
from ansible_collections.confidential_containers.runtime.plugins.filter import (
    installer_environment as environment_file,
)
from ansible_collections.confidential_containers.runtime.plugins.filter.ccruntime_variables import ccruntime_variables
from ansible_collections.confidential_containers.runtime.plugins.filter.installer_environment import (
    installer_environment,
)

TEXT = """\
apiVersion: confidentialcontainers.org/v1beta1
kind: CcRuntime
spec:
  runtimeName: kata
  ccNodeSelector:
    matchLabels:
      node.kubernetes.io/worker: ""
  config:
    installType: bundle
    payloadImage: example.org/payload:1
    defaultRuntimeClassName: kata-qemu
    runtimeClasses:
    - {name: kata-qemu, snapshotter: overlayfs, pulltype: guest-pull}
    environmentVariables:
    - {name: TEMPLATE, value: "{{ 1 + 1 }}"}
"""


def test_a_manifest() -> None:
    assert ccruntime_variables(TEXT) == {
        "variables": {
            "coco_payload": "example.org/payload:1",
            "coco_handlers": ["kata-qemu"],
            "coco_handler_overrides": {"kata-qemu": {"snapshotter": "overlayfs"}},
            "coco_environment_variables": [{"name": "TEMPLATE", "value": "{{ 1 + 1 }}"}],
        },
        "runtime_classes": [{"name": "kata-qemu", "snapshotter": "overlayfs", "pulltype": "guest-pull"}],
        "default_runtime_class": "kata-qemu",
        "runtime_name": "kata",
        "node_selector": {"node.kubernetes.io/worker": ""},
        "notes": ["spec.config.installType is not used: a payload is always an image."],
    }


def test_the_result_is_plain() -> None:
    result = ccruntime_variables(TEXT)
    assert json.loads(json.dumps(result)) == result


def test_an_environment() -> None:
    manifest = ccruntime_variables(TEXT)
    assert installer_environment(
        manifest["runtime_classes"],
        "worker-1",
        default_runtime_class=manifest["default_runtime_class"],
        debug=t.cast("bool", "yes"),
        environment_variables=manifest["variables"]["coco_environment_variables"],
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
    ("ask", "message"),
    [
        (lambda: ccruntime_variables("kind: Pod"), "Expected one CcRuntime in the manifest. Found none, but Pod. Give"),
        (lambda: ccruntime_variables("a: ["), "Expected the manifest to be YAML. Found "),
        (lambda: installer_environment(t.cast("list[str]", "kata"), "n"), "Expected runtime_classes to be a list."),
        (lambda: installer_environment([], "n", debug=t.cast("bool", "maybe")), "'maybe' is not a valid boolean"),
    ],
)
def test_a_refusal_is_an_error_of_the_filter(ask: t.Callable[[], object], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as failed:
        ask()
    assert message in str(failed.value)


def test_the_filters_are_registered() -> None:
    assert variables_file.FilterModule().filters() == {"ccruntime_variables": ccruntime_variables}
    assert environment_file.FilterModule().filters() == {"installer_environment": installer_environment}
