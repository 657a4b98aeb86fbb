# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user can ask for beside the payload's handlers, and takes back by uninstalling: on containerd 1.7 and 2.1."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node

CONFIG = "/etc/containerd/config.toml"
V2 = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
DEFAULTS = "/opt/confidential-containers/share/defaults/kata-containers"


def configured(node: Node, script: str) -> None:
    """Let the admin of a node change the engine's configuration."""
    node.sh(f"{script} && systemctl restart containerd")


def test_a_disabled_cri(each: Node, archive: str) -> None:
    """Docker's package disables the CRI: refused before anything changes, or enabled, and disabled again."""
    configured(each, f'printf \'disabled_plugins = ["cri"]\\n#root = "/x"\\n\' > {CONFIG}')
    before = each.snapshot()
    run = each.play("install", coco_payload=archive)
    assert run.status != 0
    assert "disabled_plugins" in run.output
    assert "coco_enable_cri=true" in run.output
    assert each.snapshot() == before

    each.install(archive, coco_enable_cri=True)
    assert "ok" in each.sh("ctr plugins ls id==cri")
    engine = each.engine()
    assert each.play("install", coco_payload=archive, coco_enable_cri=True).recap(each.name, "changed") == 0
    assert each.engine() == engine

    each.remove()
    assert each.snapshot() == before
    assert "cri" not in each.sh("ctr plugins ls id==cri")


def test_a_handler_of_the_users_own(each: Node, archive: str) -> None:
    """It is served beside those of the payload, with the payload's shim, and goes when it is asked for no longer."""
    own = {"kata-mine": {"config_path": f"{DEFAULTS}/configuration-clh.toml", "pod_annotations": ["example.com/*"]}}
    before = each.snapshot()
    each.install(archive, coco_handler_overrides=own)
    assert "Starting gVisor" in each.pod("kata-mine")
    each.remove_pods()
    each.install(archive, coco_handlers=["kata-qemu"])
    assert "kata-mine" not in each.sh("containerd config dump")
    each.remove()
    assert each.snapshot() == before

    run = each.play("install", coco_payload=archive, coco_handler_overrides={"kata-mine": {"pod_annotations": ["x"]}})
    assert run.status != 0
    assert "config_path" in run.output


def test_snapshotters(each: Node, archive: str) -> None:
    """A handler of its own snapshotter, a proxy plugin among them; on 2.x, images are pulled to it, too."""
    proxies = {"nydus": {"type": "snapshot", "address": "/run/containerd-nydus/containerd-nydus-grpc.sock"}}
    overrides = {"kata-qemu": {"snapshotter": "native"}, "kata-clh": {"snapshotter": "nydus"}}
    before = each.snapshot()
    run = each.play("install", coco_payload=archive, coco_handler_overrides=overrides)
    assert run.status != 0
    assert "Found nydus" in run.output

    how: dict[str, t.Any] = {"coco_handler_overrides": overrides, "coco_proxy_plugins": proxies}
    each.install(archive, **how)
    assert "nydus" in each.sh("ctr plugins ls")
    dump = each.sh("containerd config dump")
    if "version = 3" in dump:
        assert ".runtime_platforms.kata-qemu]" in dump
    assert each.play("install", coco_payload=archive, **how).recap(each.name, "changed") == 0

    each.install(archive)
    dump = each.sh("containerd config dump")
    assert "runtime_platforms.kata" not in dump
    assert "nydus" not in dump
    each.remove()
    assert each.snapshot() == before


@pytest.mark.parametrize("edited", [False, True], ids=["as left", "edited since"])
def test_a_handler_of_the_users_with_our_name(each: Node, archive: str, edited: bool) -> None:
    """Refused, or kept aside and given back, also in a file that was edited since."""
    theirs = f'\\n{V2}.kata-qemu]   # mine\\nruntime_type = "io.containerd.runc.v2"\\n'
    configured(each, f"printf '{theirs}' >> {CONFIG}")
    before, text = each.snapshot(), each.sh(f"cat {CONFIG}")
    run = each.play("install", coco_payload=archive)
    assert run.status != 0
    assert f"kata-qemu in {CONFIG}" in run.output
    assert "coco_conflicts=keep_aside" in run.output

    each.install(archive, coco_conflicts="keep_aside")
    assert "Starting gVisor" in each.pod("kata-qemu")
    each.remove_pods()
    assert each.play("install", coco_payload=archive, coco_conflicts="keep_aside").recap(each.name, "changed") == 0
    if edited:
        each.sh(f"echo '# since' >> {CONFIG}")
    each.remove()
    assert each.sh(f"cat {CONFIG}") == text + ("# since\n" if edited else "")
    if not edited:
        assert each.snapshot() == before


def test_a_cri_section_in_a_drop_in(each: Node, archive: str) -> None:
    """NVIDIA's toolkit copies the whole CRI section to a drop-in: on 1.x that is the one that counts."""
    nvidia = "/etc/containerd/conf.d/99-nvidia.toml"
    script = (
        f"mkdir /etc/containerd/conf.d && sed -n '/^version/p;/^\\[plugins/,$p' {CONFIG} | sed '/^\\[ttrpc/,$d' > {nvidia} "
        f"&& printf '\\n{V2}.nvidia]\\nruntime_type = \"io.containerd.runc.v2\"\\n' >> {nvidia} "
        f"&& sed -i '/^imports/d' {CONFIG} && sed -i \"1i imports = ['/etc/containerd/conf.d/*.toml']\" {CONFIG}"
    )
    configured(each, script)
    before = each.snapshot()
    each.install(archive)
    for handler in ("kata-qemu", "nvidia", "runc"):
        assert f"runtimes.{handler}]" in each.sh("containerd config dump")
    assert "Starting gVisor" in each.pod("kata-qemu")
    each.remove_pods()
    assert each.play("install", coco_payload=archive).recap(each.name, "changed") == 0
    each.remove()
    assert each.snapshot() == before


def test_uninstall_after_config_migrate(nodes: list[Node], archive: str) -> None:
    """containerd 2.1 has migrated the file, our drop-in inlined: only what is ours goes, the user's backup stays."""
    node = nodes[1]
    configured(node, f"cp {CONFIG} {CONFIG}.bak")
    migrated = node.sh("containerd config migrate")
    backup = node.sh(f"cat {CONFIG}.bak")
    node.install(archive)
    node.sh(
        f"containerd config migrate > /root/new && cat /root/new > {CONFIG} && rm /root/new && systemctl restart containerd"
    )
    node.remove()
    assert "kata" not in node.sh(f"cat {CONFIG}")
    assert "Confidential" not in node.sh(f"cat {CONFIG}")
    assert node.sh("containerd config dump") == migrated_dump(node, migrated)
    assert node.sh(f"ls /etc/containerd; cat {CONFIG}.bak") == f"config.toml\nconfig.toml.bak\n{backup}"


def migrated_dump(node: Node, text: str) -> str:
    """Return what the engine makes of a migrated file."""
    node.sh(f"cat > /root/migrated.toml <<'EOF'\n{text}\nEOF")
    dump = node.sh("containerd --config /root/migrated.toml config dump; rm /root/migrated.toml")
    return dump.replace("/root/migrated.toml", CONFIG)
