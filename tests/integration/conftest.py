# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real nodes for the tests of this folder."""

from __future__ import annotations

import hashlib
import os
import typing as t

import pytest

import nodes as testbed_nodes
import payload as testbed_payload
from ansible_collections.confidential_containers.runtime.tests import sample
from ansible_collections.confidential_containers.runtime.tests.integration.harness import ROOT, Node

VERSIONS = ["1.7", "2.1"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test that takes ``each`` run on each of the two versions, or on the one whose turn it is."""
    if "each" in metafunc.fixturenames:
        turn = sample.chance(metafunc.definition.nodeid).randrange(len(VERSIONS))
        numbers = range(len(VERSIONS)) if sample.is_whole("VERSIONS") else [turn]
        metafunc.parametrize("each", numbers, ids=[VERSIONS[number] for number in numbers], indirect=True)


@pytest.fixture(scope="session")
def payload() -> dict[str, str]:
    """The sample payload: ``oci_archive``, ``docker_archive`` and their digests."""
    return testbed_payload.ensure("v1")


@pytest.fixture(scope="session")
def archive(payload: dict[str, str]) -> str:
    """The sample payload, as coco_payload wants it."""
    return f"oci-archive:{payload['oci_archive']}"


@pytest.fixture(scope="session")
def payload_v2() -> dict[str, str]:
    """The next version of the sample payload: other files, other handlers."""
    return testbed_payload.ensure("v2")


def running(suites: t.Mapping[str, str], factory: pytest.TempPathFactory) -> t.Iterator[list[Node]]:
    """Start nodes, all at once: version of containerd → suite."""
    # Names of their own for each checkout, and for each process that runs its tests.
    mine = hashlib.sha256(str(ROOT).encode()).hexdigest()[:4] + os.environ.get("PYTEST_XDIST_WORKER", "")
    names = {f"int-{mine}-{version.replace('.', '')}": suite for version, suite in suites.items()}
    try:
        testbed_nodes.up(names)
        yield [Node(name, factory.mktemp(name)) for name in names]
    finally:
        testbed_nodes.down(list(names))


@pytest.fixture(scope="session")
def _nodes(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[list[Node]]:
    yield from running({"1.7": "trixie", "2.1": "forky"}, tmp_path_factory)


@pytest.fixture(scope="session")
def _other_nodes(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[list[Node]]:
    suites = {
        "1.4": "bullseye",
        "1.6": "bookworm",
        **{version: f"trixie-{version}" for version in ("2.2", "2.3", "2.4")},
    }
    yield from running(suites, tmp_path_factory)


def lent(nodes: list[Node]) -> t.Iterator[list[Node]]:
    """Hand nodes to a test, and put them back to what they were."""
    yield nodes
    for node in nodes:
        node.reset()


@pytest.fixture
def nodes(_nodes: list[Node]) -> t.Iterator[list[Node]]:
    """Two nodes, containerd 1.7 and 2.1, on which nothing is installed; whatever the test does to them is undone after it."""
    yield from lent(_nodes)


@pytest.fixture
def other_nodes(_other_nodes: list[Node]) -> t.Iterator[list[Node]]:
    """A node with each of the other versions of containerd; as above."""
    yield from lent(_other_nodes)


@pytest.fixture
def node(nodes: list[Node]) -> Node:
    """The first of the nodes."""
    return nodes[0]


@pytest.fixture
def each(request: pytest.FixtureRequest, nodes: list[Node]) -> Node:
    """One of the nodes, or each of them, in turns."""
    return nodes[t.cast("int", request.param)]
