# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong half-way, and what others change meanwhile: the engine serves, and the next run finishes the job."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node, inventory_of

PREFIX = "/opt/confidential-containers"
CONFIG = "/etc/containerd/config.toml"
UNIT = "/etc/systemd/system/confidential-containers-transaction.service"


def test_engine_that_does_not_come_back(node: Node, archive: str) -> None:
    """The new configuration passes containerd's own dump, but the unit refuses to start with it."""
    before = node.snapshot()
    directory = "/run/systemd/system/containerd.service.d"
    guard = f'[Service]\\nExecStartPre=/bin/sh -c "if grep kata-qemu {CONFIG}; then echo not with us, token=geheim; exit 3; fi"\\n'
    node.sh(f"mkdir -p {directory} && printf '{guard}' > {directory}/refuse.conf && systemctl daemon-reload")
    try:
        run = node.play("install", coco_payload=archive)
        assert run.status != 0
        for words in ("rolled back", "The engine said", "not with us, token=", "status=3"):
            assert words in run.output, run.output
        for words in ("geheim", "Traceback"):
            assert words not in run.output, run.output
        assert node.snapshot() == before
        assert node.pod("runc", "echo", "plain") == "plain\n"
    finally:
        node.sh(f"rm -r {directory} && systemctl daemon-reload")
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_what_the_admin_mends_by_hand_stays(node: Node, archive: str) -> None:
    """The engine does not start with any configuration: the way back fails, too. The next run keeps what the admin has done."""
    before = node.sh(f"cat {CONFIG}")
    mended = before + "# mended by me\n"
    directory = "/run/systemd/system/containerd.service.d"
    guard = "[Service]\\nExecStartPre=/bin/false\\n"
    node.sh(f"mkdir -p {directory} && printf '{guard}' > {directory}/refuse.conf && systemctl daemon-reload")
    try:
        run = node.play("install", coco_payload=archive)
        assert run.status != 0
        assert "Rolling back failed, too" in run.output, run.output
    finally:
        node.sh(f"rm -r {directory} && systemctl daemon-reload")
    node.sh(f"cat > {CONFIG} <<'END'\n{mended}END\nsystemctl reset-failed containerd; systemctl restart containerd")
    starts = node.starts()
    output = node.install(archive)
    assert f"{CONFIG}: changed by somebody else" in output
    assert node.starts() == starts + 1
    assert "# mended by me" in node.sh(f"cat {CONFIG}")
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert node.play("uninstall").status == 0
    assert node.sh(f"cat {CONFIG}") == mended


@pytest.fixture
def interrupted(node: Node, archive: str, tmp_path: Path) -> Node:
    """A node on which a run ended between the artifacts and the handlers."""
    playbook = tmp_path / "half.yml"
    collection = "confidential_containers.runtime"
    tasks = [
        {f"{collection}.payload_extract": {"payload": archive}, "register": "payload"},
        {
            f"{collection}.payload_artifacts": {
                "digest": "{{ payload.digest }}",
                "prefix": "{{ payload.prefix }}",
            }
        },
    ]
    playbook.write_text(yaml.safe_dump([{"hosts": "coco_nodes", "gather_facts": False, "tasks": tasks}]))
    run = node.play(str(playbook.with_suffix("")))
    assert run.status == 0, run.output
    return node


def test_interrupted_run_is_ended_by_the_next_install(interrupted: Node, archive: str) -> None:
    assert "interrupted run" in interrupted.status()
    interrupted.install(archive)
    assert "Starting gVisor" in interrupted.pod("kata-qemu")
    assert interrupted.sh("ls -A /opt").split() == ["confidential-containers", "containerd"]


def test_interrupted_run_is_ended_by_uninstall(interrupted: Node) -> None:
    engine = interrupted.engine()
    assert interrupted.play("uninstall").status == 0
    assert interrupted.engine() == engine
    assert interrupted.sh("ls -A /opt").split() == ["containerd"]


def test_interrupted_run_is_ended_when_the_node_boots(interrupted: Node) -> None:
    """The unit is enabled while the journal is open: the target that a boot starts pulls it in, and it is gone afterwards."""
    interrupted.sh("systemctl start multi-user.target")
    # The unit goes first, and what lies beside its journal a moment later.
    gone = f"while test -e {UNIT} -o -e /var/lib/confidential-containers; do sleep 0.1; done"
    interrupted.sh(f"timeout 30 sh -c '{gone}'")
    assert interrupted.sh("ls -A /opt").split() == ["containerd"]
    assert not interrupted.remembers()
    assert not interrupted.paths(f"/etc/systemd/system/*/{Path(UNIT).name}")


SENT = "/root/.ansible/tmp/confidential-containers-*"


def test_killed_transfer(node: Node, archive: str) -> None:
    """What was sent to a node goes with the next transfer, or with the one that it was for."""
    with node.started("install", coco_payload=archive) as playbook:
        node.sh(f"timeout 60 sh -c 'until ls {SENT}/payload; do sleep 0.02; done'")
        os.killpg(playbook.pid, signal.SIGKILL)
    assert node.sh(f"ls -d {SENT}").strip()
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert not node.paths(SENT)


def test_no_room_for_a_transfer(node: Node, archive: str) -> None:
    before = node.snapshot()
    node.sh("mkdir -p /root/.ansible/tmp && mount -t tmpfs -o size=4m tmpfs /root/.ansible/tmp")
    run = node.play("install", coco_payload=archive)
    assert run.status != 0
    assert "room for the payload in /root/.ansible/tmp" in run.output
    assert not node.paths(SENT)
    assert node.snapshot() == before


def test_killed_controller(node: Node, archive: str) -> None:
    """The transaction goes on without the ansible-playbook that ordered it, and the next run finds nothing left to do."""
    directory = f"/run/systemd/system/{Path(UNIT).name}.d"
    node.sh(
        f"mkdir -p {directory} && printf '[Service]\\nExecStartPre=/bin/sleep 4\\n' > {directory}/slow.conf "
        "&& systemctl daemon-reload"
    )
    try:
        with node.started("install", coco_payload=archive) as playbook:
            node.sh(
                f"timeout 300 sh -c 'until systemctl status {Path(UNIT).name} | grep -q ExecStartPre; do sleep 0.1; done'"
            )
            os.killpg(playbook.pid, signal.SIGKILL)
        node.sh(f"timeout 300 sh -c 'while test -e {UNIT}; do sleep 0.1; done'")
    finally:
        node.sh(f"rm -r {directory} && systemctl daemon-reload")
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert "changed=0" in node.install(archive)


def test_two_runs_at_once(node: Node, archive: str) -> None:
    """One waits for the other, or is refused; the node ends in one state that both asked for."""
    with node.started("install", coco_payload=archive) as first:
        second = node.play("install", coco_payload=archive)
        first.wait()
    assert "Traceback" not in second.output
    assert first.returncode == 0 or second.status == 0, second.output
    node.install(archive)
    assert "changed=0" in node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_engine_that_breaks_its_cri(node: Node, archive: str) -> None:
    """Passes containerd's own dump, and yet the CRI plugin does not load with it: rolled back, in the engine's own words."""
    before = node.snapshot()
    run = node.play(
        "install",
        coco_payload=archive,
        coco_handler_overrides={"kata-qemu": {"base_runtime_spec": "/nonexistent.json"}},
    )
    assert run.status != 0
    for words in ("rolled back", "plugin io.containerd.grpc.v1.cri: error", "nonexistent.json"):
        assert words in run.output, run.output
    assert node.snapshot() == before
    assert node.pod("runc", "echo", "plain") == "plain\n"


@pytest.mark.parametrize(
    "mount",
    [
        "mount --bind /etc/containerd /etc/containerd && mount -o remount,ro,bind /etc/containerd",
        (
            "cp -a /etc/containerd /run/full && mount -t tmpfs -o size=16k tmpfs /etc/containerd "
            "&& cp -a /run/full/. /etc/containerd && { cat /dev/zero > /etc/containerd/ballast || true; } 2>/dev/null"
        ),
    ],
    ids=["read-only", "full"],
)
def test_configuration_that_cannot_be_written(node: Node, archive: str, mount: str) -> None:
    before, engine = node.snapshot(), node.engine()
    node.sh(mount)
    run = node.play("install", coco_payload=archive)
    assert run.status != 0
    assert "rolled back" in run.output, run.output
    node.sh("umount /etc/containerd; rm -rf /run/full")
    assert node.snapshot() == before
    assert node.engine() == engine
    assert not node.remembers()


def test_engine_at_its_start_limit(node: Node, archive: str) -> None:
    """Earlier starts of the engine do not count against the one restart that is due."""
    directory = "/run/systemd/system/containerd.service.d"
    limit = "[Unit]\\nStartLimitBurst=2\\nStartLimitIntervalSec=1h\\n"
    node.sh(f"mkdir -p {directory} && printf '{limit}' > {directory}/limit.conf && systemctl daemon-reload")
    node.sh("for n in 1 2 3; do systemctl restart containerd || break; done; systemctl reset-failed containerd; true")
    node.sh("systemctl restart containerd && systemctl restart containerd")
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_handler_that_is_no_longer_asked_for_goes(node: Node, archive: str) -> None:
    node.install(archive)
    node.install(archive, coco_handlers=["kata-clh"])
    assert "kata-qemu" not in node.sh(f"cat {CONFIG}")
    assert "Starting gVisor" in node.pod("kata-clh")


def test_edit_of_the_admins_stays(node: Node, archive: str) -> None:
    before = node.sh(f"cat {CONFIG}")
    edit = (
        '\\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.later]\\nruntime_type = "io.containerd.runc.v2"\\n'
    )
    node.install(archive)
    node.sh(f"printf '# seen by me\\n{edit}' >> {CONFIG} && systemctl restart containerd")
    assert "changed=0" in node.install(archive)
    assert node.play("uninstall").status == 0
    expected = before + "# seen by me\n" + edit.replace("\\n", "\n")
    assert node.sh(f"cat {CONFIG}") == expected


def test_plan_of_an_uninstallation(node: Node, archive: str) -> None:
    node.install(archive)
    before = node.snapshot()
    run = node.play("uninstall", "--check", "--diff")
    assert run.status == 0, run.output
    for words in ("-[plugins.", "restart containerd.service", f"- {PREFIX}/bin/runsc"):
        assert words in run.output
    assert node.snapshot() == before


def test_configuration_that_the_admin_restored_from_a_backup(node: Node, archive: str) -> None:
    before = node.snapshot()
    node.sh(f"cp -a {CONFIG} /root/backup.toml")
    node.install(archive)
    node.sh(f"cat /root/backup.toml > {CONFIG} && rm /root/backup.toml && systemctl restart containerd")
    node.remove()
    assert node.snapshot() == before


def test_missing_binary_is_seen_and_brought_back(node: Node, archive: str) -> None:
    node.install(archive)
    node.sh(f"rm {PREFIX}/bin/runsc")
    status = node.status()
    assert "damaged" in status
    assert "missing: bin/runsc" in status
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-clh")
    assert "damaged" not in node.status()


def test_configuration_file_that_the_admin_edited_is_kept(node: Node, archive: str) -> None:
    path = f"{PREFIX}/share/defaults/kata-containers/configuration-clh.toml"
    node.install(archive)
    node.sh(f"echo '# mine' >> {path}")
    output = node.install(archive)
    assert "changed=0" in output
    assert path in output
    assert "Starting gVisor" in node.pod("kata-clh")

    # Without it, too: it is named until it is gone, and taken over by the next installation.
    for output in (node.play("uninstall").output, node.play("uninstall").output, node.play("cleanup").output):
        assert f"{path}. Remove those" in output
    output = node.install(archive)
    assert f"kept as you edited them: {path}" in output
    assert "# mine" in node.sh(f"cat {path}")
    node.play("uninstall")
    status = node.status()
    assert f"left as you edited them: {path}" in status
    assert " uninstalled " in status


def test_failed_node_starts_no_further_batch(nodes: list[Node], archive: str) -> None:
    good, bad = nodes
    inventory = inventory_of([bad, good])
    # Nodes of one batch go on to their end, whatever happens to the others …
    bad.sh("systemctl stop containerd")
    together = good.play("install", inventory=inventory, coco_payload=archive, coco_serial=2)
    assert (together.recap(bad.name, "failed"), together.recap(good.name, "failed")) == (1, 0)
    assert "Starting gVisor" in good.pod("kata-clh")
    good.reset()
    # … and a batch after a failed one does not begin.
    apart = good.play("install", inventory=inventory, coco_payload=archive)
    assert apart.status != 0
    assert apart.recap(bad.name, "failed") == 1
    # The look before all batches is the only thing that it has seen of this run.
    _before, *batches = apart.output.split("PLAY [Install the Confidential Containers runtime]")
    assert len(batches) == 1
    assert f"[{good.name}]" not in batches[0]
    assert apart.recap(good.name, "changed") == 0
    assert not good.remembers()


def test_file_that_changes_between_reading_and_writing(node: Node, tmp_path: Path) -> None:
    """Somebody else edits the configuration while this collection does: theirs stays, and the run is refused."""
    module = "confidential_containers.runtime.engine_config"
    change = {
        "path": CONFIG,
        "expected": "sha256:{{ engine.files[config] | b64decode | hash('sha256') }}",
        "content": "{{ (engine.files[config] | b64decode ~ '\n# ours\n') | b64encode }}",
        "before": "{{ engine.files[config] }}",
    }
    tasks = [
        {module: {"state": "read"}, "register": "engine"},
        {"ansible.builtin.shell": f"cp -a {CONFIG} {CONFIG}.kept && echo '# theirs' >> {CONFIG}"},
        {module: {"state": "applied", "files": [change], "trial": {"config.toml": change["content"]}}},
    ]
    play = {"hosts": "coco_nodes", "gather_facts": False, "vars": {"config": CONFIG}, "tasks": tasks}
    playbook = tmp_path / "change.yml"
    playbook.write_text(yaml.safe_dump([play]))
    before = node.engine()
    run = node.play(str(playbook.with_suffix("")))
    assert run.status != 0
    assert f"{CONFIG} as it was read a moment ago" in run.output
    assert node.sh(f"tail -n 1 {CONFIG}") == "# theirs\n"
    assert node.engine() == before
    assert not node.remembers()
