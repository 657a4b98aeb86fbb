# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the CRD refuses, and what cannot be done."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.manifest import parse
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import NODE_NAME, a_manifest, a_volume

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
            "Expected apiVersion in the manifest. Found nothing. Add the field: the CRD requires it.",
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
