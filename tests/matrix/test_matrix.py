# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every configuration on a real daemon of each version: served beside what was there and gone without a trace, or refused with
the node untouched. COCO_MATRIX=all takes all cells, COCO_MATRIX=1.6,2.4 those of two versions; otherwise every other configuration
meets one version, and both change from run to run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tomllib
import typing as t
from pathlib import Path

import pytest
import yaml

import nodes as testbed_nodes
from ansible_collections.confidential_containers.runtime.tests import sample
from ansible_collections.confidential_containers.runtime.tests.integration.harness import ROOT
from ansible_collections.confidential_containers.runtime.tests.matrix.configurations import (
    CONFIGURATIONS,
    SECRET,
    Configuration,
)
from images import BY_VERSION

OURS = {"kata-qemu", "kata-clh"}
#: Tables in which a name stands for a runtime handler.
HANDLERS = ("runtimes", "runtime_platforms")

Cell = tuple[Configuration, str]


def cells() -> list[Cell]:
    """Return the cells of this run: those asked for, or of every other configuration one, both in turns."""
    asked = os.environ.get("COCO_MATRIX", "").split(",")
    every = [[(configuration, version) for version in configuration.on] for configuration in CONFIGURATIONS]
    if asked == [""]:
        turn = sample.chance("matrix").randrange(len(CONFIGURATIONS))
        return [row[(number + turn) % len(row)] for number, row in enumerate(every)][turn % 2 :: 2]
    return [(configuration, version) for row in every for configuration, version in row if {version, "all"} & {*asked}]


CELLS = cells()


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    """One playbook over all nodes: a file of results for each cell that was not deselected."""
    directory = tmp_path_factory.mktemp("matrix")
    tests = [item.callspec.params for item in request.session.items if isinstance(item, pytest.Function)]
    selected = [t.cast("Cell", (test["configuration"], test["version"])) for test in tests]
    suites = {name(version): BY_VERSION[version] for _configuration, version in selected}
    testbed_nodes.up(suites)
    try:
        inventory = yaml.safe_load(testbed_nodes.inventory(list(suites), []))
        for node, variables in inventory["coco_nodes"]["hosts"].items():
            variables["matrix_cells"] = [
                dataclasses.asdict(configuration) for configuration, version in selected if name(version) == node
            ]
        inventory["coco_nodes"]["vars"]["matrix_results"] = str(directory)
        (directory / "inventory.yml").write_text(yaml.safe_dump(inventory))
        playbook = ["ansible-playbook", str(ROOT / "tests/matrix/matrix.yml"), "-i", str(directory / "inventory.yml")]
        done = subprocess.run([*playbook, "--forks=7"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr
        yield directory
    finally:
        testbed_nodes.down(list(suites))


def name(version: str) -> str:
    return f"matrix-{version.replace('.', '')}"


@pytest.mark.parametrize(
    ("configuration", "version"), CELLS, ids=[f"{version} {configuration.name}" for configuration, version in CELLS]
)
def test_cell(results: Path, configuration: Configuration, version: str) -> None:
    file = results / f"{name(version)} {configuration.name.replace('/', ' ')}.json"
    text = file.read_text()
    result = json.loads(text)
    before, install, installed = result["before"], result["install"], result["installed"]
    assert "Traceback" not in text
    message = install.get("msg", "")
    assert SECRET not in message

    if version in configuration.refused:
        assert "handlers" not in install, "expected a refusal"
        assert configuration.refused[version] in message
        # systemd starts a daemon that cannot read its configuration again and again.
        parts = ("tree", "dump", "served", "left", *(("engine",) if before["served"] else ()))
        assert {part: installed[part] for part in parts} == {part: before[part] for part in parts}
        return

    assert "handlers" in install, message
    assert install["changed"]
    assert install["restarted"]
    assert installed["engine"] != before["engine"]
    assert set(installed["served"]) == {*before["served"], *OURS}
    assert "runc" in before["served"] or "mine" in before["served"]
    assert foreign(installed["dump"]) == foreign(before["dump"])
    handlers = {
        handler: table for handler, table in tables(tomllib.loads(installed["dump"])).items() if handler in OURS
    }
    assert set(handlers) == OURS
    assert handlers["kata-clh"]["privileged_without_host_devices"] is True
    assert handlers["kata-qemu"]["pod_annotations"] == ["io.katacontainers.*"]

    again, uninstall, after = result["again"], result["uninstall"], result["after"]
    assert not again["changed"], again.get("msg", "the second run changed something")
    assert "handlers" in uninstall, uninstall.get("msg")
    assert after["engine"] not in (installed["engine"], before["engine"])
    assert foreign(after["dump"]) == foreign(before["dump"])
    for part in ("tree", "served", "left"):
        assert after[part] == before[part]


def tables(value: t.Any) -> dict[str, t.Any]:
    """Return the tables of runtime handlers in a dump."""
    found: dict[str, t.Any] = {}
    if isinstance(value, dict):
        for key, item in value.items():
            found.update(item if key == "runtimes" and isinstance(item, dict) else tables(item))
    return found


def foreign(dump: str) -> t.Any:
    """Return what a dump says about all that is not ours."""
    document = tomllib.loads(dump)
    document.pop("imports", None)

    def pruned(value: t.Any, key: str = "") -> t.Any:
        if not isinstance(value, dict):
            return value
        return {name: pruned(item, name) for name, item in value.items() if not (key in HANDLERS and name in OURS)}

    return pruned(document)
