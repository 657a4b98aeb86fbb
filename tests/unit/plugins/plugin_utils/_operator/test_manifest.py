# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CcRuntime manifests: what becomes of them, and what is refused."""

from __future__ import annotations

import copy
import time
import typing as t

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import crd
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.crd import (
    Manifest,
    environment,
    parse,
)

KATA_DEPLOY = "/opt/kata-artifacts/scripts/kata-deploy.sh"
ENCLAVE_CC = "/opt/enclave-cc-artifacts/scripts/enclave-cc-deploy.sh"
WORKER = {"node.kubernetes.io/worker": ""}
BUNDLE = "spec.config.installType is not used: a payload is always an image."
NYDUS = (
    "The snapshotter nydus is not part of containerd: if the engine does not know it, register it with"
    " coco_proxy_plugins."
)
NODE_NAME = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}


def a_manifest(config: dict[str, t.Any] | None = None, **spec: t.Any) -> dict[str, t.Any]:
    """Return a small manifest that the CRD allows, with these fields on top."""
    return {
        "apiVersion": "confidentialcontainers.org/v1beta1",
        "kind": "CcRuntime",
        "metadata": {"name": "ccruntime"},
        "spec": {
            "runtimeName": "kata",
            "config": {"installType": "bundle", "payloadImage": "example.org/payload:1", **(config or {})},
            **spec,
        },
    }


def a_volume(name: str, path: str, kind: str = "") -> dict[str, t.Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def a_mount(name: str, path: str) -> dict[str, str]:
    return {"name": name, "mountPath": path}


def variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def classes(snapshotter: str, *names: str, pulltype: str = "") -> list[dict[str, str]]:
    return [{"name": name, "snapshotter": snapshotter, "pulltype": pulltype} for name in names]


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
            runtime_classes=t.cast("list[dict[str, str]]", DEFAULT["runtimeClasses"]),
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
            runtime_classes=classes("nydus", "kata-qemu", "kata-qemu-se"),
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
            runtime_classes=classes("nydus", "kata-remote"),
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
            runtime_classes=classes("", "kata", "kata-clh", "kata-qemu"),
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
            runtime_classes=classes("overlayfs", "enclave-cc"),
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
            runtime_classes=classes("overlayfs", "enclave-cc"),
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


# The text of a stream

TEXT = yaml.safe_dump(a_manifest())
OTHERS = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x\n"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"---\n{TEXT}", id="a marker"),
        pytest.param(f"{OTHERS}---\n---\n# a comment\n{TEXT}---\n{OTHERS}", id="several documents, an empty one"),
        pytest.param(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [a_manifest()]}), id="kubectl get"),
        pytest.param(yaml.safe_dump(a_manifest(), default_flow_style=True), id="in braces"),
        pytest.param("\ufeff" + TEXT, id="a byte order mark"),
        pytest.param(TEXT.replace("\n", "\r\n"), id="line ends of Windows"),
    ],
)
def test_one_in_a_stream(text: str) -> None:
    assert parse(text) == parse(a_manifest())


HEAD = """\
apiVersion: confidentialcontainers.org/v1beta1
kind: CcRuntime
spec:
  runtimeName: kata
  config:
    installType: bundle
    payloadImage: example.org/payload:1
"""


def test_aliases_and_merges() -> None:
    text = f"""{HEAD}
    preInstall: &hook
      image: example.org/hook:1
      volumes: &volumes
      - &volume {{name: x, hostPath: {{path: /x}}}}
    postUninstall:
      <<: *hook
      image: example.org/hook:2
    installerVolumes: *volumes
"""
    hook = {"image": "example.org/hook:1", "volumes": [{"name": "x", "hostPath": {"path": "/x"}}]}
    found = parse(text).variables
    assert found["coco_pre_install"] == hook
    assert found["coco_post_uninstall"] == {**hook, "image": "example.org/hook:2"}
    assert found["coco_installer_volumes"] == hook["volumes"]
    # What is changed later in one place stays there.
    assert found["coco_installer_volumes"] is not found["coco_pre_install"]["volumes"]


@pytest.mark.parametrize("value", ["2026-01-01", "2026-99-99", "1:30", "1:30.5", "1e3", "0.1.2"])
def test_text_that_only_some_take_for_something_else(value: str) -> None:
    text = f"{HEAD}    installDoneLabel:\n      x: {value}\n"
    assert parse(text).variables["coco_install_done_label"] == {"x": value}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", "Found nothing.", id="nothing"),
        pytest.param("---\n# a comment\n---\n", "Found nothing.", id="empty documents"),
        pytest.param("/path/of/it.yaml", "Found none, but text.", id="a path"),
        pytest.param("- a\n", "Found none, but a list.", id="a list"),
        pytest.param("a: 1\n", "Found none, but a mapping.", id="a mapping"),
        pytest.param(f"{OTHERS}---\nkind: Service\n", "Found none, but Namespace, Service.", id="others"),
        pytest.param("kind: Kustomization\n", "with kubectl kustomize DIRECTORY.", id="a kustomization"),
        pytest.param(TEXT.replace("CcRuntime", "ccruntime"), "Found none, but ccruntime.", id="another kind"),
        pytest.param(
            f"{TEXT}---\n{TEXT.replace('name: ccruntime', 'name: other')}", "Found 2: ccruntime, other.", id="two"
        ),
        pytest.param(
            yaml.safe_dump({"kind": "CcRuntimeList", "items": [{"kind": "CcRuntime"}] * 7}),
            "Found 7: one without a name, one without a name",
            id="a list of many",
        ),
    ],
)
def test_not_one_in_a_stream(text: str, found: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert "Expected one CcRuntime in the manifest. " in str(refused.value)
    assert found in str(refused.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("a: [1\nb: 2\n", "in line 2", id="a bracket that is not closed"),
        pytest.param("a:\n\tb: 1\n", "character '\\t' that cannot start any token in line 2", id="a tab"),
        pytest.param("a: 1\n b: 2\n", "mapping values are not allowed here in line 2", id="indented"),
        pytest.param("a: *x\n", "undefined alias 'x' in line 1", id="an unknown alias"),
        pytest.param("a: 1\nb: 2\na: 3\n", "the key a again in line 3", id="a key twice"),
        pytest.param(f"{TEXT}---\na: 1\n'a': 3\n", "the key a again in line", id="a key twice, in another document"),
        pytest.param("a:\n  <<: {b: 1}\n  <<: {b: 2}\n", "the key << again in line 3", id="a merge twice"),
        pytest.param("\na: !vault x\n", "tag '!vault' in line 2", id="a vault"),
        pytest.param("a: !!python/object/apply:os.system [id]\n", "os.system' in line 1", id="an object"),
        pytest.param("\n\na: !!timestamp x\n", "no value of its type in line 3", id="no date"),
        pytest.param("\na: !!bool x\n", "no value of its type in line 2", id="neither true nor false"),
        pytest.param("\na: 0x_\n", "no value of its type in line 2", id="no number"),
        pytest.param(f"\na: {'9' * 9000}\n", "no value of its type in line 2", id="a long number"),
        pytest.param("? [a]\n: 1\n", "unhashable key in line 1", id="a list as a key"),
        pytest.param("a: 1\nb: \x00\n", "a character that YAML does not allow in line 2", id="a null character"),
        pytest.param("&a [*a]: 1\n", "unhashable key", id="a key that holds itself"),
    ],
)
def test_broken_yaml(text: str, found: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert str(refused.value).startswith("Expected the manifest to be YAML. Found ")
    assert found in refused.value.found
    assert "found found" not in str(refused.value).lower()


def chained(line: str, count: int) -> str:
    """Return HEAD with mappings below metadata that refer to each other."""
    return HEAD + "metadata:\n  a0: &a0 {x: y}\n" + "".join(f"  {line.format(i=i, j=i - 1)}\n" for i in range(1, count))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("x" * (crd.LIMIT + 1), f"{crd.LIMIT + 1} characters", id="large"),
        pytest.param("[" * 100_000, "within each other without end", id="nested"),
        pytest.param("{a: " * 100_000, "within each other without end", id="nested mappings"),
        pytest.param("".join(" " * i + "a:\n" for i in range(1200)), "within each other without end", id="indented"),
        pytest.param(
            chained("a{i}: &a{i} [*a{j}, *a{j}, *a{j}, *a{j}, *a{j}, *a{j}, *a{j}, *a{j}]", 30),
            "more, or one that holds itself",
            id="aliases for billions",
        ),
        pytest.param(chained("a{i}: &a{i} [*a{j}]", 1000), "without end", id="aliases within each other"),
        pytest.param(HEAD + "metadata: &a {x: [*a]}\n", "more, or one that holds itself", id="an endless one"),
        pytest.param(chained("a{i}: &a{i} {{<<: [*a{j}, *a{j}]}}", 40), "a merge of something else", id="merges"),
        pytest.param(chained("a{i}: &a{i} {{<<: *a{j}, k{i}: 1}}", 2000), "too many fields", id="a chain of merges"),
        pytest.param("a: 1" + ":1" * 400_000, "none, but a mapping", id="a number to the base of 60"),
    ],
)
def test_hostile_yaml(text: str, found: str) -> None:
    start = time.monotonic()
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert found in refused.value.found
    assert len(str(refused.value)) < 1000
    assert time.monotonic() - start < 20


def test_no_manifest_at_all() -> None:
    for source in (None, 1, [], [a_manifest()]):
        with pytest.raises(Refusal, match="Expected one CcRuntime in the manifest"):
            parse(t.cast("str", source))


# What the CRD refuses, and what cannot be done

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        pytest.param(
            {**a_manifest(), "apiVersion": "confidentialcontainers.org/v1"},
            "Expected apiVersion to be confidentialcontainers.org/v1beta1. Found "
            '"confidentialcontainers.org/v1". Write it like that.',
            id="another version",
        ),
        pytest.param(
            {"kind": "CcRuntime"},
            "Expected apiVersion in the manifest. Found nothing. The CRD demands it: add it.",
            id="no version",
        ),
        pytest.param({**a_manifest(), "spec": None}, "Expected spec to be a mapping. Found nothing.", id="no spec"),
        pytest.param(
            a_manifest(runtimeName="katta"),
            'Expected spec.runtimeName to be kata or enclave-cc. Found "katta".',
            id="runtime",
        ),
        pytest.param(
            a_manifest({"installType": "rpm"}),
            'Expected spec.config.installType to be bundle or osnative. Found "rpm".',
            id="type",
        ),
        pytest.param(
            a_manifest(config=None) | {"spec": {"runtimeName": "kata"}}, "Expected spec.config in", id="no config"
        ),
        pytest.param(
            a_manifest({"installCmd": "kata-deploy.sh install"}),
            "Expected spec.config.installCmd to be a list. Found text. Write it as a list,",
            id="a command as text",
        ),
        pytest.param(
            a_manifest({"installCmd": ["x", 1]}),
            "Expected spec.config.installCmd[1] to be text. Found a whole number. Put it in quotes.",
            id="a number in a command",
        ),
        pytest.param(
            a_manifest({"installCmd": ["x", 1.5]}), "installCmd[1] to be text. Found a number. Put", id="a fraction"
        ),
        pytest.param(
            a_manifest({"debug": "true"}),
            "Expected spec.config.debug to be true or false. Found text. Write true or false, without quotes.",
            id="a flag as text",
        ),
        pytest.param(
            a_manifest({"payloadImage": None}),
            "Expected spec.config.payloadImage to be text. Found nothing. Leave it out, or give it a value.",
            id="nothing",
        ),
        pytest.param(
            a_manifest({"installDoneLabel": {"example.org/x": True}}),
            "Expected spec.config.installDoneLabel.example.org/x to be text. Found true or false. Put it in quotes.",
            id="a flag in a label",
        ),
        pytest.param(
            a_manifest({"installDoneLabel": {1: "x"}}),
            "Expected a key of spec.config.installDoneLabel to be text.",
            id="a key",
        ),
        pytest.param(
            a_manifest({"preInstall": ["x"]}), "Expected spec.config.preInstall to be a mapping.", id="a hook"
        ),
        pytest.param(
            a_manifest({"runtimeClasses": ["kata-qemu"]}),
            "Expected spec.config.runtimeClasses[0] to be a mapping. Found text.",
            id="a class as text",
        ),
        pytest.param(
            a_manifest({"runtimeClasses": [{"snapshotter": "x"}]}),
            "Expected spec.config.runtimeClasses[0].name in the manifest. Found nothing.",
            id="a class without a name",
        ),
        pytest.param(
            a_manifest({"environmentVariables": [{"name": "X", "value": True}]}),
            "Expected spec.config.environmentVariables[0].value to be text. Found true or false. Put it in quotes.",
            id="a flag in a variable",
        ),
        pytest.param(
            a_manifest({"environmentVariables": [{"name": "X", "value": {SECRET: SECRET}}]}),
            "Expected spec.config.environmentVariables[0].value to be text. Found a mapping.",
            id="a secret in the wrong place",
        ),
        pytest.param(
            a_manifest({"environmentVariables": [{"name": "X", "valueFrom": {}}]}),
            "Expected spec.config.environmentVariables[0].valueFrom.fieldRef in the manifest.",
            id="a variable from nowhere",
        ),
        pytest.param(
            a_manifest({"environmentVariables": [{"name": "X", "value": SECRET, **NODE_NAME}]}),
            "Expected spec.config.environmentVariables[0] to have one source. Found value and valueFrom.",
            id="a variable from two places",
        ),
        pytest.param(
            a_manifest(
                {"environmentVariables": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]}
            ),
            "Expected spec.config.environmentVariables[0].valueFrom.fieldRef.fieldPath to be spec.nodeName. "
            'Found "status.hostIP". Give the variable a value, which may come from a vault.',
            id="a variable from a pod",
        ),
        pytest.param(
            a_manifest(
                {"preInstall": {"environmentVariables": [{"name": "X", "valueFrom": {"secretKeyRef": {"key": "x"}}}]}}
            ),
            "Expected what a node can do without Kubernetes. Found "
            "spec.config.preInstall.environmentVariables[0].valueFrom.secretKeyRef. Give the variable a value,",
            id="a variable from a secret",
        ),
        pytest.param(
            a_manifest({"installerVolumes": [{"name": "x", "secret": {"secretName": "x"}}]}),
            "Expected what a node can do without Kubernetes. Found spec.config.installerVolumes[0].secret. "
            "Put what it holds into a directory of the node, and name that with hostPath.",
            id="a volume from a secret",
        ),
        pytest.param(
            a_manifest({"installerVolumes": [{"name": "x", "hostPath": {"path": "/x"}, "emptyDir": {}}]}),
            "Expected spec.config.installerVolumes[0] to have one source. Found hostPath and emptyDir.",
            id="a volume of two kinds",
        ),
        pytest.param(
            a_manifest({"installerVolumes": [a_volume("x", "/x", "Dir")]}),
            'Expected spec.config.installerVolumes[0].hostPath.type to be "" or DirectoryOrCreate or Directory or',
            id="a kind of path",
        ),
        pytest.param(
            a_manifest({"installerVolumes": [{"name": "x", "hostPath": {"type": ""}}]}),
            "Expected spec.config.installerVolumes[0].hostPath.path in the manifest.",
            id="no path",
        ),
        pytest.param(
            a_manifest({"installerVolumeMounts": [{"name": "x", "mountPath": "/x", "subPathExpr": "$(X)"}]}),
            "Found spec.config.installerVolumeMounts[0].subPathExpr. Write the path out in subPath.",
            id="a path that is made",
        ),
        pytest.param(
            a_manifest(ccTolerations=[{"tolerationSeconds": True}]),
            "Expected spec.ccTolerations[0].tolerationSeconds to be a whole number. Found true or false.",
            id="a flag as a number",
        ),
    ],
)
def test_refused(manifest: dict[str, t.Any], message: str) -> None:
    for source in (manifest, yaml.safe_dump(manifest)):
        with pytest.raises(Refusal) as refused:
            parse(t.cast("str", source))
        assert message in str(refused.value)
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("manifest", "place", "remedy"),
    [
        pytest.param(
            {**a_manifest(), "config": {}},
            "the manifest.config",
            "It belongs in spec: move it there.",
            id="config, on top",
        ),
        pytest.param(
            a_manifest(payloadImage="x"),
            "spec.payloadImage",
            "It belongs in spec.config: move it there.",
            id="too high",
        ),
        pytest.param(
            a_manifest({"runtimeName": "kata"}), "spec.config.runtimeName", "It belongs in spec: move", id="too low"
        ),
        pytest.param(
            a_manifest({"ccNodeSelector": {}}), "spec.config.ccNodeSelector", "It belongs in spec: move", id="selector"
        ),
        pytest.param(
            a_manifest({"spec": {}}), "spec.config.spec", "It belongs in the top of the manifest: move", id="spec"
        ),
        pytest.param(
            a_manifest({"volumes": []}),
            "spec.config.volumes",
            "It belongs in spec.config.preInstall or spec.config.postUninstall: move it there.",
            id="the volumes of a hook",
        ),
        pytest.param(
            a_manifest({"installerVolumes": [{"name": "x", "path": "/x"}]}),
            "spec.config.installerVolumes[0].path",
            "It belongs in spec.config.installerVolumes[].hostPath or ",
            id="in a list",
        ),
        pytest.param(a_manifest({"instalCmd": []}), "spec.config.instalCmd", "Write installCmd.", id="a letter"),
        pytest.param(a_manifest({"InstallCMD": []}), "spec.config.InstallCMD", "Write installCmd.", id="capitals"),
        pytest.param(a_manifest(nodeSelector={}), "spec.nodeSelector", "Write ccNodeSelector.", id="nearly"),
        pytest.param(
            a_manifest({"runtimeClasses": [{"name": "x", "overhead": {}}]}),
            "spec.config.runtimeClasses[0].overhead",
            "Remove it, or write one of name, snapshotter, pulltype.",
            id="not at all",
        ),
        pytest.param(
            a_manifest({"installerVolumes": [{"name": "x", "bogus": {}}]}),
            "spec.config.installerVolumes[0].bogus",
            "Remove it, or write one of name, hostPath, emptyDir.",
            id="what is refused is not proposed",
        ),
        pytest.param(a_manifest(t.cast("t.Any", {True: 1})), "spec.config.True", "Remove it, or", id="no text"),
    ],
)
def test_unknown_fields(manifest: dict[str, t.Any], place: str, remedy: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(manifest)
    assert refused.value.found == place.removeprefix("the manifest.")
    assert refused.value.expected.endswith("to have fields of the CRD")
    assert refused.value.remedy.startswith(remedy)


# The environment of an installer

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
    assert environment(runtime_classes, "worker-1", **options) == {**NONE, **expected}


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
        environment(runtime_classes, "worker-1", environment_variables=environment_variables)
    assert message in str(refused.value)


def test_every_field_of_the_schema_is_acted_on() -> None:
    """A field sets a variable, says that it is not used, or is one of those that the conversion reads by itself."""
    read = {"runtimeClasses", "runtimeClassNames", "defaultRuntimeClassName", *crd._HOOKS}
    fields = crd._CONFIG.fields
    assert {name for name, field in fields.items() if not (name in crd._VARIABLES or field.unused)} == read
    assert set(crd._VARIABLES) <= set(fields)
