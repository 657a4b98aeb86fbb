# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Actions check what they are given before a node is asked anything, and in the words of Ansible's modules."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[4]
SECRET = "hunter2"
#: For each action the arguments that it cannot do without.
NEEDED: dict[str, dict[str, object]] = {
    "check_variables": {},
    "payload_archive": {"image": "x", "path": "/x"},
    "payload_command": {"command": "install"},
    "payload_extract": {"payload": "dir:/x"},
    "runtime_handlers": {"handlers": []},
    "status_table": {"nodes": {}},
}
#: An argument with a wrong value, and what is said.
WRONG: dict[str, tuple[dict[str, object], str]] = {
    "check_variables": ({"playbook": "perhaps"}, "playbook"),
    "payload_archive": ({"pull": "often"}, "value of pull must be one of: always, missing, never, got: often"),
    "payload_command": (
        {"engine": "docker", "environment": {"TOKEN": "{{ secret }}"}},
        "value of engine must be one of: auto, containerd, k3s, rke2, k0s, microk8s, crio, got: docker",
    ),
    "payload_extract": (
        {"engine": "docker", "registry_password": "{{ secret }}"},
        "value of engine must be one of: auto, containerd, k3s, rke2, k0s, microk8s, crio, got: docker",
    ),
    "runtime_handlers": (
        {"engine": "docker"},
        "value of engine must be one of: auto, containerd, k3s, rke2, k0s, microk8s, crio, got: docker",
    ),
    "status_table": ({"nodes": "none"}, "nodes"),
}


def failures(directory: Path, **tasks: dict[str, object]) -> dict[str, str]:
    """Run an action for each task, on a node that is not there, and return what each one says."""
    names = ", ".join(f"'{name}': {name}.msg" for name in tasks)
    play = {
        "hosts": "nowhere",
        "gather_facts": False,
        "ignore_unreachable": True,
        "ignore_errors": True,
        "tasks": [
            *({f"confidential_containers.runtime.{name}": args, "register": name} for name, args in tasks.items()),
            {
                "ansible.builtin.copy": {
                    "content": "{{ {" + names + "} | to_json }}",
                    "dest": str(directory / "said.json"),
                    "mode": "0600",
                },
                "delegate_to": "localhost",
            },
        ],
    }
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    (directory / "hosts").write_text(
        "nowhere ansible_host=192.0.2.1 ansible_connection=ssh ansible_ssh_executable=/bin/false\n"
    )
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            directory / "play.yml",
            "-i",
            directory / "hosts",
            "-e",
            f"secret={SECRET}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert SECRET not in done.stdout + done.stderr
    return t.cast("dict[str, str]", json.loads((directory / "said.json").read_text()))


def test_every_action_is_here() -> None:
    assert sorted(NEEDED) == sorted(path.stem for path in (ROOT / "plugins/action").glob("*.py"))


def test_a_misspelt_argument(tmp_path: Path) -> None:
    said = failures(tmp_path, **{name: {**needed, "misspelt": "{{ secret }}"} for name, needed in NEEDED.items()})
    for name, words in said.items():
        assert words.startswith(
            f"Unsupported parameters for (confidential_containers.runtime.{name}) module: misspelt."
        )


def test_a_missing_argument(tmp_path: Path) -> None:
    tasks: dict[str, dict[str, object]] = {name: {} for name, needed in NEEDED.items() if needed}
    for name, words in failures(tmp_path, **tasks).items():
        assert words == f"missing required arguments: {', '.join(sorted(NEEDED[name]))}"


def test_a_wrong_value_is_told_without_secrets(tmp_path: Path) -> None:
    said = failures(tmp_path, **{name: {**NEEDED[name], **args} for name, (args, _words) in WRONG.items()})
    for name, (_args, words) in WRONG.items():
        assert words in said[name]
