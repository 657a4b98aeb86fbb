# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of a CcRuntime manifest."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.manifest import parse
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import a_manifest, classes

PAYLOAD = {"coco_payload": "example.org/payload:1"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({}, PAYLOAD, id="nothing"),
        pytest.param({"payloadImage": ""}, {}, id="an empty image"),
        pytest.param({"debug": True}, {**PAYLOAD, "coco_debug": True}, id="debug"),
        pytest.param({"debug": False}, {**PAYLOAD, "coco_debug": False}, id="no debug"),
        pytest.param(
            {"installCmd": [], "installerVolumes": [], "installDoneLabel": {}, "runtimeClasses": []},
            PAYLOAD,
            id="empty lists",
        ),
        pytest.param({"runtimeClassNames": [""]}, PAYLOAD, id="a class without a name, as in a sample"),
        pytest.param({"runtimeClasses": classes("nydus", "kata")}, PAYLOAD, id="kata only"),
        pytest.param(
            {"runtimeClasses": [{"name": "kata-qemu"}], "runtimeClassNames": ["kata-qemu", "kata-clh"]},
            {**PAYLOAD, "coco_handlers": ["kata-qemu", "kata-clh"]},
            id="both spellings, a class twice",
        ),
        pytest.param({"preInstall": {"volumes": []}, "postUninstall": {}}, PAYLOAD, id="hooks without an image"),
        pytest.param(
            {"preInstall": {"image": "example.org/hook:1", "cmd": ["x"]}},
            {**PAYLOAD, "coco_pre_install": {"image": "example.org/hook:1", "cmd": ["x"]}},
            id="a hook",
        ),
        pytest.param(
            {"installerVolumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "default"}]},
            {
                **PAYLOAD,
                "coco_installer_volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "default"}],
            },
            id="empty directories",
        ),
        pytest.param(
            {
                "installerVolumeMounts": [
                    {"name": "x", "mountPath": "/x", "readOnly": True, "subPath": "y", "mountPropagation": "None"}
                ]
            },
            {
                **PAYLOAD,
                "coco_installer_volume_mounts": [
                    {"name": "x", "mountPath": "/x", "readOnly": True, "subPath": "y", "mountPropagation": "None"}
                ],
            },
            id="a mount with all that there is",
        ),
    ],
)
def test_variables(config: dict[str, t.Any], expected: dict[str, t.Any]) -> None:
    assert parse(a_manifest(config)).variables == expected


@pytest.mark.parametrize(
    ("manifest", "note"),
    [
        (a_manifest({"installType": "osnative"}), "spec.config.installType is not used: a payload is always an image."),
        (a_manifest({"runtimeImage": "x"}), "spec.config.runtimeImage is not used: nothing reads it,"),
        (a_manifest({"guestKernelImage": "x"}), "spec.config.guestKernelImage is not used"),
        (a_manifest({"guestInitrdImage": "x"}), "spec.config.guestInitrdImage is not used"),
        (a_manifest({"osNativeRepo": "x"}), "spec.config.osNativeRepo is not used"),
        (a_manifest({"imagePullPolicy": "Always"}), "spec.config.imagePullPolicy is not used"),
        (a_manifest({"imagePullSecret": {"name": "x"}}), "so give its credentials in coco_registry_auth."),
        (a_manifest({"ImagePullSecret": {"name": "x"}}), "spec.config.ImagePullSecret is not used"),
        (a_manifest({"preInstall": {"cmd": ["x"]}}), "spec.config.preInstall is not used: without an image,"),
        (
            a_manifest({"postUninstall": {"image": "x", "cmd": ["x"]}}),
            "spec.config.postUninstall.cmd is run, while the operator runs its own script in the image",
        ),
        (
            a_manifest(ccTolerations=[{"key": "x", "operator": "Exists", "tolerationSeconds": 1}]),
            "spec.ccTolerations is not used",
        ),
        (
            a_manifest(ccNodeSelector={"matchExpressions": [{"key": "x", "operator": "In", "values": ["y"]}]}),
            "spec.ccNodeSelector.matchExpressions is not used: the operator acts on matchLabels only.",
        ),
        (
            a_manifest({"runtimeClassNames": ["kata", "kata-clh"]}),
            "The class kata is another name of the default class, which the manifest does not name,",
        ),
        (
            a_manifest({"runtimeClassNames": ["kata"], "defaultRuntimeClassName": "kata-clh"}),
            "The class kata is another name of the default class, kata-clh, and no handler of its own.",
        ),
        (a_manifest({"runtimeClasses": classes("mine", "kata-x", "kata-y")}), "The snapshotter mine is not part of"),
    ],
)
def test_notes(manifest: dict[str, t.Any], note: str) -> None:
    notes = parse(manifest).notes
    assert len([line for line in notes if note in line]) == 1
    assert all(line.endswith(".") for line in notes)


def test_what_a_cluster_adds_is_not_read() -> None:
    manifest = a_manifest()
    manifest["metadata"].update(
        uid="x", generation=2, managedFields=[{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    )
    manifest["status"] = {"runtimeClass": "", "totalNodesCount": 3, "installationStatus": {"anything": None}}
    assert parse(manifest) == parse(a_manifest())


@pytest.mark.parametrize("selector", [None, {}, {"matchLabels": {}}])
def test_no_selector(selector: t.Any) -> None:
    assert parse(a_manifest(ccNodeSelector=selector)).node_selector == {}
