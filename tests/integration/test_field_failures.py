# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What broke clusters that were served by other deployers, each set up on a real engine.

More of it is elsewhere: a disabled CRI in test_features, engines that do not come back in test_faults, runs that are killed in
test_crash, the leftovers of many installations in test_cycles, every spelling and schema of configurations in tests/matrix.
"""

from __future__ import annotations

import shlex

from ansible_collections.confidential_containers.runtime.tests.integration import harness
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Fleet, Node

CONFIG = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/99-confidential-containers.toml"


def test_the_default_handler_stays_beside_ours_in_a_file_without_handlers(node: Node, archive: str) -> None:
    """A file without handlers, as Debian packages it: a handler of ours must not make containerd forget runc."""
    node.sh(f"printf 'version = 2\\n' > {CONFIG} && systemctl restart containerd")
    node.install(archive)
    assert node.sh("ctr plugins ls id==cri | tail -n 1").split()[-1] == "ok"
    dump = node.sh("containerd config dump")
    assert "containerd.runtimes.runc]" in dump
    assert "containerd.runtimes.kata-qemu]" in dump
    assert node.play("uninstall").status == 0
    assert node.sh(f"cat {CONFIG}") == "version = 2\n"


def test_an_engine_that_still_serves_what_its_file_has_lost_is_restarted(each: Node, archive: str) -> None:
    """The file was reverted, and the engine serves what it has loaded."""
    each.sh(f"cp -a {CONFIG} /root/config.toml")
    each.install(archive)
    each.sh(f"cp -a /root/config.toml {CONFIG} && rm -f {DROP_IN}")
    engine = each.engine()
    assert each.play("uninstall").status == 0
    assert each.engine() != engine
    status = each.status()
    assert "kata-qemu" not in status


def test_an_engine_that_has_not_loaded_its_configuration_is_restarted(node: Node, archive: str) -> None:
    """The file has the handlers, the engine has not: the next install restarts it, and changes no file."""
    node.install(archive)
    node.sh(
        f"cp -a {CONFIG} /root/ours.toml && sed -i '/^# Runtime handlers of Conf/,$d' {CONFIG} && systemctl restart containerd"
    )
    node.sh(f"mv /root/ours.toml {CONFIG}")
    node.install(archive)
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_a_handler_that_is_dropped_goes_with_all_of_its_tables(each: Node, archive: str) -> None:
    """Those of its snapshotter, too; the other handlers stay."""
    each.install(archive, coco_handler_overrides={"kata-clh": {"snapshotter": "native"}})
    each.install(archive, coco_handlers=["kata-qemu"])
    configured = each.sh(f"cat {' '.join(each.paths(CONFIG, DROP_IN))}")
    assert "kata-qemu" in configured
    assert "kata-clh" not in configured
    assert "runtime_platforms" not in configured


def test_the_engine_starts_without_the_drop_in_that_somebody_removed(nodes: list[Node], archive: str) -> None:
    """The import is a pattern, and never names a missing file."""
    node = nodes[1]
    node.install(archive)
    node.sh(f"rm {DROP_IN} && systemctl restart containerd")
    assert node.pod("runc", "echo", "plain") == "plain\n"


def test_an_import_of_a_file_that_is_gone_is_refused_without_a_restart(nodes: list[Node], archive: str) -> None:
    """It went while the engine ran, and no restart would succeed."""
    node = nodes[1]
    extra = "/etc/containerd/extra.toml"
    node.sh(
        f"printf 'version = 2\n' > {extra} "
        f"&& sed -i \"1i imports = ['{extra}']\" {CONFIG} && systemctl restart containerd && rm {extra}"
    )
    engine = node.engine()
    run = node.play("install", coco_payload=archive)
    assert run.status != 0
    assert f"no {extra}" in run.output
    assert node.engine() == engine


def test_pods_that_use_a_handler_keep_it(node: Node, archive: str) -> None:
    """Uninstall, and an install without their handler, are refused with their names."""
    node.install(archive)
    node.pod_that_stays("kata-clh")
    engine = node.engine()
    for run in (node.play("uninstall"), node.play("install", coco_payload=archive, coco_handlers=["kata-qemu"])):
        assert run.status != 0
        assert "(kata-clh)" in run.output
        assert "coco_ignore_running_pods" in run.output
    assert node.engine() == engine


def test_what_changes_nothing_restarts_nothing(each: Node, archive: str) -> None:
    """The same once more, check mode, and a cleanup that is refused."""
    each.install(archive)
    engine = each.engine()
    assert "changed=0" in each.install(archive)
    assert each.play("uninstall", "--check", "--diff").status == 0
    refused = each.play("cleanup")
    assert refused.status != 0
    assert "Expected a node from which the runtime is uninstalled" in refused.output
    assert "runtime.uninstall" in refused.output
    assert each.engine() == engine


def test_a_node_of_another_engine_is_refused(node: Node, archive: str) -> None:
    """k3s is up without its containerd: the plain one beside it is not the kubelet's. Said before anything is changed."""
    unit, lines = "/etc/systemd/system/k3s.service", "Type=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/true"
    node.sh(f"printf '[Service]\\n{lines}\\n' > {unit} && systemctl daemon-reload && systemctl start k3s")
    before = node.snapshot()
    run = node.play("install", coco_payload=archive)
    assert run.status != 0
    assert "k3s" in run.output
    assert node.snapshot() == before


def test_copies_of_our_handlers_by_another_tool_go_with_ours(fleet: Fleet, archive: str) -> None:
    """Where they cannot, nothing goes; and what lost its programs is not called clean."""
    copy = "/etc/containerd/conf.d/99-nvidia.toml"
    tool = shlex.quote((harness.ROOT / "tests/integration/copy_node.py").read_text())
    old, new = fleet.get("1.7", "2.3")
    for node in (old, new):
        node.install(archive)
        node.sh(f"python3 -c {tool} && cp {copy} /root/copy.toml && sed -i 's/terminationMessage/mine/' {copy}")
        if node is old:
            run = node.play("uninstall")
            assert run.status != 0
            assert f"kata-clh, kata-qemu in {copy}, not as this collection wrote them" in run.output
            assert "Starting gVisor" in node.pod("kata-qemu")
        node.sh(f"cp /root/copy.toml {copy} && systemctl restart containerd")
        run = node.play("uninstall")
        assert run.status == 0, run.output
        assert "kata-" not in node.sh(f"containerd config dump; cat {copy}")
        assert "nvidia" in run.output
        if node is old:
            node.sh(f"cp /root/copy.toml {copy} && systemctl restart containerd")
            run = node.play("cleanup")
            assert run.status != 0
            assert f"kata-qemu in {copy}, without /opt/confidential-containers/" in run.output


def test_a_shim_that_cannot_be_started_is_refused(node: Node, archive: str) -> None:
    """A mount with noexec: refused and rolled back, and told by the next run where it came later."""
    served, noexec = node.engine(), "mount --bind /opt /opt && mount -o remount,bind,noexec /opt"
    node.sh(noexec)
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
