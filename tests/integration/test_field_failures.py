# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What broke clusters that were served by other deployers, by number, each set up on a real engine.

Elsewhere: 4 in test_cycles, 5 in test_features, 11 in test_faults (and 1 with a configuration that only the CRI refuses), 13 and
14 in test_crash, 10 and 18 for every spelling and schema in tests/matrix; 6, 7, 8 and 16 are about artifacts, labels and
batches: the molecule scenario.
"""

from __future__ import annotations

import shlex

from ansible_collections.confidential_containers.runtime.tests.integration import harness
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/99-confidential-containers.toml"


def test_row_1_the_default_handler_stays(node: Node, archive: str) -> None:
    """A file without handlers, as Debian packages it: a handler of ours must not make containerd forget runc."""
    node.sh(f"cp -a {CONFIG} /root/config.toml && printf 'version = 2\\n' > {CONFIG} && systemctl restart containerd")
    try:
        node.install(archive)
        assert node.sh("ctr plugins ls id==cri | tail -n 1").split()[-1] == "ok"
        dump = node.sh("containerd config dump")
        assert "containerd.runtimes.runc]" in dump
        assert "containerd.runtimes.kata-qemu]" in dump
        assert node.play("uninstall").status == 0
        assert node.sh(f"cat {CONFIG}") == "version = 2\n"
    finally:
        node.sh(f"mv /root/config.toml {CONFIG} && systemctl restart containerd")


def test_row_2_an_engine_that_was_not_restarted(nodes: list[Node], archive: str) -> None:
    """The file was reverted, and the engine still serves what it has loaded: uninstall restarts it."""
    for node in nodes:
        node.sh(f"cp -a {CONFIG} /root/config.toml")
        node.install(archive)
        node.sh(f"cp -a /root/config.toml {CONFIG} && rm -f {DROP_IN} /root/config.toml")
        engine = node.engine()
        assert node.play("uninstall").status == 0
        assert node.engine() != engine
        status = node.play("status").output
        assert "kata-qemu" not in status


def test_row_2_an_engine_that_has_not_loaded_its_configuration(node: Node, archive: str) -> None:
    """The file has the handlers, the engine has not: the next install restarts it, and changes no file."""
    node.install(archive)
    node.sh(
        f"cp -a {CONFIG} /root/ours.toml && sed -i '/^# Runtime handlers of Conf/,$d' {CONFIG} && systemctl restart containerd"
    )
    node.sh(f"mv /root/ours.toml {CONFIG}")
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_row_3_a_handler_that_is_dropped(nodes: list[Node], archive: str) -> None:
    """Its tables go with it, those of its snapshotter included; the others stay."""
    for node in nodes:
        node.install(archive, coco_handler_overrides={"kata-clh": {"snapshotter": "native"}})
        node.install(archive, coco_handlers=["kata-qemu"])
        configured = node.sh(f"cat {' '.join(node.paths(CONFIG, DROP_IN))}")
        assert "kata-qemu" in configured
        assert "kata-clh" not in configured
        assert "runtime_platforms" not in configured


def test_row_9_an_import_never_names_a_missing_file(nodes: list[Node], archive: str) -> None:
    """The import is a pattern: the engine starts, whoever removed the drop-in."""
    node = nodes[1]
    node.install(archive)
    node.sh(f"rm {DROP_IN} && systemctl restart containerd")
    assert node.pod("runc", "echo", "plain") == "plain\n"


def test_row_9_a_file_that_went_while_the_engine_ran(nodes: list[Node], archive: str) -> None:
    """The admin's import names a file that is gone: no restart would succeed, so there is none."""
    node = nodes[1]
    extra = "/etc/containerd/extra.toml"
    node.sh(
        f"cp -a {CONFIG} /root/config.toml && printf 'version = 2\n' > {extra} "
        f"&& sed -i \"1i imports = ['{extra}']\" {CONFIG} && systemctl restart containerd && rm {extra}"
    )
    try:
        engine = node.engine()
        run = node.play("install", coco_payload=archive)
        assert run.status != 0
        assert f"no {extra}" in run.output
        assert node.engine() == engine
    finally:
        node.sh(f"mv /root/config.toml {CONFIG} && systemctl restart containerd")


def test_row_12_pods_that_use_a_handler(node: Node, archive: str) -> None:
    """Uninstall, and an install without their handler, are refused with their names."""
    node.install(archive)
    node.pod_that_stays("kata-clh")
    engine = node.engine()
    for run in (node.play("uninstall"), node.play("install", coco_payload=archive, coco_handlers=["kata-qemu"])):
        assert run.status != 0
        assert "(kata-clh)" in run.output
        assert "coco_ignore_running_pods" in run.output
    assert node.engine() == engine


def test_row_15_no_change_no_restart(nodes: list[Node], archive: str) -> None:
    """Nor by check mode, nor by a cleanup that is refused."""
    for node in nodes:
        node.install(archive)
        engine = node.engine()
        assert "changed=0" in node.install(archive)
        assert node.play("uninstall", "--check", "--diff").status == 0
        assert node.play("cleanup").status != 0
        assert node.engine() == engine


def test_row_17_an_engine_that_is_another(node: Node, archive: str) -> None:
    """A k3s node has no containerd.service to restart: said before anything is changed."""
    unit = "/etc/systemd/system/k3s.service"
    node.sh(f"printf '[Service]\\nExecStart=/bin/true\\n' > {unit} && systemctl daemon-reload")
    try:
        before = node.snapshot()
        run = node.play("install", coco_payload=archive)
        assert run.status != 0
        assert "k3s" in run.output
        assert node.snapshot() == before
    finally:
        node.sh(f"rm {unit} && systemctl daemon-reload")


def test_row_19_a_tool_that_copies_our_handlers(nodes: list[Node], other_nodes: list[Node], archive: str) -> None:
    """They go with ours; where they cannot, nothing goes; and what lost its programs is not called clean."""
    copy = "/etc/containerd/conf.d/99-nvidia.toml"
    tool = shlex.quote((harness.ROOT / "tests/integration/copy_node.py").read_text())
    for node in (nodes[0], other_nodes[3]):
        node.sh("cp -a /etc/containerd /root/containerd")
        try:
            node.install(archive)
            node.sh(f"python3 -c {tool} && cp {copy} /root/copy.toml && sed -i 's/terminationMessage/mine/' {copy}")
            if node is nodes[0]:
                run = node.play("uninstall")
                assert run.status != 0
                assert f"kata-clh, kata-qemu in {copy}, not as this collection wrote them" in run.output
                assert "Starting gVisor" in node.pod("kata-qemu")
            node.sh(f"cp /root/copy.toml {copy} && systemctl restart containerd")
            run = node.play("uninstall")
            assert run.status == 0, run.output
            assert "kata-" not in node.sh(f"containerd config dump; cat {copy}")
            assert "nvidia" in run.output
            if node is nodes[0]:
                node.sh(f"cp /root/copy.toml {copy} && systemctl restart containerd")
                run = node.play("cleanup")
                assert run.status != 0
                assert f"kata-qemu in {copy}, without /opt/confidential-containers/" in run.output
        finally:
            node.sh("rm -r /etc/containerd && mv /root/containerd /etc/containerd && systemctl restart containerd")
        for playbook in ("uninstall", "cleanup") if node.remembers() else ():
            run = node.play(playbook)
            assert run.status == 0, run.output


def test_row_24_a_shim_that_cannot_be_started(node: Node, archive: str) -> None:
    """A mount with noexec: refused and rolled back, and told by the next run where it came later."""
    served, noexec = node.engine(), "mount --bind /opt /opt && mount -o remount,bind,noexec /opt"
    node.sh(noexec)
    try:
        run = node.play("install", coco_payload=archive)
        assert run.status != 0
        assert "containerd-shim-kata-v2 to start, which pods of kata-clh, kata-qemu need" in run.output
        assert "/opt, which is mounted with noexec" in run.output
        assert node.engine() == served
        assert "kata-" not in node.sh("cat /etc/containerd/config.toml")
        node.sh("umount /opt")
        node.install(archive)
        node.sh(noexec)
        served = node.engine()
        run = node.play("install", coco_payload=archive)
        assert run.status != 0
        assert "/opt, which is mounted with noexec" in run.output
        assert node.engine() == served
    finally:
        node.sh("umount /opt")
