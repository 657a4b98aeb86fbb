# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real nodes for the tests of this folder."""

from __future__ import annotations

import hashlib
import json
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import ROOT, Node, testbed


@pytest.fixture(scope="session")
def payload() -> dict[str, str]:
    """The sample payload: ``oci_archive``, ``docker_archive`` and their digests."""
    return t.cast("dict[str, str]", json.loads(testbed("payload", "--json")))


@pytest.fixture(scope="session")
def archive(payload: dict[str, str]) -> str:
    """The sample payload, as coco_payload wants it."""
    return f"oci-archive:{payload['oci_archive']}"


@pytest.fixture(scope="session")
def payload_v2() -> dict[str, str]:
    """The next version of the sample payload: other files, other handlers."""
    return t.cast("dict[str, str]", json.loads(testbed("payload", "--variant", "v2", "--json")))


def running(suites: t.Mapping[str, str], factory: pytest.TempPathFactory) -> t.Iterator[list[Node]]:
    """Start nodes, all at once: version of containerd → suite."""
    # Names of their own for each checkout.
    mine = hashlib.sha256(str(ROOT).encode()).hexdigest()[:4]
    names = {f"int-{mine}-{version.replace('.', '')}": suite for version, suite in suites.items()}
    try:
        testbed("up", *(f"{name}={suite}" for name, suite in names.items()))
        yield [Node(name, factory.mktemp(name)) for name in names]
    finally:
        testbed("down", *names)


@pytest.fixture(scope="session")
def _nodes(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[list[Node]]:
    yield from running({"1.7": "trixie", "2.1": "forky"}, tmp_path_factory)


@pytest.fixture(scope="session")
def other_nodes(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[list[Node]]:
    """A node with each of the other versions of containerd; tests leave them as they find them."""
    suites = {
        "1.4": "bullseye",
        "1.6": "bookworm",
        **{version: f"trixie-{version}" for version in ("2.2", "2.3", "2.4")},
    }
    yield from running(suites, tmp_path_factory)


@pytest.fixture
def nodes(_nodes: list[Node], payload: dict[str, str]) -> t.Iterator[list[Node]]:
    """Two nodes, containerd 1.7 and 2.1, on which nothing is installed; both are clean again after the test."""
    yield _nodes
    for node in _nodes:
        testbed("rmpods", node.name)
        if node.remembers():
            for playbook in ("uninstall", "cleanup"):
                run = node.play(playbook)
                assert run.status == 0, run.output


@pytest.fixture
def node(nodes: list[Node]) -> Node:
    """The first of the nodes."""
    return nodes[0]


@pytest.fixture(params=[0, 1], ids=["1.7", "2.1"])
def each(request: pytest.FixtureRequest, nodes: list[Node]) -> Node:
    """One of the nodes, in turns."""
    return nodes[t.cast("int", request.param)]
