# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real nodes for the tests of this folder."""

from __future__ import annotations

import typing as t

import pytest
from xdist.scheduler import LoadScopeScheduling

import payload as testbed_payload
from ansible_collections.confidential_containers.runtime.tests import sample
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Fleet, Node
from images import BY_VERSION

#: Those that most tests run on, in turns.
VERSIONS = ["1.7", "2.1"]


class _Lanes(LoadScopeScheduling):
    """One test after the other for each process, but all tests on nodes of distributions for the same one: it starts those once.

    The mark ``xdist_group`` would say so, but pytest-xdist 3.8 cannot read it with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "distributions" if "test_distributions" in nodeid else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> LoadScopeScheduling:
    return _Lanes(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test that takes ``each`` run on each of the two versions, or on the one whose turn it is."""
    if "each" in metafunc.fixturenames:
        turn = sample.chance(metafunc.definition.nodeid).choice(VERSIONS)
        metafunc.parametrize("each", VERSIONS if sample.is_whole("VERSIONS") else [turn], indirect=True)


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


@pytest.fixture(scope="session")
def _fleet(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory)
    try:
        yield fleet
    finally:
        fleet.down()


@pytest.fixture
def fleet(_fleet: Fleet) -> t.Iterator[Fleet]:
    """Nodes of all versions, on which nothing is installed; whatever the test does to them is undone after it."""
    yield _fleet
    _fleet.reset()


@pytest.fixture
def nodes(fleet: Fleet) -> list[Node]:
    """Two nodes, containerd 1.7 and 2.1."""
    return fleet.get(*VERSIONS)


@pytest.fixture
def other_nodes(request: pytest.FixtureRequest, fleet: Fleet) -> list[Node]:
    """Nodes with other versions of containerd: those two whose turn it is, or all."""
    others = [version for version in BY_VERSION if version not in VERSIONS]
    turn = sample.chance(request.node.nodeid).sample(others, 2)
    return fleet.get(*(others if sample.is_whole("VERSIONS") else turn))


@pytest.fixture
def node(fleet: Fleet) -> Node:
    """A node with containerd 1.7."""
    return fleet.get(VERSIONS[0])[0]


@pytest.fixture
def each(request: pytest.FixtureRequest, fleet: Fleet) -> Node:
    """One of the two, or each of them, in turns."""
    return fleet.get(t.cast("str", request.param))[0]
