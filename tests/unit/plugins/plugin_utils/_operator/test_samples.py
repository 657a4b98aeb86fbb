# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifests that the operator's releases publish, and what becomes of them."""

from __future__ import annotations

import copy
import typing as t

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.classes import RuntimeClass
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.manifest import Manifest, parse
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import (
    NODE_NAME,
    a_manifest,
    a_mount,
    a_volume,
    classes,
    variables,
)

KATA_DEPLOY = "/opt/kata-artifacts/scripts/kata-deploy.sh"
ENCLAVE_CC = "/opt/enclave-cc-artifacts/scripts/enclave-cc-deploy.sh"
WORKER = {"node.kubernetes.io/worker": ""}
BUNDLE = "spec.config.installType is not used: a payload is always an image."
NYDUS = (
    "The snapshotter nydus is not part of containerd: if the engine does not know it, register it with"
    " coco_proxy_plugins."
)


def parsed(snapshotter: str, *names: str, pulltype: str = "") -> list[RuntimeClass]:
    return [RuntimeClass(name, snapshotter, pulltype) for name in names]


def the_installer(script: str, label: str) -> dict[str, t.Any]:
    """Return the commands and labels of a published sample."""
    return {
        "installCmd": [script, "install"],
        "uninstallCmd": [script, "cleanup"],
        "cleanupCmd": [script, "reset"],
        "installDoneLabel": {label: "true"},
        "uninstallDoneLabel": {label: "cleanup"},
    }


def their_variables(config: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "coco_payload": config["payloadImage"],
        "coco_install_cmd": config["installCmd"],
        "coco_uninstall_cmd": config["uninstallCmd"],
        "coco_cleanup_cmd": config["cleanupCmd"],
        "coco_install_done_label": config["installDoneLabel"],
        "coco_uninstall_done_label": config["uninstallDoneLabel"],
        "coco_installer_volumes": config["installerVolumes"],
        "coco_installer_volume_mounts": config["installerVolumeMounts"],
        "coco_environment_variables": config["environmentVariables"],
    }


KATA_VOLUMES = {
    "installerVolumes": [
        a_volume("containerd-conf", "/etc/containerd/"),
        a_volume("local-bin", "/usr/local/bin/"),
        a_volume("host", "/"),
    ],
    "installerVolumeMounts": [
        a_mount("containerd-conf", "/etc/containerd/"),
        a_mount("local-bin", "/usr/local/bin/"),
        a_mount("host", "/host/"),
    ],
}
HOOK = {
    "image": "quay.io/confidential-containers/reqs-payload:1",
    "volumes": [
        a_volume("artifacts", "/opt/confidential-containers/", "DirectoryOrCreate"),
        a_volume("units", "/etc/systemd/system/"),
    ],
    "volumeMounts": [a_mount("artifacts", "/opt/confidential-containers/"), a_mount("units", "/etc/systemd/system/")],
    "environmentVariables": variables(INSTALL_COCO_CONTAINERD="true"),
}
KATA = {
    **the_installer(KATA_DEPLOY, "katacontainers.io/kata-runtime"),
    **KATA_VOLUMES,
    "payloadImage": "quay.io/kata-containers/kata-deploy:3.15.0",
    "environmentVariables": [NODE_NAME, *variables(CONFIGURE_CC="yes", INSTALL_NYDUS_SNAPSHOTTER="true")],
    "debug": False,
}
DEFAULT = {
    **KATA,
    "runtimeClasses": [
        *classes("", "kata-clh", "kata-qemu"),
        *classes("nydus", "kata-qemu-coco-dev", "kata-qemu-tdx", "kata-qemu-snp", pulltype="guest-pull"),
    ],
    "defaultRuntimeClassName": "kata-qemu",
    "preInstall": HOOK,
    "postUninstall": HOOK,
}
S390X = {
    **KATA,
    "runtimeClasses": classes("nydus", "kata-qemu", "kata-qemu-se"),
    "defaultRuntimeClassName": "kata-qemu",
}
PEER_PODS = {**KATA, "runtimeClasses": classes("nydus", "kata-remote")}
# Confidential Containers 0.2 to 0.7: names only, and the host's systemd over D-Bus.
OLD = {
    **the_installer(KATA_DEPLOY, "katacontainers.io/kata-runtime"),
    "payloadImage": "quay.io/confidential-containers/runtime-payload:kata-containers-1",
    "installerVolumes": [
        a_volume("artifacts", "/opt/confidential-containers/", "DirectoryOrCreate"),
        a_volume("dbus", "/var/run/dbus/system_bus_socket"),
        a_volume("systemd", "/run/systemd/system"),
    ],
    "installerVolumeMounts": [
        a_mount("artifacts", "/opt/confidential-containers/"),
        a_mount("dbus", "/var/run/dbus/system_bus_socket"),
        a_mount("systemd", "/run/systemd/system"),
    ],
    "environmentVariables": [NODE_NAME, *variables(CONFIGURE_CC="yes")],
    "runtimeClassNames": ["kata", "kata-clh", "kata-qemu"],
}
ENCLAVE = {
    **the_installer(ENCLAVE_CC, "confidentialcontainers.org/enclave-cc"),
    "payloadImage": "quay.io/confidential-containers/runtime-payload:enclave-cc-HW-cc-kbc-1",
    "installerVolumes": [a_volume("enclave-cc-conf", "/etc/enclave-cc/", "DirectoryOrCreate")],
    "installerVolumeMounts": [a_mount("enclave-cc-conf", "/etc/enclave-cc/")],
    "environmentVariables": [NODE_NAME, *variables(CONFIGURE_CC="yes", DECRYPT_CONFIG="e30K")],
    "runtimeClasses": classes("overlayfs", "enclave-cc"),
}
SGX = {"intel.feature.node.kubernetes.io/sgx": "true"}

SAMPLES = [
    pytest.param(
        a_manifest(DEFAULT, ccNodeSelector={"matchLabels": WORKER}),
        Manifest(
            variables={
                **their_variables(DEFAULT),
                "coco_debug": False,
                "coco_pre_install": HOOK,
                "coco_post_uninstall": HOOK,
                "coco_handlers": ["kata-clh", "kata-qemu", "kata-qemu-coco-dev", "kata-qemu-tdx", "kata-qemu-snp"],
                "coco_handler_overrides": {
                    "kata-qemu-coco-dev": {"snapshotter": "nydus"},
                    "kata-qemu-tdx": {"snapshotter": "nydus"},
                    "kata-qemu-snp": {"snapshotter": "nydus"},
                },
            },
            runtime_classes=[
                *parsed("", "kata-clh", "kata-qemu"),
                *parsed("nydus", "kata-qemu-coco-dev", "kata-qemu-tdx", "kata-qemu-snp", pulltype="guest-pull"),
            ],
            default_runtime_class="kata-qemu",
            runtime_name="kata",
            node_selector=WORKER,
            notes=[BUNDLE, NYDUS],
        ),
        id="default",
    ),
    pytest.param(
        a_manifest(S390X, ccNodeSelector={"matchLabels": WORKER}),
        Manifest(
            variables={
                **their_variables(S390X),
                "coco_debug": False,
                "coco_handlers": ["kata-qemu", "kata-qemu-se"],
                "coco_handler_overrides": {
                    "kata-qemu": {"snapshotter": "nydus"},
                    "kata-qemu-se": {"snapshotter": "nydus"},
                },
            },
            runtime_classes=parsed("nydus", "kata-qemu", "kata-qemu-se"),
            default_runtime_class="kata-qemu",
            runtime_name="kata",
            node_selector=WORKER,
            notes=[BUNDLE, NYDUS],
        ),
        id="s390x",
    ),
    pytest.param(
        a_manifest(PEER_PODS),
        Manifest(
            variables={
                **their_variables(PEER_PODS),
                "coco_debug": False,
                "coco_handlers": ["kata-remote"],
                "coco_handler_overrides": {"kata-remote": {"snapshotter": "nydus"}},
            },
            runtime_classes=parsed("nydus", "kata-remote"),
            default_runtime_class="",
            runtime_name="kata",
            node_selector={},
            notes=[BUNDLE, NYDUS],
        ),
        id="peer-pods",
    ),
    pytest.param(
        a_manifest(OLD, ccNodeSelector={"matchLabels": {"node-role.kubernetes.io/worker": ""}}),
        Manifest(
            variables={**their_variables(OLD), "coco_handlers": ["kata-clh", "kata-qemu"]},
            runtime_classes=parsed("", "kata", "kata-clh", "kata-qemu"),
            default_runtime_class="kata-qemu",
            runtime_name="kata",
            node_selector={"node-role.kubernetes.io/worker": ""},
            notes=[
                BUNDLE,
                "The class kata is another name of the default class, kata-qemu, and no handler of its own.",
            ],
        ),
        id="names only, with kata among them",
    ),
    pytest.param(
        a_manifest(ENCLAVE, runtimeName="enclave-cc", ccNodeSelector={"matchLabels": {**WORKER, **SGX}}),
        Manifest(
            variables={
                **their_variables(ENCLAVE),
                "coco_handlers": ["enclave-cc"],
                "coco_handler_overrides": {"enclave-cc": {"snapshotter": "overlayfs"}},
            },
            runtime_classes=parsed("overlayfs", "enclave-cc"),
            default_runtime_class="",
            runtime_name="enclave-cc",
            node_selector={**WORKER, **SGX},
            notes=[BUNDLE],
        ),
        id="enclave-cc, hardware",
    ),
    pytest.param(
        a_manifest({**ENCLAVE, "payloadImage": "example.org/enclave-cc-SIM:1"}, runtimeName="enclave-cc"),
        Manifest(
            variables={
                **their_variables(ENCLAVE),
                "coco_payload": "example.org/enclave-cc-SIM:1",
                "coco_handlers": ["enclave-cc"],
                "coco_handler_overrides": {"enclave-cc": {"snapshotter": "overlayfs"}},
            },
            runtime_classes=parsed("overlayfs", "enclave-cc"),
            default_runtime_class="",
            runtime_name="enclave-cc",
            node_selector={},
            notes=[BUNDLE],
        ),
        id="enclave-cc, simulation",
    ),
]


@pytest.mark.parametrize(("manifest", "expected"), SAMPLES)
def test_published_samples(manifest: dict[str, t.Any], expected: Manifest) -> None:
    before = copy.deepcopy(manifest)
    assert parse(manifest) == expected
    assert parse(yaml.safe_dump(manifest)) == expected
    assert manifest == before
