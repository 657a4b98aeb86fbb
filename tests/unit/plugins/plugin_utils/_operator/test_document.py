# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which CcRuntime is found in what a user gives."""

from __future__ import annotations

import time
import typing as t

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.document import LIMIT, read
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import HEAD, a_manifest

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
    assert read(text) == a_manifest()


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
    found = read(text)["spec"]["config"]
    assert found["preInstall"] == hook
    assert found["postUninstall"] == {**hook, "image": "example.org/hook:2"}
    assert found["installerVolumes"] == hook["volumes"]
    # What is changed later in one place stays there.
    assert found["installerVolumes"] is not found["preInstall"]["volumes"]


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
        read(text)
    assert "Expected one CcRuntime in the manifest. " in str(refused.value)
    assert found in str(refused.value)


def chained(line: str, count: int) -> str:
    """Return HEAD with mappings below metadata that refer to each other."""
    return HEAD + "metadata:\n  a0: &a0 {x: y}\n" + "".join(f"  {line.format(i=i, j=i - 1)}\n" for i in range(1, count))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("x" * (LIMIT + 1), f"{LIMIT + 1} characters", id="large"),
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
        read(text)
    assert found in refused.value.found
    assert len(str(refused.value)) < 1000
    assert time.monotonic() - start < 20


def test_no_manifest_at_all() -> None:
    for source in (None, 1, [], [a_manifest()]):
        with pytest.raises(Refusal, match="Expected one CcRuntime in the manifest"):
            read(t.cast("str", source))
