# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter for manifests of the operator."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.confidential_containers.runtime.plugins.filter.ccruntime_variables import (
    FilterModule,
    ccruntime_variables,
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod", "Expected one CcRuntime in the manifest. Found none, but Pod. Give"),
        ("a: [", "Expected the manifest to be YAML. Found "),
    ],
)
def test_a_refusal_is_an_error_of_the_filter(text: str, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as failed:
        ccruntime_variables(text)
    assert message in str(failed.value)


def test_the_filter_is_registered() -> None:
    assert FilterModule().filters() == {"ccruntime_variables": ccruntime_variables}
