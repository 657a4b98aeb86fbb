# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes: containers that run systemd, sshd and containerd, as a machine would."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import socket
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import kinds
from host import HERE, Failure, cache, lock, log, need, run

LABEL = "coco-test-node"  # marks the containers that are ours to remove
READY = "/run/testbed-ready"  # in a node that came all the way up
BASELINE = "/var/cache/testbed"  # in a node: what it was when it came up, and the program that puts it back
DATA = "/data"  # in a node: a volume, for an engine whose data a test wants elsewhere; overlayfs does not stack on overlayfs

# What a command in a node finds around itself: nothing of the host's.
ENVIRONMENT = (
    "HOME=/root",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    f"TERM={os.environ.get('TERM', 'dumb')}",
)


def container(name: str) -> str:
    return f"coco-test-{name}"


def inspect(name: str) -> dict[str, t.Any] | None:
    """What the engine knows about a node, or None where there is no such node."""
    listed = run("docker", "ps", "--all", "--quiet", f"--filter=name=^/{container(name)}$", f"--filter=label={LABEL}")
    return json.loads(run("docker", "inspect", listed.strip()))[0] if listed.strip() else None


def pid(name: str) -> int:
    """The process ID of a node's init, the way into its namespaces."""
    node = inspect(name)
    if not node:
        raise Failure(f"there is no node {name}: testbed up {name}=KIND makes one")
    if not node["State"]["Running"]:
        raise Failure(f"node {name} is not running: testbed up {name}=KIND makes a new one")
    return int(node["State"]["Pid"])


def engine(name: str) -> kinds.Engine:
    """How to reach the containerd of a node."""
    node = inspect(name)
    return kinds.engine(images.kind_of(node["Config"]["Image"])) if node else kinds.PLAIN


def enter(name: str, *command: str) -> list[str]:
    """The command line that runs a command in a node.

    Not `docker exec`: once pods have run there, it fails with EBUSY, since the node's cgroup is not
    a leaf any more. nsenter leaves cgroups alone.
    """
    return [
        "nsenter", f"--target={pid(name)}", "--mount", "--uts", "--ipc", "--net", "--pid",
        "env", "--ignore-environment", *ENVIRONMENT, *command,
    ]  # fmt: skip


def execute(name: str, *command: str, stdin: bytes | None = None, timeout: float = 120) -> str:
    return run(*enter(name, *command), stdin=stdin, timeout=timeout)


def snapshot_of(name: str) -> str:
    """What a node's file system holds, as JSON."""
    return execute(name, "python3", "-", stdin=(HERE / "snapshot.py").read_bytes())


def up(wanted: dict[str, str]) -> None:
    """Have these nodes (name: kind) run."""
    for name in wanted:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?", name):
            raise Failure(f"{name!r} is no name for a host: lower-case letters, digits and hyphens")
    if os.geteuid() != 0:
        raise Failure("nodes can only be entered by root")
    images.ensure(*wanted.values())
    key = ssh_key()
    with ThreadPoolExecutor(max_workers=len(wanted)) as workers:
        list(workers.map(lambda name: _up(name, wanted[name], key), wanted))


def _up(name: str, kind: str, key: Path) -> None:
    started = time.monotonic()
    with lock(f"node-{name}"):
        node = inspect(name)
        if node and _is_ready(node, kind):
            log(f"{name} runs already")
            return
        if node:
            log(f"{name} is stopped, half-made or of another image: removed")
            _remove(node["Id"])
        _start(name, kind)
        _prepare(name, kind, key)
    log(f"{name} ({kind}) is up after {time.monotonic() - started:.0f} s")


def _is_ready(node: dict[str, t.Any], kind: str) -> bool:
    state = node["State"]
    newest = node["Config"]["Image"] == images.node_tag(kind)
    return newest and state["Running"] and Path(f"/proc/{state['Pid']}/root{READY}").exists()


def _start(name: str, kind: str) -> None:
    # On a host with hybrid cgroups, systemd gets the version 2 tree.
    cgroups = next(p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if p.is_dir())
    kvm = ["--device=/dev/kvm"] if Path("/dev/kvm").exists() else []
    run(
        "docker", "run", "--detach", f"--name={container(name)}", f"--hostname={name}", f"--label={LABEL}={name}",
        # --privileged asks for CAP_SYS_RESOURCE, which not every host has to give.
        "--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--device-cgroup-rule=a *:* rwm",
        *(f"--security-opt={what}=unconfined" for what in ("seccomp", "apparmor", "systempaths")),
        "--cgroupns=host", f"--volume={cgroups}:/sys/fs/cgroup",
        "--tmpfs=/run", "--tmpfs=/tmp", "--env=container=docker",
        *(f"--volume={place}" for place in dict.fromkeys((kinds.PLAIN.root, kinds.engine(kind).root, DATA))),
        *kvm, images.node_tag(kind), "/sbin/init",
    )  # fmt: skip


def _prepare(name: str, kind: str, key: Path) -> None:
    """Wait for what nodes are used through: systemd, ssh, CRI; and give pods their image."""
    _eventually(name, "systemd is not up", lambda: _booted(name))
    execute(name, "sh", "-c", "test -e /dev/kvm || mknod -m 0660 /dev/kvm c 10 232")
    public = key.with_suffix(".pub").read_bytes()
    for user, home in (("root", "/root"), ("admin", "/home/admin")):
        keys = f"{home}/.ssh/authorized_keys"
        execute(name, "sh", "-c", f"cat > {keys} && chmod 0600 {keys} && chown {user}: {keys}", stdin=public)
    _eventually(name, "sshd does not answer", lambda: _ssh_answers(name))
    wait_for_cri(name)
    give_pod_image(name, kind)
    _keep_baseline(name)
    execute(name, "touch", READY)


def wait_for_cri(name: str) -> None:
    _eventually(name, "containerd's CRI plugin is not ok", lambda: _cri_is_ok(name))


def _keep_baseline(name: str) -> None:
    for program in ("baseline.py", "snapshot.py"):
        path = f"{BASELINE}/{program}"
        execute(name, "sh", "-c", f"mkdir -p {BASELINE} && cat > {path}", stdin=(HERE / program).read_bytes())
    facts = json.dumps(dataclasses.asdict(engine(name)))
    execute(name, "python3", f"{BASELINE}/baseline.py", "keep", facts)


def _eventually(name: str, otherwise: str, holds: t.Callable[[], bool], timeout: float = 90) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            if holds():
                return
            why = ""
        except (Failure, OSError) as error:
            why = f": {error}"
        if time.monotonic() > deadline:
            raise Failure(f"node {name}: {otherwise}{why}")
        time.sleep(0.2)


def _booted(name: str) -> bool:
    # "degraded" is fine: a container cannot load modules.
    state = execute(name, "sh", "-c", "systemctl is-system-running --wait || true")
    return state.strip() in ("running", "degraded")


def _ssh_answers(name: str) -> bool:
    with socket.create_connection((address(name), 22), timeout=5) as connection:
        return connection.recv(4) == b"SSH-"


def _cri_is_ok(name: str) -> bool:
    rows = execute(name, *engine(name).ctr, "plugins", "ls", "id==cri").splitlines()
    return any(row.split()[-1] == "ok" for row in rows[1:])


def give_pod_image(name: str, kind: str) -> None:
    """The pods' image, under its own name and under that of the sandbox image, which no registry can give."""
    ctr = (*engine(name).ctr, "--namespace=k8s.io")
    archive = cache(f"pod-{images.pod_tag(kind).replace(':', '-')}.tar")
    with lock("pod-image"):  # one name for the images of all suites
        if not archive.exists():
            run("docker", "tag", images.pod_tag(kind), images.POD_IMAGE)
            run("docker", "save", f"--output={archive}", images.POD_IMAGE)
    execute(name, *ctr, "images", "import", "-", stdin=archive.read_bytes())
    configuration = execute(name, *engine(name).containerd, "config", "dump")
    sandbox = re.search(r"""^\s*sandbox(_image)?\s*=\s*["'](.+)["']""", configuration, re.MULTILINE)  # "_image": on 1.x
    if not sandbox:
        raise Failure(f"node {name}: containerd names no sandbox image")
    execute(name, *ctr, "images", "tag", "--force", images.POD_IMAGE, sandbox[2])
    for image in (images.POD_IMAGE, sandbox[2]):  # CRI learns of new images by and by
        _eventually(name, f"CRI does not know {image}", functools.partial(_cri_knows, name, image))


def _cri_knows(name: str, image: str) -> bool:
    listed = execute(name, *engine(name).ctr, "--namespace=k8s.io", "images", "ls", f"name=={image}")
    return "io.cri-containerd.image=managed" in listed


def reboot(name: str) -> None:
    """Cut a node's power, and boot it again: what was not written to its disk is lost, and /run begins empty."""
    pid(name)
    run("docker", "kill", container(name))
    run("docker", "start", container(name))
    _eventually(name, "systemd is not up", lambda: _booted(name))
    _eventually(name, "sshd does not answer", lambda: _ssh_answers(name))
    execute(name, "touch", READY)


def ssh_key() -> Path:
    key = cache("ssh", "id_ed25519")
    with lock("ssh"):
        if not key.exists():
            need("ssh-keygen", "openssh-client")
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", key)
    return key


def address(name: str) -> str:
    node = inspect(name)
    networks = node["NetworkSettings"]["Networks"].values() if node else ()
    for network in networks:
        if network["IPAddress"]:
            return str(network["IPAddress"])
    raise Failure(f"node {name} has no address, does it run?")


def inventory(names: t.Sequence[str], sudo: t.Sequence[str]) -> str:
    """A YAML inventory; JSON strings are YAML strings."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    lines = ["---", "coco_nodes:", "  vars:"]
    lines += [f"    ansible_ssh_private_key_file: {json.dumps(str(ssh_key()))}"]
    lines += [f"    ansible_ssh_common_args: {json.dumps(options)}"]
    lines += ["    ansible_python_interpreter: /usr/bin/python3", "  hosts:"]
    for name in dict.fromkeys((*names, *sudo)):
        lines += [f"    {name}:", f"      ansible_host: {address(name)}"]
        lines += [f"      ansible_user: {'admin' if name in sudo else 'root'}"]
        lines += ["      ansible_become: true"] if name in sudo else []
    return "\n".join(lines)


def down(names: t.Sequence[str] | None) -> None:
    """Remove nodes with their volumes: these, or every one."""
    if names is None:
        listed = run("docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}").split()
    else:
        listed = [node["Id"] for node in map(inspect, names) if node]
    for node in listed:
        _remove(node)


def _remove(node: str) -> None:
    run("docker", "rm", "--force", "--volumes", node)
