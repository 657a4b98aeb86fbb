# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks as far as they go without a node: what is refused first, and what the first batch says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]

#: Nobody listens on port 1: these nodes cannot be reached, and nothing needs to wait for that.
AWAY = {"ansible_host": "127.0.0.1", "ansible_port": 1}
NODES = {"coco_nodes": {"hosts": {"one": AWAY, "two": AWAY, "three": AWAY}}}
#: Without the play on localhost.
LIMITED = ("--limit", "two")
GOOD = ("-e", "coco_payload=dir:/etc")


class Run(t.NamedTuple):
    status: int
    output: str


@pytest.fixture
def play(tmp_path: Path) -> t.Callable[..., Run]:
    def run(playbook: str | list[dict[str, t.Any]], *words: str, inventory: t.Mapping[str, t.Any] | None = None) -> Run:
        written = tmp_path / "inventory.yml"
        written.write_text(yaml.safe_dump(dict(inventory or NODES), sort_keys=False), encoding="utf-8")
        path = ROOT / f"playbooks/{playbook}.yml"
        if not isinstance(playbook, str):
            path = tmp_path / "playbook.yml"
            path.write_text(yaml.safe_dump(playbook), encoding="utf-8")
        done = subprocess.run(
            [Path(sys.executable).parent / "ansible-playbook", path, "-i", written, *words],
            check=False,
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "10000", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
            capture_output=True,
            text=True,
        )
        return Run(done.returncode, done.stdout + done.stderr)

    return run


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        pytest.param(
            ("-e", "coco_serial=two", *LIMITED), ["percentages above 0 in coco_serial. Found the text 'two'"], id="word"
        ),
        pytest.param(("-e", '{"coco_serial": 0}', *LIMITED), ["percentages above 0 in coco_serial"], id="no batch"),
        pytest.param(("-e", "coco_verify=maybe"), ["Expected coco_verify to be true or false"], id="no boolean"),
        pytest.param(
            ("--tags", "install", *LIMITED), ["Expected a run of all tasks", "Found --tags install"], id="tags"
        ),
        pytest.param(("--skip-tags", "untagged"), ["Found --skip-tags untagged"], id="skipped tags"),
        pytest.param(
            ("--start-at-task", "Serve the handlers"), ["Found --start-at-task=Serve the handlers"], id="middle"
        ),
        pytest.param(
            ("-e", '{"coco_environment_variables": [{"name": "INSTALLATION_PREFIX", "value": "srv"}]}'),
            ["Expected INSTALLATION_PREFIX to be an absolute path. Found srv."],
            id="prefix",
        ),
        pytest.param(
            ("-e", "coco_paylod=x", "-e", "coco_handlers={}"),
            [
                "coco_paylod (did you mean coco_payload?)",
                "Expected coco_handlers to be a list of texts. Found a mapping.",
            ],
            id="all at once",
        ),
    ],
)
def test_what_is_wrong_is_said_first(play: t.Callable[..., Run], words: tuple[str, ...], texts: list[str]) -> None:
    run = play("install", *GOOD, *words)
    assert run.status != 0
    assert not [text for text in texts if text not in run.output], run.output
    assert "UNREACHABLE" not in run.output
    assert "Traceback" not in run.output
    assert len(run.output) < 4500


def test_a_role_of_a_play_of_one_s_own_says_it_as_well(play: t.Callable[..., Run]) -> None:
    """Ansible's own validation, which comes after it, would print the whole specification."""
    ours = {"hosts": "coco_nodes", "gather_facts": False, "roles": ["confidential_containers.runtime.install"]}
    run = play([ours], *GOOD, "-e", "coco_verify=maybe", *LIMITED)
    assert "Expected coco_verify to be true or false. Found the text 'maybe'." in run.output
    assert "argument_spec" not in run.output


def test_null_is_not_given_and_a_first_node_that_is_away_is_not_the_last_word(play: t.Callable[..., Run]) -> None:
    nothing = {"coco_serial": None, "coco_hosts": None, "coco_verify": None, "coco_handlers": None}
    run = play("install", *GOOD, "-e", json.dumps(nothing), inventory=with_vars("all", coco_hosts="nobody"))
    assert "Now: one. If all goes well: two, three." in run.output
    assert "UNREACHABLE" in run.output
    assert "PLAY [Install the Confidential Containers runtime] *" in run.output
    assert "Stop here" not in run.output


def test_behind_a_node_that_fails_no_further_batch_starts(play: t.Callable[..., Run]) -> None:
    steps = [
        {"ansible.builtin.assert": {"that": "inventory_hostname != 'one'"}},
        {"ansible.builtin.debug": {"msg": "went on"}},
    ]
    batch = [{"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/batch.yml")}]
    ours = {"hosts": "coco_nodes", "gather_facts": False, "serial": [2, 1], "pre_tasks": batch, "tasks": steps}
    run = play([ours])
    assert run.status != 0
    assert "Now: one, two. If all goes well: three." in run.output
    assert run.output.count("went on") == 1  # the other node of the batch
    assert "Not started on three: the rollout stopped at one." in run.output


def looked(*servers: str) -> dict[str, t.Any]:
    """Return a play that stands in for the look at the nodes, and finds these servers."""
    found = {"name": "k3s", "server": f"{{{{ inventory_hostname in {list(servers)} }}}}"}
    tasks = [{"ansible.builtin.set_fact": {"_coco_node": {"engine": found}}}]
    return {"hosts": "coco_nodes", "gather_facts": False, "tasks": tasks}


def in_batches(*steps: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return a play with the batches of our playbooks."""
    batch = [{"ansible.builtin.import_tasks": str(ROOT / "playbooks/tasks/batch.yml")}]
    keywords = {"hosts": "{{ _coco_rollout.hosts }}", "serial": "{{ _coco_rollout.serial }}"}
    files = [str(ROOT / "playbooks/vars/rollout.yml")]
    return {**keywords, "vars_files": files, "gather_facts": False, "pre_tasks": batch, "tasks": list(steps)}


def test_servers_go_last_and_one_at_a_time(play: t.Callable[..., Run]) -> None:
    say = {"ansible.builtin.debug": {"msg": "Together: {{ ansible_play_batch | join(' ') }}"}, "run_once": True}
    ours = [looked("one", "two"), in_batches(say)]
    run = play(ours, "-e", "coco_serial=5", inventory={"coco_nodes": {"hosts": dict.fromkeys(["one", "two", *"abc"])}})
    assert run.status == 0, run.output
    assert "Now: a, b, c. If all goes well: one, two. Servers go last, one at a time, " in run.output
    assert "server away for some seconds: one, two." in run.output
    assert re.findall("Together: ([a-z ]*)", run.output) == ["a b c", "one", "two"]
    assert "Now: two. No others follow." in run.output

    run = play(ours, *LIMITED)
    assert "Now: two. No others follow." in run.output
    assert re.findall("Together: ([a-z ]*)", run.output) == ["two"]


def test_behind_a_server_that_fails_no_other_server_follows(play: t.Callable[..., Run]) -> None:
    step = {"ansible.builtin.assert": {"that": "inventory_hostname != 'one'"}}
    run = play([looked("one", "two"), in_batches(step)])
    assert run.status != 0
    assert "Now: three. If all goes well: one, two." in run.output
    assert "Now: one. If all goes well: two." in run.output
    assert "Now: two" not in run.output


def test_before_the_batches_all_nodes_are_looked_at_and_none_is_lost(play: t.Callable[..., Run]) -> None:
    """Nodes that are away are missed in their own batch, not before."""
    run = play("uninstall")
    before, after = run.output.split("PLAY [Uninstall the Confidential Containers runtime]", 1)
    assert before.count("...ignoring") == 3
    assert "Now: one. If all goes well: two, three." in after
    assert "...ignoring" not in after
    alone = play("uninstall", *LIMITED).output.split("PLAY [Uninstall", 1)[0]
    assert "UNREACHABLE" not in alone


def test_a_play_of_one_s_own_must_not_restart_two_servers_at_once(play: t.Callable[..., Run]) -> None:
    ours = {"hosts": "coco_nodes", "gather_facts": False, "roles": ["confidential_containers.runtime.install"]}
    run = play([looked("one", "three"), ours], *GOOD)
    assert run.status != 0
    assert "Expected one server at a time" in run.output
    assert "Found one, three in one batch. Write serial: 1 into the play" in run.output
    assert "UNREACHABLE" not in run.output


def with_vars(group: str, **variables: t.Any) -> dict[str, t.Any]:
    """Return the inventory with variables of one of its groups."""
    return {**NODES, group: {**NODES.get(group, {}), "vars": variables}}


@pytest.mark.parametrize(
    ("name", "group", "value"), [("coco_serial", "coco_nodes", 1), ("coco_hosts", "all", "coco_nodes")]
)
def test_what_a_play_cannot_see_is_refused(play: t.Callable[..., Run], name: str, group: str, value: t.Any) -> None:
    run = play("install", *GOOD, inventory=with_vars(group, **{name: value}))
    assert run.status != 0
    assert f"Expected {name} with -e, if at all" in run.output
    assert f"run the playbook with -e {name}=" in run.output


def test_a_group_that_only_the_inventory_names_is_not_looked_for(play: t.Callable[..., Run]) -> None:
    run = play("install", *GOOD, inventory={"workers": {"hosts": {"one": AWAY}, "vars": {"coco_hosts": "workers"}}})
    assert run.status != 0
    assert "Expected nodes in the inventory group coco_nodes. Found none." in run.output
    assert "In an inventory, coco_hosts has no effect." in run.output


def test_a_playbook_that_imports_ours_may_set_them(play: t.Callable[..., Run]) -> None:
    """They win over an inventory's."""
    ours = {
        "import_playbook": str(ROOT / "playbooks/install.yml"),
        "vars": {"coco_hosts": "two", "coco_serial": 1},
        "tags": "runtime",
    }
    run = play([ours], *GOOD, "--tags", "runtime", inventory=with_vars("all", coco_hosts="nobody", coco_serial=2))
    assert "Now: two. No others follow." in run.output
    assert "two: unreachable" in run.output or "UNREACHABLE" in run.output


def test_from_the_command_line_everything_is_text_and_is_converted(play: t.Callable[..., Run]) -> None:
    """The role variables that tasks read, with each variable given as text."""
    expected: dict[str, t.Any] = {
        "_coco_handlers": ["kata-qemu"],
        "_coco_enable_cri": False,
        "_coco_handler_overrides": {"kata-qemu": {"snapshotter": "nydus"}},
        "_coco_limits": {"bytes": 5},
        "_coco_commands": {"install": ["/x", "install"]},
        "_coco_volumes": [{"name": "v", "hostPath": {"path": "/v"}}],
        "_coco_environment.SHIMS": "qemu",
        "_coco_environment.DEBUG": "false",
        "_coco_environment.MINE": "1",
        "_coco_pre_install": {"image": "x", "cmd": ["/y"]},
        "_coco_debug": False,
        "_coco_settings.handlers": [],
    }
    given = {
        "coco_handlers": "kata-qemu",
        "coco_enable_cri": "false",
        "coco_handler_overrides": '{"kata-qemu": {"snapshotter": "nydus"}}',
        "coco_limits": '{"bytes": "5"}',
        "coco_install_cmd": "/x install",
        "coco_installer_volumes": '[{"name": "v", "hostPath": {"path": "/v"}}]',
        "coco_environment_variables": '[{"name": "MINE", "value": "1"}]',
        "coco_pre_install": '{"image": "x", "cmd": "/y"}',
        "coco_debug": "false",
    }
    common = {"name": "confidential_containers.runtime.common"}
    tasks = [
        {"ansible.builtin.import_role": common, "vars": {"_coco_required": []}},
        *({"ansible.builtin.assert": {"that": f"{name} == {value!r}"}} for name, value in expected.items()),
    ]
    run = play([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], "-e", json.dumps(given))
    assert run.status == 0, run.output


MANIFEST = """\
apiVersion: confidentialcontainers.org/v1beta1
kind: CcRuntime
spec:
  runtimeName: kata
  config:
    payloadImage: quay.io/x/y:1
    installType: bundle
    preInstall:
      image: quay.io/x/hook:1
"""


def test_a_hook_of_a_manifest_can_be_switched_off(play: t.Callable[..., Run], tmp_path: Path) -> None:
    manifest = tmp_path / "ccruntime.yml"
    manifest.write_text(MANIFEST, encoding="utf-8")
    common = {"name": "confidential_containers.runtime.common"}
    tasks = [
        {"ansible.builtin.import_role": common, "vars": {"_coco_required": ["coco_payload"]}},
        {"ansible.builtin.assert": {"that": "_coco_pre_install.image == 'quay.io/x/hook:1'"}},
        {"ansible.builtin.assert": {"that": "_coco_pre_install == {}"}, "vars": {"coco_pre_install": {}}},
        {"ansible.builtin.assert": {"that": "_coco_handlers == []"}, "vars": {"coco_handlers": "{{ omit }}"}},
    ]
    run = play([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], "-e", f"coco_ccruntime={manifest}")
    assert run.status == 0, run.output


def test_what_is_wrong_with_a_manifest_is_said_with_its_name(play: t.Callable[..., Run], tmp_path: Path) -> None:
    manifest = tmp_path / "ccruntime.yml"
    manifest.write_text(MANIFEST.replace("payloadImage", "payloadImag"), encoding="utf-8")
    run = play("install", "-e", f"coco_ccruntime={manifest}")
    assert run.status != 0
    assert f"{manifest}: spec.config.payloadImag" in run.output
    assert "Finalization" not in run.output
    assert "caused by" not in run.output


def test_one_host_with_wrong_variables_leaves_the_others_in_the_status_table(play: t.Callable[..., Run]) -> None:
    hosts = {"one": {**AWAY, "coco_engine_timeout": "soon"}, "two": AWAY}
    run = play("status", inventory={"coco_nodes": {"hosts": hosts}})
    assert run.status != 0
    assert re.search(r"^one +refused ", run.output, re.MULTILINE), run.output
    assert "Found the text 'soon'" in run.output
    assert re.search(r"^two +away ", run.output, re.MULTILINE), run.output
