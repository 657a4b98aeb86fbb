# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The EXAMPLES of all plugins, as they are written, in one playbook against a node."""

from __future__ import annotations

import ast
import typing as t
from pathlib import Path

import yaml

from ansible_collections.confidential_containers.runtime.tests.integration.harness import ROOT, Node

PLUGINS = {
    f"{folder}/{path.stem}": path
    for folder in ("modules", "filter")
    for path in sorted((ROOT / "plugins" / folder).glob("*.py"))
    if not path.stem.startswith("_")
}

#: The order in which they are run, so that each finds what it needs: staged before installed, removed before forgotten.
ORDER = (
    *("modules/check_variables", "filter/role_variable", "filter/installer_environment", "filter/native_settings"),
    *("modules/runtime_info", "modules/status_table", "filter/status_table", "modules/engine_config"),
    *("modules/payload_archive", "modules/payload_extract", "modules/runtime_handlers", "modules/payload_artifacts"),
    *("modules/node_state", "modules/payload_command", "modules/node_state"),
    *("filter/play_keyword", "filter/rollout", "filter/ccruntime_variables"),
)

#: Tasks that are left out, by their names, and why.
LEFT_OUT = {
    "Stage a payload from a registry": "it needs one; test_registry.py has it",
    "Stage a release that comes in two tarballs": "it needs a release; tests/unit has some",
}

MANIFEST = """\
apiVersion: confidentialcontainers.org/v1beta1
kind: CcRuntime
metadata:
  name: ccruntime
spec:
  runtimeName: kata
  config:
    payloadImage: oci-archive:/srv/payloads/runtime-payload.oci.tar
    installType: bundle
    runtimeClasses:
      - name: kata-qemu
"""


def example(name: str) -> str:
    """Return a plugin's EXAMPLES."""
    for node in ast.parse(PLUGINS[name].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EXAMPLES":
            return str(ast.literal_eval(node.value))
    raise AssertionError(f"{PLUGINS[name]} has no EXAMPLES")


def plays(name: str, text: str) -> list[dict[str, t.Any]]:
    """Return an example as plays: tasks get one around them."""
    entries = yaml.safe_load(text)
    if "hosts" in entries[0]:
        return [{"gather_facts": False, **entry} for entry in entries]
    tasks = [entry for entry in entries if entry["name"] not in LEFT_OUT]
    return [{"name": name, "hosts": "coco_nodes", "gather_facts": False, "tasks": tasks}]


def test_every_plugin_has_examples_that_are_run() -> None:
    assert sorted({*ORDER}) == sorted(PLUGINS)
    assert {name for name in LEFT_OUT if not any(name in example(plugin) for plugin in PLUGINS)} == set()


def test_examples(node: Node, payload: dict[str, str], tmp_path: Path) -> None:
    replaced = {
        "/srv/payloads/runtime-payload.oci.tar": payload["oci_archive"],
        "/srv/payloads/kata-deploy.tar": str(tmp_path / "saved.tar"),
        "quay.io/kata-containers/kata-deploy:3.25.0": payload["image"],
        "hosts: my_workers": "hosts: coco_nodes",
        "/root/status.txt": "/run/status.txt",  # gone with the node
    }

    def substituted(text: str) -> str:
        for old, new in replaced.items():
            text = text.replace(old, new)
        return text

    playbook = [play for name in ORDER for play in plays(name, substituted(example(name)))]
    (tmp_path / "playbook.yml").write_text(yaml.safe_dump(playbook, sort_keys=False), encoding="utf-8")
    (tmp_path / "ccruntime.yaml").write_text(substituted(MANIFEST), encoding="utf-8")
    run = node.play(str(tmp_path / "playbook"), coco_payload=f"oci-archive:{payload['oci_archive']}")
    assert run.status == 0, run.output
