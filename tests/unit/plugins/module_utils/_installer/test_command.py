# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which command is run, and how: what the user says, what was said at the installation, what the layout is known for."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import command, contracts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    CommandDone,
    Installer,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ENGINE = Engine("containerd", (1, 7, 24), "containerd.service", "/x", "/etc/containerd/config.toml", "/s", True)
KATA = contracts.by_name("kata")
assert KATA is not None
VOLUMES = [{"name": "host", "hostPath": {"path": "/srv"}}]
MOUNTS = [{"name": "host", "mountPath": "/host"}]


def arguments(name: str, **given: t.Any) -> dict[str, t.Any]:
    """Return the arguments of the module: these, and its defaults."""
    nothing = dict.fromkeys(("digest", "volumes", "volume_mounts", "environment", "kubectl", "limits"))
    return {"command": name, **nothing, "commands": {}, "done": "", "handlers": [], "timeout": 600, **given}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(str(tmp_path / "state"))


def keep(state: State, digest: str, contract: str) -> None:
    """Have an image on the node whose installer follows a contract ('': none that is known)."""
    directory = os.path.join(state.payloads, f"{digest}-image")
    os.makedirs(directory)
    record = {"reference": "the payload", "contract": contract, "layers": [], "chain": {digest: "manifest"}}
    files.write_json(os.path.join(directory, "payload.json"), record)


def ran(state: State, **done: CommandDone) -> None:
    """Have commands run on the node before."""
    state.write_receipt(Receipt(installer=Installer(done)))


def test_an_installer_that_is_known_is_run_as_its_contract_says(state: State) -> None:
    keep(state, DIGEST, "kata")
    found = command.requested(arguments("install", digest=DIGEST), state, ENGINE)
    assert KATA is not None
    assert (found.name, found.digest, found.argv) == ("install", DIGEST, KATA.commands["install"])
    assert (found.volumes, found.mounts) == (KATA.volumes(ENGINE), KATA.mounts(ENGINE))
    assert (found.kubectl, found.environment, found.finished) == ("none", {}, "")


def test_what_the_user_says_comes_first_and_is_remembered(state: State) -> None:
    keep(state, DIGEST, "kata")
    said = {
        "commands": {"install": ["/bin/deploy", 1], "uninstall": ["/bin/remove"]},
        "volumes": VOLUMES,
        "volume_mounts": MOUNTS,
        "environment": '{"NODE": 7}',
        "kubectl": "stub",
        "done": "/run/done",
        "handlers": ["kata-qemu"],
        "timeout": 60,
    }
    found = command.requested(arguments("install", digest=DIGEST, **said), state, ENGINE)
    assert (found.argv, found.volumes, found.mounts) == (["/bin/deploy", "1"], VOLUMES, MOUNTS)
    assert (found.environment, found.kubectl) == ({"NODE": "7"}, "stub")
    assert (found.finished, found.handlers, found.timeout) == ("/run/done", ["kata-qemu"], 60)
    assert CommandDone(DIGEST, found.fingerprint, **found.known).commands == said["commands"]


DONE = CommandDone(DIGEST, "f", {"uninstall": ["/bin/remove"]}, VOLUMES, MOUNTS, {"NODE": "7"}, "stub")


@pytest.mark.parametrize("name", ["uninstall", "cleanup"])
@pytest.mark.parametrize("before", ["install", "uninstall", "cleanup"])
def test_later_commands_are_run_as_the_first_one(state: State, name: str, before: str) -> None:
    keep(state, DIGEST, "kata")
    ran(state, **{before: DONE})
    found = command.requested(arguments(name), state, ENGINE)
    assert KATA is not None
    assert found.argv == {"uninstall": ["/bin/remove"], "cleanup": KATA.commands["cleanup"]}[name]
    assert (found.digest, found.volumes, found.mounts) == (DIGEST, VOLUMES, MOUNTS)
    assert (found.environment, found.kubectl, found.handlers) == ({"NODE": "7"}, "stub", ())


def test_an_empty_list_is_said_too(state: State) -> None:
    keep(state, DIGEST, "kata")
    ran(state, install=DONE)
    found = command.requested(arguments("uninstall", volumes=[], volume_mounts=[], environment="{}"), state, ENGINE)
    assert (found.volumes, found.mounts, found.environment) == ([], [], {})


@pytest.mark.parametrize("name", ["install", "pre_install", "post_uninstall"])
def test_an_installation_and_hooks_take_nothing_over(state: State, name: str) -> None:
    keep(state, OTHER, "kata")
    ran(state, install=DONE, pre_install=DONE)
    found = command.requested(arguments(name, digest=OTHER), state, ENGINE)
    assert (found.digest, found.environment, found.kubectl) == (OTHER, {}, "none")
    assert found.argv == (contracts.HOOKS if name != "install" else contracts.CONTRACTS[1]).commands[name]


@pytest.mark.parametrize("name", ["install", "uninstall"])
def test_an_installer_that_nobody_knows_has_to_be_told(state: State, name: str) -> None:
    keep(state, DIGEST, "")
    with pytest.raises(Refusal, match=f"none in coco_{name}_cmd"):
        command.requested(arguments(name, digest=DIGEST), state, ENGINE)
    assert command.requested(arguments(name, digest=DIGEST, commands={name: ["/x"]}), state, ENGINE).argv == ["/x"]


def test_a_payload_that_is_not_on_the_node_yet(state: State) -> None:
    """In check mode: its command is known when it is there."""
    found = command.requested(arguments("install", digest=DIGEST), state, ENGINE)
    assert found.argv == []
    assert "run install of the payload, known when it is on the node\n" in command.foreseen(found)["diff"]["prepared"]


def test_what_is_foreseen_of_a_command_names_no_value() -> None:
    asked = command.Command("install", DIGEST, ["/x", "now"], VOLUMES, MOUNTS, {"TOKEN": "secret"})
    assert command.foreseen(asked) == {
        "changed": True,
        "argv": ["/x", "now"],
        "diff": {
            "prepared": "run /x now\nmount /srv at /host\nset TOKEN\nwhat it changes is unknown before it has run\n"
        },
    }


@pytest.mark.parametrize(
    ("name", "contract", "given", "says"),
    [
        pytest.param("uninstall", None, {}, "", id="another command"),
        pytest.param("cleanup", None, {}, "its layers are no longer on the node", id="no layers"),
        pytest.param("cleanup", "hooks", {}, "", id="no contract with a cleanup"),
        pytest.param("cleanup", "", {}, "no command of its own", id="a stranger's"),
        pytest.param("cleanup", "", {"commands": {"cleanup": ["/x"]}}, "", id="a stranger's, with a command"),
        pytest.param("cleanup", "kata", {}, "", id="a known one"),
    ],
)
def test_a_cleanup_without_a_command(
    state: State, name: str, contract: str | None, given: dict[str, t.Any], says: str
) -> None:
    if contract is not None:
        keep(state, DIGEST, contract)
    ran(state, uninstall=CommandDone(DIGEST))
    found = command.missing(arguments(name, **given), state)
    assert says in found
    assert bool(found) == bool(says or contract == "hooks")


SAME = command.Command("install", DIGEST, ["/x"], VOLUMES, MOUNTS, {"A": "b"})


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (command.Command("install", DIGEST, ["/x"], VOLUMES, MOUNTS, {"A": "b"}, timeout=1, finished="/y"), True),
        (command.Command("install", OTHER, ["/x"], VOLUMES, MOUNTS, {"A": "b"}), False),
        (command.Command("install", DIGEST, ["/y"], VOLUMES, MOUNTS, {"A": "b"}), False),
        (command.Command("install", DIGEST, ["/x"], [], MOUNTS, {"A": "b"}), False),
        (command.Command("install", DIGEST, ["/x"], VOLUMES, [], {"A": "b"}), False),
        (command.Command("install", DIGEST, ["/x"], VOLUMES, MOUNTS, {"A": "c"}), False),
        (command.Command("install", DIGEST, ["/x"], VOLUMES, MOUNTS, {"A": "b"}, "stub"), False),
        (command.Command("install", DIGEST, ["/x"], VOLUMES, MOUNTS, {"A": "b"}, handlers=["h"]), False),
    ],
)
def test_what_makes_two_runs_the_same(other: command.Command, is_same: bool) -> None:
    assert (SAME.fingerprint == other.fingerprint) is is_same
