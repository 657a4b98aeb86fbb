# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Payloads that install themselves: the design document's own example, real scripts in real images, and bad ones."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.tests import sample
from ansible_collections.confidential_containers.runtime.tests.integration.harness import (
    Node,
    Run,
    eventually,
    inventory_of,
)
from ansible_collections.confidential_containers.runtime.tests.integration.refusals import Wrong, refuse_all
from ansible_collections.confidential_containers.runtime.tests.integration.registry import sh

DEPLOY = "/opt/kata-artifacts/scripts/kata-deploy.sh"
PREFIX = "/opt/confidential-containers"

#: The design document's example: how the payload is mounted, and its three commands.
VOLUMES = {
    "containerd-conf": ("/etc/containerd/", ""),
    "kata-artifacts": (f"{PREFIX}/", "DirectoryOrCreate"),
    "dbus": ("/var/run/dbus/system_bus_socket", ""),
    "systemd": ("/run/systemd/system", ""),
    "local-bin": ("/usr/local/bin/", ""),
}


def manifest(image: str, **config: t.Any) -> dict[str, t.Any]:
    """Return a CcRuntime as the operator's users have it."""
    return {
        "apiVersion": "confidentialcontainers.org/v1beta1",
        "kind": "CcRuntime",
        "metadata": {"name": "ccruntime-sample"},
        "spec": {
            "runtimeName": "kata",
            "ccNodeSelector": {"matchLabels": {"node.kubernetes.io/worker": ""}},
            "config": {
                "installType": "bundle",
                "payloadImage": image,
                "installDoneLabel": {"katacontainers.io/kata-runtime": "true"},
                "uninstallDoneLabel": {"katacontainers.io/kata-runtime": "cleanup"},
                "installerVolumeMounts": [{"name": name, "mountPath": path} for name, (path, _kind) in VOLUMES.items()],
                "installerVolumes": [
                    {"name": name, "hostPath": {"path": path, "type": kind}} for name, (path, kind) in VOLUMES.items()
                ],
                "installCmd": [DEPLOY, "install"],
                "uninstallCmd": [DEPLOY, "cleanup"],
                "cleanupCmd": [DEPLOY, "reset"],
                "runtimeClasses": [
                    {"name": "kata-qemu", "snapshotter": "", "pulltype": ""},
                    {"name": "kata-clh", "snapshotter": "", "pulltype": ""},
                ],
                "environmentVariables": [
                    {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                    {"name": "CONFIGURE_CC", "value": "yes"},
                    {"name": "ACCESS_TOKEN", "value": "hunter3-not-real"},
                ],
                **config,
            },
        },
    }


def around(node: Node) -> dict[str, t.Any]:
    """Return the node's file system but for our own state: a payload that was verified stays for the next run.

    The node's address, which is in /etc/hosts, may be another one after a boot.
    """
    ours = ("/var/lib/confidential-con", "/etc/hosts")
    return {path: entry for path, entry in node.snapshot().items() if not path.startswith(ours)}


def processes(node: Node) -> list[str]:
    """Return what is left of an installer on a node."""
    units = node.sh("systemctl list-units --all --no-legend 'confidential-containers*'").splitlines()
    return units + node.paths(
        "/run/confidential-containers/*", "/run/systemd/system/confidential*", "/var/lib/confidential-containers/root"
    )


def test_the_operator_s_manifest(each: Node, archive: str) -> None:
    """Install, again, uninstall, cleanup: as with native modules, by the payload's own script over the mounted bus."""
    node = each
    before = node.snapshot()
    variables: dict[str, t.Any] = {"coco_ccruntime": manifest(archive), "coco_installer": "payload"}
    foreseen = node.play("install", "--check", "--diff", **variables)
    assert foreseen.status == 0, foreseen.output
    for said in (f"{DEPLOY} install", f"mount {PREFIX}/ at {PREFIX}/", "set CONFIGURE_CC", "unknown before it has run"):
        assert said in foreseen.output, foreseen.output
    assert not node.remembers()

    run = node.play("install", "--diff", **variables)
    assert run.status == 0, run.output
    assert "serves kata-clh, kata-qemu" in run.output
    assert f"added {PREFIX}/bin/runsc" in run.output.replace("\\n", "\n")
    for handler in ("kata-qemu", "kata-clh"):
        assert "Starting gVisor" in node.pod(handler)
    assert not processes(node)
    assert "hunter3" not in node.sh("journalctl --boot") + run.output
    status = node.status()
    assert "installed" in status
    assert "kata-clh kata-qemu" in status
    engine = node.engine()
    run = node.play("install", **variables)
    assert (run.status, run.recap(node.name, "changed")) == (0, 0), run.output
    assert node.engine() == engine

    node.sh(f"rm {PREFIX}/bin/runsc")
    assert "missing: " in node.status()
    run = node.play("install", **variables)
    assert (run.status, run.recap(node.name, "changed") > 0) == (0, True), run.output
    assert "Starting gVisor" in node.pod("kata-qemu")

    refused = node.play("cleanup", **variables)
    assert "Uninstall first" in refused.output
    for playbook in ("uninstall", "cleanup"):
        for again in (False, True):
            run = node.play(playbook, **variables)
            assert run.status == 0, run.output
            assert run.recap(node.name, "changed") == 0 or not again, run.output
    assert node.snapshot() == before
    assert not processes(node)


def test_every_other_version(other_nodes: list[Node], archive: str) -> None:
    """From systemd 247 to 262, all nodes in one run; in the end they are as before."""

    def play(playbook: str, **variables: t.Any) -> Run:
        inventory = inventory_of(other_nodes)
        run = other_nodes[0].play(
            playbook, inventory=inventory, coco_serial="100%", coco_installer="payload", **variables
        )
        assert run.status == 0, run.output
        return run

    # The sample's script knows no schema 4.
    nodes = [node for node in other_nodes if "version = 4" not in node.sh("cat /etc/containerd/config.toml")]
    other_nodes = nodes
    before = [node.snapshot() for node in nodes]
    play("install", coco_ccruntime=manifest(archive))
    for node in nodes:
        assert "Starting gVisor" in node.pod("kata-qemu"), node.name
    run = play("install", coco_ccruntime=manifest(archive))
    assert [run.recap(node.name, "changed") for node in nodes] == [0] * len(nodes)
    nodes[0].remove(inventory=inventory_of(nodes), coco_serial="100%", coco_installer="payload")
    assert [node.snapshot() for node in nodes] == before


def test_what_is_remembered_is_enough_to_uninstall(node: Node, archive: str) -> None:
    """An uninstallation that says nothing of how it was installed; refused under a pod, and refused natively."""
    before = node.snapshot()
    node.install(archive, coco_installer="payload", coco_handlers=["kata-qemu"])
    assert node.sh("ls /usr/local/bin").split() == ["containerd-shim-kata-qemu-v2"]
    run = node.play("install", coco_payload=archive)
    assert "Found an installation with coco_installer=payload" in run.output
    pod = node.name_of_pod(node.pod_that_stays("kata-qemu"))
    run = node.play("uninstall")
    assert run.status != 0
    assert pod in run.output
    node.remove_pods()
    node.remove()
    assert node.snapshot() == before


#: Commands that do the work of the real script, in the ways of other payloads.
WAYS = {
    "never exits": [f"{DEPLOY} install", "sleep infinity"],
    "goes on working": [f"{DEPLOY} install", "while sleep 1; do date; done"],
    "says when it is done": [f"{DEPLOY} install", f"touch {PREFIX}/done", "while sleep 1; do date; done"],
    "nsenter": [
        f"sed 's/systemctl \\(show\\|restart\\)/nsenter --target 1 --mount systemctl \\1/' {DEPLOY} > /deploy",
        "grep -c nsenter /deploy",
        "bash /deploy install",
    ],
    "leaves the restart to somebody else": [
        f"sed 's/^restart() {{/restart() {{ return 0;/' {DEPLOY} > /deploy",
        "bash /deploy install",
    ],
    "forks a daemon": [f"{DEPLOY} install", "setsid sleep 3600 >/dev/null 2>&1 &"],
    "asks kubectl": [
        'engine=$(kubectl get node "$NODE_NAME" -o jsonpath="{.status.nodeInfo.containerRuntimeVersion}")',
        "[[ $engine == containerd://* ]]",
        f"{DEPLOY} install",
        'kubectl label node "$NODE_NAME" katacontainers.io/kata-runtime=true',
    ],
    "has a kubeconfig": ['grep -q "only a test" "$KUBECONFIG"', f"{DEPLOY} install"],
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_install(node: Node, archive: str, way: str) -> None:
    before, untouched = node.snapshot(), around(node)
    script = "\n".join(["set -e", *WAYS[way]])
    variables: dict[str, t.Any] = {"coco_installer": "payload", "coco_install_cmd": ["bash", "-c", script]}
    if "done\n" in script:
        variables["coco_installer_done"] = f"{PREFIX}/done"
    if "KUBECONFIG" in script:
        variables["coco_installer_kubectl"] = "/root/kubeconfig"
        assert "kubeconfig on the node" in node.play("install", coco_payload=archive, **variables).output
        node.sh("echo only a test > /root/kubeconfig")
    if "kubectl" in script:
        refused = node.play("install", coco_payload=archive, **variables)
        assert "coco_installer_kubectl=stub" in refused.output
        assert around(node) == untouched
        variables["coco_installer_kubectl"] = "stub"
    node.install(archive, **variables)
    assert "Starting gVisor" in node.pod("kata-clh")
    assert not processes(node)
    assert not node.found("pgrep -f '^sleep 3600'")
    if sample.takes("REMOVALS", way, one_in=4):
        node.remove()
        assert node.snapshot() == before


HALF = f"mkdir -p {PREFIX}/bin && echo half > {PREFIX}/bin/half && rm -f /usr/local/bin/theirs"
#: Installers that break the node; each must leave it as it was.
BAD: dict[str, tuple[str, tuple[str, ...]]] = {
    "fails after half of its work": (
        f"{HALF}; echo '# half' >> /etc/containerd/config.toml; echo what a pity; exit 3",
        ("exit status 3", "what a pity", f"{PREFIX}/bin/half (added)", "/usr/local/bin/theirs (removed)"),
    ),
    "hangs": (f"{HALF}; sleep 600", ("to end within 10 s", "coco_installer_done")),
    "stops the engine": (f"{HALF}; systemctl stop containerd.service", ("containerd.service to serve",)),
    "writes what is no TOML": (
        f"{HALF}; echo '[[[' >> /etc/containerd/config.toml; systemctl restart containerd.service || true",
        ("/etc/containerd/config.toml (changed)",),
    ),
    "takes a handler away": (
        f"{HALF}; sed -i 's/nightly-runc/kata-other/' /etc/containerd/config.toml; systemctl restart containerd.service",
        ("nightly-runc",),
    ),
    "does nothing": ("true", ("a new handler",)),
    "is not there": ("", ("the program /no/such.sh",)),
    "leaves what is no engine any more": (
        f"{HALF}; rm -r /etc/containerd/*; mkdir /etc/containerd/config.toml; systemctl restart containerd.service",
        ("/etc/containerd/config.toml (changed)",),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_installers(node: Node, archive: str, kind: str) -> None:
    """A clear error, the engine up, all as before; and the next run, with the payload's real script, is fine."""
    script, says = BAD[kind]
    node.sh("echo theirs > /usr/local/bin/theirs")
    before = around(node)
    command = ["bash", "-c", script] if script else ["/no/such.sh"]
    # What takes a handler away is waited for as long as an engine may take.
    limits: dict[str, t.Any] = {"coco_installer_timeout": 10, "coco_engine_timeout": 20}
    run = node.play("install", coco_payload=archive, coco_installer="payload", coco_install_cmd=command, **limits)
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    for said in says:
        assert said in run.output, run.output
    assert around(node) == before
    assert "plain" in node.pod("", "echo", "plain")
    assert "nightly-runc" in node.sh("containerd config dump")
    assert not processes(node)


def test_a_full_disk(node: Node, archive: str) -> None:
    node.sh(f"mkdir -p {PREFIX} && mount -t tmpfs -o size=20m tmpfs {PREFIX}")
    before = around(node)
    run = node.play("install", coco_payload=archive, coco_installer="payload")
    assert "No space left on device" in run.output, run.output
    assert around(node) == before
    assert "plain" in node.pod("", "echo", "plain")


def test_volumes_that_cannot_be(node: Node, archive: str) -> None:
    before = around(node)
    wrong: Wrong = {}
    for path, kind in (("/srv/missing", "Directory"), ("/etc/hostname", "Socket")):
        given = {"name": "x", "hostPath": {"path": path, "type": kind}}
        wrong[kind] = ({"coco_installer_volumes": [given]}, [path, kind])
    right = {
        "coco_payload": archive,
        "coco_installer": "payload",
        "coco_installer_volume_mounts": [{"name": "x", "mountPath": "/mnt"}],
    }
    refuse_all(node, right, wrong)
    assert around(node) == before


def test_what_an_uninstaller_leaves_behind(node: Node, archive: str) -> None:
    """Told by status, brought back by cleanup; what the admin has edited meanwhile stays."""
    before = node.snapshot()
    leave = f"echo '# left' >> /etc/containerd/config.toml; mkdir -p {PREFIX}/left; echo left > {PREFIX}/left/behind; echo x > {PREFIX}/left/mine"
    variables: dict[str, t.Any] = {
        "coco_installer": "payload",
        "coco_uninstall_cmd": ["bash", "-c", f"{DEPLOY} cleanup; {leave}; rm -rf {PREFIX}; exit 1"],
    }
    node.install(archive, **variables)
    run = node.play("uninstall", **variables)
    assert run.status == 0, run.output
    assert "ended with exit status 1" in run.output
    node.sh(f"mkdir -p {PREFIX}/left && echo mine > {PREFIX}/left/mine")
    status = node.status()
    assert "left behind by the installer: /etc/containerd/config.toml" in status
    run = node.play("cleanup", **variables)
    assert run.status == 0, run.output
    assert not node.remembers()
    node.sh(f"rm -rf {PREFIX}")
    assert node.snapshot() == before


@pytest.fixture
def image_with_hooks(payload: dict[str, str], tmp_path: Path) -> t.Iterator[str]:
    """An image that has the scripts which the operator runs in hooks."""
    place = "/opt/confidential-containers-pre-install-artifacts/scripts"
    for word in ("pre-install", "post-uninstall"):
        path = tmp_path / f"{word}.sh"
        path.write_text(f"#!/bin/sh\nset -e\necho {word} $NODE_NAME >> /etc/systemd/system/hooks\n")
        path.chmod(0o755)
    (tmp_path / "Dockerfile").write_text(f"FROM {payload['image']}\nCOPY *.sh {place}/\n")
    name = "coco-test-hooks:latest"
    sh("docker", "build", "--quiet", "--tag", name, tmp_path)
    yield f"docker-daemon:{name}"
    sh("docker", "rmi", name)


def test_the_operator_s_own_hooks(node: Node, archive: str, image_with_hooks: str) -> None:
    """A manifest with both hooks and without a command: the operator's scripts, in its order, around a native installation."""
    before = node.snapshot()
    volumes = {
        "image": image_with_hooks,
        "volumes": [{"name": "units", "hostPath": {"path": "/etc/systemd/system/", "type": ""}}],
        "volumeMounts": [{"name": "units", "mountPath": "/etc/systemd/system/"}],
    }
    variables = {"coco_ccruntime": manifest(archive, preInstall=volumes, postUninstall=volumes)}
    run = node.play("install", **variables)
    assert run.status == 0, run.output
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert node.sh("cat /etc/systemd/system/hooks") == f"pre-install {node.name}\n"
    run = node.play("uninstall", **variables)
    assert run.status == 0, run.output
    assert node.sh("cat /etc/systemd/system/hooks") == f"pre-install {node.name}\npost-uninstall {node.name}\n"
    assert "left behind by the installer: /etc/systemd/system/hooks" in node.status()
    run = node.play("cleanup", **variables)
    assert run.status == 0, run.output
    assert node.snapshot() == before


def test_hooks(node: Node, archive: str) -> None:
    """Before the installation and after the uninstallation, with images and volumes of their own, natively, too."""
    before = node.snapshot()
    volumes = {
        "volumes": [{"name": "units", "hostPath": {"path": "/etc/systemd/system/", "type": ""}}],
        "volumeMounts": [{"name": "units", "mountPath": "/units"}],
    }
    note = 'printf \'[Service]\\nExecStart=/bin/true\\n# %s %s\\n\' "$NODE_NAME" "$WORD" > /units/hook.service'
    variables: dict[str, t.Any] = {
        "coco_pre_install": {
            **volumes,
            "image": archive,
            "cmd": ["sh", "-c", note],
            "environmentVariables": [{"name": "WORD", "value": "a 'b' \"c\" $d %e"}],
        },
        "coco_post_uninstall": {**volumes, "image": archive, "cmd": ["sh", "-c", "rm /units/hook.service"]},
    }
    node.install(archive, **variables)
    assert f"# {node.name} a 'b' \"c\" $d %e" in node.sh("cat /etc/systemd/system/hook.service")
    run = node.play("install", coco_payload=archive, **variables)
    assert run.recap(node.name, "changed") == 0, run.output
    for playbook in ("uninstall", "cleanup"):
        run = node.play(playbook, **variables)
        assert run.status == 0, run.output
        assert not node.paths("/etc/systemd/system/hook.service")
    assert node.snapshot() == before


@pytest.mark.parametrize("how", ["the transaction is killed", "ansible-playbook is killed", "the power is cut"])
def test_an_interruption(node: Node, archive: str, how: str) -> None:
    """While the installer is at work, with half of it done."""
    node.sh("echo theirs > /usr/local/bin/theirs")
    before = around(node)
    script = f"{HALF}; sed -i s/nightly-runc/other/ /etc/containerd/config.toml; systemctl restart containerd.service; sleep 20; exit 1"
    variables = {"coco_payload": archive, "coco_installer": "payload", "coco_install_cmd": ["bash", "-c", script]}
    with node.started("install", **variables) as process:
        eventually(lambda: "other" in node.sh("cat /etc/containerd/config.toml"))
        if how == "the power is cut":
            process.kill()
            node.cut_power()
        elif how == "ansible-playbook is killed":
            process.kill()
        else:
            node.sh("systemctl kill --signal=SIGKILL confidential-containers-transaction.service")
    eventually(lambda: not node.paths("/var/lib/confidential-containers/journal"))
    assert "nightly-runc" in node.sh("containerd config dump")
    assert "plain" in node.pod("", "echo", "plain")
    assert not node.sh("systemctl list-units --all --no-legend 'confidential-containers*'")
    assert around(node) == before
    node.install(archive, coco_installer="payload")
    assert "Starting gVisor" in node.pod("kata-qemu")


def handlers(node: Node) -> dict[str, dict[str, t.Any]]:
    """Return the tables of our handlers, as the engine's CRI has them."""
    config = json.loads(node.sh(CRI_CONFIG))
    return {name: table for name, table in config["containerd"]["runtimes"].items() if name.startswith("kata-")}


CRI_CONFIG = """python3 - <<'END'
import json, re, subprocess
dump = subprocess.run(["containerd", "config", "dump"], capture_output=True, text=True, check=True).stdout
found, table = {}, None
for line in dump.splitlines():
    header = re.fullmatch(r"\\s*\\[plugins\\..*\\.containerd\\.runtimes\\.([^.]+)(\\.options)?\\]", line)
    if line.lstrip().startswith("["):
        table = found.setdefault(header[1], {}) if header else None
    elif table is not None and " = " in line and line.split(" = ")[1] not in ('""', "[]", "false", "0"):
        table[line.split(" = ")[0].strip()] = line.split(" = ")[1]
print(json.dumps({"containerd": {"runtimes": found}}))
END"""


def test_the_same_payload_natively_and_by_its_own_script(each: Node, archive: str) -> None:
    """What differs on the node: docs/coming-from-the-operator.md has it as a table."""
    node = each
    wanted = ["kata-clh", "kata-qemu"]
    found = {}
    for installer in ("native", "payload"):
        node.install(archive, coco_installer=installer, coco_handlers=wanted)
        files = node.sh(
            f"cd {PREFIX} && find . -printf '%y %m %P %l\\n' | sort && find . -type f -exec sha256sum {{}} + | sort"
        )
        found[installer] = (
            files,
            handlers(node),
            " ".join(node.paths("/usr/local/bin/*", "/etc/containerd/*", "/etc/containerd/conf.d/*")),
        )
        for handler in wanted:
            assert "Starting gVisor" in node.pod(handler)
        node.reset()
    native, payload = found["native"], found["payload"]
    assert native[0] == payload[0]
    assert sorted(native[1]) == sorted(payload[1]) == wanted
    for handler in wanted:
        ours, theirs = native[1][handler], payload[1][handler]
        assert {key: value for key, value in ours.items() if key != "container_annotations"} == theirs
    # Natively, links for old versions only, and from containerd 2 on a drop-in.
    assert "containerd-shim-kata-qemu-v2" in payload[2]
    assert ("containerd-shim-kata-qemu-v2" in native[2]) is False
    assert ("99-confidential-containers.toml" in native[2]) is ("version = 3" in node.sh("containerd config dump"))


def test_edits_between_commands(node: Node, archive: str) -> None:
    """Of the engine's configuration: after the installation, after the uninstallation, and in a second life; all of them stay."""
    config = "/etc/containerd/config.toml"
    original = node.sh(f"cat {config}")
    before = node.snapshot()
    for number, moment in enumerate(("install", "uninstall", "install")):
        node.install(archive, coco_installer="payload")
        if moment == "install":
            node.sh(f"sed -i '1i # mine {number}' {config}")
            # An edit is no damage: nothing is run again.
            assert node.play("install", coco_payload=archive, coco_installer="payload").recap(node.name, "changed") == 0
        assert node.play("uninstall").status == 0
        if moment == "uninstall":
            node.sh(f"sed -i '1i # mine {number}' {config}")
        if number:
            assert node.play("cleanup").status == 0
    text = node.sh(f"cat {config}")
    assert [line for line in text.splitlines() if line.startswith("# mine")] == ["# mine 2", "# mine 1", "# mine 0"]
    assert text.endswith(original)
    node.sh(f"sed -i '/^# mine/d' {config}")
    assert node.snapshot() == before
