# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes on which k3s, RKE2, k0s and MicroK8s are imitated around the real containerd: tests/nodes/README.md says how.

One play has as many of these nodes as it can, because most of a run is waiting. ``pytest --durations=0`` says what a test costs.
"""

from __future__ import annotations

import typing as t

import pytest

import nodes as testbed_nodes
import snapshot
from ansible_collections.confidential_containers.runtime.tests.integration.harness import (
    Fleet,
    Node,
    Run,
    eventually,
    inventory_of,
    on_each,
)
from ansible_collections.confidential_containers.runtime.tests.integration.moments import (
    JOURNAL,
    Moment,
    assert_as_before,
    install_until,
    kill,
)
from ansible_collections.confidential_containers.runtime.tests.integration.refusals import refused
from kinds import DISTRIBUTIONS


def play(nodes: t.Sequence[Node], *playbooks: str, **variables: t.Any) -> Run:
    """Run playbooks on these nodes, with one start of ansible-playbook."""
    return nodes[0].play_all(playbooks, inventory_of(nodes), coco_serial=["100%"], **variables)


def succeed(nodes: t.Sequence[Node], *playbooks: str, **variables: t.Any) -> Run:
    run = play(nodes, *playbooks, **variables)
    assert run.status == 0, run.output
    return run


def differences(before: t.Sequence[snapshot.Manifest], after: t.Sequence[snapshot.Manifest]) -> list[str]:
    """Return a line for each file of each node that came, went or changed."""
    return [line for pair in zip(before, after, strict=True) for line in snapshot.differences(*pair)]


def sandboxed(node: Node) -> None:
    """Check that pods of a handler of ours start in a sandbox, and those without a RuntimeClass as ever."""
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert node.pod("runc", "echo", "plain") == "plain\n"


def live_on(nodes: t.Sequence[Node], pods: t.Sequence[str]) -> list[str]:
    """Check that pods have lived on, one on each node. Return pods in the place of all that there are."""
    for node, pod in zip(nodes, pods, strict=True):
        assert node.in_pod(pod, "echo", "alive") == "alive\n"
    on_each(nodes, Node.remove_pods)
    return on_each(nodes, lambda node: node.pod_that_stays("runc"))


def as_agents(*nodes: Node) -> None:
    """Let these nodes of k3s or RKE2 be agents: a batch has as many of them as there are, but servers come one at a time."""
    for node in nodes:
        path = node.sh(f"systemctl show --property=FragmentPath --value {node.facts.unit}").strip()
        node.sh(
            f"sed -i 's/\\bserver$/agent/' {path} && systemctl daemon-reload && systemctl restart {node.facts.unit}"
        )


def unit(node: Node) -> str:
    """Return what changes with every start of the engine's unit."""
    return node.sh(f"systemctl show --property=InvocationID {node.facts.unit}")


MICROK8S = "/var/snap/microk8s/current/args/containerd-template.toml"


def look_at_template(node: Node) -> None:
    """Check that MicroK8s' template keeps all that it had, and that the snap was not refreshed meanwhile."""
    text = node.sh(f"cat {MICROK8S}")
    for word in ('"${SNAPSHOTTER}"', '"${SNAP_DATA}/args/certs.d"', ".runtimes.kata]", ".runtimes.kata-qemu"):
        assert word in text
    calls = [line.split(maxsplit=1)[1] for line in node.sh("cat /var/log/snap-imitation.log").splitlines()]
    assert calls[-5:] == [
        "list microk8s",
        "refresh --hold=1h microk8s",
        "restart microk8s.daemon-containerd",
        "run microk8s.daemon-containerd",
        "refresh --unhold microk8s",
    ]


def test_all_of_them(fleet: Fleet, archive: str) -> None:
    """Installed with one restart, twice the same, in use, and back to the bytes of before: seven nodes, one inventory."""
    nodes = fleet.get(*DISTRIBUTIONS)
    as_agents(*fleet.get("k3s-1.7"))
    servers = fleet.get("k3s", "rke2")
    others = [node for node in nodes if node not in servers]
    before, starts = on_each(nodes, Node.snapshot), on_each(nodes, Node.starts)
    watched = fleet.get("k0s", "k0s-1.36")
    units = on_each(watched, unit)
    living = on_each(nodes, lambda node: node.pod_that_stays("runc"))

    run = succeed(nodes, "install", coco_payload=archive)
    assert f"server away for some seconds: {servers[0].name}, {servers[1].name}" in run.output
    assert on_each(nodes, Node.starts) == [number + 1 for number in starts]
    # k0s itself starts its containerd again.
    assert on_each(watched, unit) == units
    on_each(fleet.get("microk8s", "microk8s-1.36"), look_at_template)
    living = live_on(nodes, living)
    on_each(nodes, sandboxed)
    installed, engines = on_each(nodes, Node.snapshot), on_each(nodes, Node.engine)

    run = succeed(nodes, "install", "status", coco_payload=archive)
    assert [run.recap(node.name, "changed") for node in nodes] == [0] * len(nodes)
    assert on_each(nodes, Node.engine) == engines
    for flavour in ("k3s", "rke2", "k0s", "microk8s"):
        assert f" {flavour} " in run.output, run.output

    # Where a node is refused, no later batch begins.
    on_each(nodes, lambda node: node.pod_that_stays("kata-clh"))
    run = play(nodes, "uninstall")
    assert run.status != 0
    for node in others:
        assert "(kata-clh)" in run.of(node.name), run.output
    assert differences(installed, on_each(nodes, Node.snapshot)) == []
    assert on_each(nodes, Node.engine) == engines

    living = live_on(nodes, living)
    succeed(nodes, "uninstall", "cleanup")
    assert differences(before, on_each(nodes, Node.snapshot)) == []
    assert on_each(nodes, Node.starts) == [number + 2 for number in starts]
    live_on(nodes, living)


def rancher(node: Node) -> str:
    """Return the directory in which k3s or RKE2 renders containerd's configuration."""
    return node.facts.kept[0]


def handler(name: str, table: str) -> str:
    """Return an admin's own handler, as it stands in a file of containerd."""
    return (
        f"[plugins.'{table}'.containerd.runtimes.{name}]\n\truntime_type = 'io.containerd.runc.v2'  # mine\n"
        f"[plugins.'{table}'.containerd.runtimes.{name}.options]\n"
        "\tBinaryName = '/usr/local/sbin/runc-without-cgroups'"
    )


BASE = '{{ template "base" . }}\n'
NIGHT_2, NIGHT_3 = (handler("night", table) for table in ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"))


def switch(node: Node, line: str) -> None:
    """Set one of the imitation's switches, in addition to those before it; it counts from the next start on."""
    node.sh(f"echo '{line}' | tee --append /etc/default/*-imitation")


def put(node: Node, path: str, text: str) -> None:
    node.sh(f"cat > {path} <<'END'\n{text}\nEND\ntruncate --size=-1 {path}")


def restart(node: Node) -> None:
    """Let the admin restart the engine."""
    node.sh(f"systemctl restart {node.facts.unit}")


def test_templates(fleet: Fleet, archive: str) -> None:
    """A template with the base and a handler of its own, a full copy, and none; then upgrades to a base that imports drop-ins."""
    nodes = own, copy, none = fleet.get("k3s", "k3s-1.7", "rke2")
    templates = [f"{rancher(own)}/config-v3.toml.tmpl", f"{rancher(copy)}/config.toml.tmpl"]
    mine = f"{rancher(none)}/config-v3.toml.tmpl"
    texts = [f"{{{{/* ours */ -}}}}\n{BASE}\n{NIGHT_3}", f"{copy.sh(f'cat {rancher(copy)}/config.toml')}\n{NIGHT_2}"]
    for node, path, text in zip(nodes, templates, texts, strict=False):
        put(node, path, text)
    for node in (own, none):
        switch(node, "IMPORTS=no")
    as_agents(*nodes)
    before, starts = on_each(nodes, unrendered), on_each(nodes, Node.starts)

    succeed(nodes, "install", coco_payload=archive)
    assert on_each(nodes, Node.starts) == [number + 1 for number in starts]
    for node, path, text in zip(nodes, [*templates, mine], [*texts, BASE], strict=True):
        now = node.sh(f"cat {path}")
        assert now.startswith(text)
        assert "kata-qemu" in now.removeprefix(text)
        assert "imports" not in now.removeprefix(text)
        sandboxed(node)
    for node in (own, copy):
        assert node.pod("night", "echo", "mine") == "mine\n"

    # What stands in a template is served after the upgrade, too. The next run moves it to where it can be merged.
    for node in (own, none):
        switch(node, "IMPORTS=yes")
    copy.sh(f"echo '# since' >> {templates[1]}")
    on_each(nodes, restart)
    on_each(nodes, sandboxed)
    starts = on_each(nodes, Node.starts)
    run = succeed(nodes, "install", coco_payload=archive)
    assert run.recap(copy.name, "changed") == 0
    assert on_each(nodes, Node.starts) == [starts[0] + 1, starts[1], starts[2] + 1]
    assert not none.paths(mine)
    assert own.sh(f"cat {templates[0]}") == texts[0]
    for node in (own, none):
        assert node.paths(f"{rancher(node)}/config-v3.toml.d/*") == [f"{rancher(node)}/config-v3.toml.d/{DROP_IN}"]
        sandboxed(node)

    succeed(nodes, "uninstall", "cleanup")
    assert own.pod("night", "echo", "mine") == "mine\n"
    assert copy.sh(f"cat {templates[1]}") == f"{texts[1]}\n# since\n"
    put(copy, templates[1], texts[1])
    assert differences(before, on_each(nodes, unrendered)) == []
    for node in nodes:
        assert "kata-qemu" not in node.dump()


DROP_IN = "99-confidential-containers.toml"


def unrendered(node: Node) -> dict[str, t.Any]:
    """Return what a node's files are like, without what an "upgrade" changes: its switches, and what is rendered by them."""
    changing = {*node.facts.renders, *node.paths("/etc/default/*-imitation")}
    return {path: entry for path, entry in node.snapshot().items() if path not in changing}


def test_refused(fleet: Fleet, archive: str) -> None:
    """Before anything changes, and in words: each of these is another host to Ansible, and several are the same node."""
    kinds = "k3s", "k3s-1.7", "rke2", "k0s", "k0s-1.36", "microk8s", "microk8s-1.36"
    nodes = k3s, old, rke2, k0s, k0s_3, microk8s, refreshed = fleet.get(*kinds)
    switch(old, "RELEASE=v1.27.4+k3s1")
    switch(rke2, "IMPORTS=no")
    rendered = handler("kata-qemu", "io.containerd.cri.v1.runtime")
    put(rke2, f"{rancher(rke2)}/config-v3.toml.tmpl", f"{BASE}{rendered}\n")
    as_agents(k3s, old, rke2)
    broken, unread, edited = (
        f"{rancher(k3s)}/config-v3.toml.tmpl",
        "/etc/k0s/containerd.d/mine.toml",
        MICROK8S,
    )
    # Never rendered: as if it had been edited some time after the start.
    k3s.sh(f"echo '{{{{ template' > {broken} && touch --date='+10 seconds' {broken}")
    k0s.sh(f"echo 'version =' > {unread} && touch --date='+10 seconds' {unread}")
    refreshed.sh(f"echo '# since' >> {edited} && touch --date='+10 seconds' {edited}")

    own = {
        "kata": {"config_path": "/opt/confidential-containers/share/defaults/kata-containers/configuration-qemu.toml"}
    }
    cases: list[tuple[Node, dict[str, t.Any], list[str]]] = [
        (k3s, {}, [f"to be made from {broken} as they are now", "Restart k3s.service"]),
        (k3s, {"coco_engine": "k0s"}, ["k0s on the node, which coco_engine names", "k3s (k3s.service)"]),
        (
            old,
            {},
            ["1.24.17", "v1.27.4+k3s1", f"copy the whole template of this release to {rancher(old)}/config.toml.tmpl"],
        ),
        (
            rke2,
            {"coco_conflicts": "keep_aside", "coco_handlers": ["kata-qemu"]},  # named: known before the payload is read
            [f"kata-qemu in {rancher(rke2)}/config.toml", "keep_aside cannot change"],
        ),
        (rke2, {"coco_engine_config": "/etc/containerd/config.toml"}, ["Found /etc/containerd/config.toml"]),
        (k0s, {}, [f"to be made from {unread} as they are now", "Restart k0sworker.service"]),
        (k0s_3, {"coco_config_mode": "in_place"}, ["because k0s itself writes the main file"]),
        (microk8s, {"coco_handlers": ["kata"], "coco_handler_overrides": own}, [f"kata in {edited}", "coco_conflicts"]),
        (microk8s, {"coco_config_mode": "drop_in"}, ["because MicroK8s renders the main file"]),
        (refreshed, {}, [f"to be made from {edited} as they are now"]),
    ]
    before, engines = on_each(nodes, Node.snapshot), on_each(nodes, Node.engine)
    inventory = inventory_of(nodes)
    known = inventory["coco_nodes"]["hosts"]
    hosts = {f"case-{number}": {**known[node.name], **own} for number, (node, own, _texts) in enumerate(cases)}
    inventory["coco_nodes"]["hosts"] = hosts
    run = nodes[0].play("install", "--forks=10", inventory=inventory, coco_payload=archive, coco_serial=["100%"])
    for number, (_node, _own, texts) in enumerate(cases):
        refused(Run(run.status, run.of(f"case-{number}")), *texts)
    assert differences(before, on_each(nodes, Node.snapshot)) == []
    assert on_each(nodes, Node.engine) == engines


def test_engines_that_do_not_come_up(fleet: Fleet, archive: str) -> None:
    """Rolled back, and the play says what the engine said: a CRI that does not load, and a unit that does not start."""
    k3s, rke2, *others = nodes = fleet.get("k3s", "rke2", "k0s", "microk8s")
    as_agents(k3s, rke2)
    guard = f"[Service]\\nExecStartPre=/bin/sh -c '! grep -r kata-qemu {rancher(rke2)}'\\n"
    directory = f"/run/systemd/system/{rke2.facts.unit}.d"
    rke2.sh(f'mkdir -p {directory} && printf "{guard}" > {directory}/refuse.conf && systemctl daemon-reload')
    put(k3s, f"{rancher(k3s)}/config-v3.toml.tmpl", f"{BASE}{NIGHT_3}\n")
    restart(k3s)
    before = on_each(nodes, Node.snapshot)
    living = on_each(nodes, lambda node: node.pod_that_stays("runc"))
    run = play(
        nodes,
        "install",
        coco_payload=archive,
        coco_handler_overrides={"kata-qemu": {"base_runtime_spec": "/nonexistent.json"}},
    )
    for node in nodes:
        refused(Run(run.status, run.of(node.name)), "rolled back", "The engine said")
    for node in (k3s, *others):
        refused(Run(run.status, run.of(node.name)), "nonexistent.json")
    assert differences(before, on_each(nodes, Node.snapshot)) == []
    live_on(nodes, living)
    for node in nodes:
        assert node.pod("runc", "echo", "plain") == "plain\n"
    assert k3s.pod("night", "echo", "mine") == "mine\n"


def held(node: Node, path: str, waiting: str = "") -> Moment:
    """Hold the node's next transaction when our drop-in is in its place, and the engine of before still runs."""
    moment = Moment(path, "exit", f"grep -q kata-qemu {path}", waiting)
    moment.hold(node)
    return moment


@pytest.mark.parametrize("interrupt", [kill, Node.cut_power], ids=["killed", "power cut"])
def test_interrupted(fleet: Fleet, archive: str, interrupt: t.Callable[[Node], None]) -> None:
    """Between writing and restarting; k0s restarts containerd meanwhile. The node goes back by itself, and the next run finishes."""
    nodes = k3s, k0s = fleet.get("k3s", "k0s")
    as_agents(k3s)
    before = on_each(nodes, Node.snapshot)
    reached = {
        k3s: held(k3s, f"{rancher(k3s)}/config-v3.toml.d/{DROP_IN}").reached,
        k0s: held(k0s, f"/etc/k0s/containerd.d/{DROP_IN}", "/etc/k0s").reached,
    }
    install_until(reached, archive, interrupt)
    for node, files in zip(nodes, before, strict=True):
        assert_as_before(node, files)
    assert not k0s.paths(f"/etc/k0s/.{DROP_IN}*", "/etc/k0s/containerd.d/*")
    succeed(nodes, "install", coco_payload=archive)
    on_each(nodes, sandboxed)
    assert not any(node.paths(JOURNAL) for node in nodes)


def test_found(fleet: Fleet, archive: str) -> None:
    """Beside a plain containerd, below another name, with another data directory, and k0s with a main file of the admin's."""
    nodes = beside, named, moved, old, new = fleet.get("k3s", "k3s-1.7", "rke2", "k0s", "k0s-1.36")
    as_agents(beside, named, moved)
    beside.sh("plain-containerd")
    units = "/etc/systemd/system"
    named.sh(
        f"systemctl disable --now k3s && mv {units}/k3s.service {units}/workers.service && systemctl daemon-reload "
        "&& systemctl enable --now workers"
    )
    moved.sh("mkdir -p /etc/rancher/rke2 && echo 'data-dir: /data/rke2' > /etc/rancher/rke2/config.yaml")
    old.sh("cp /run/k0s/containerd-cri.toml /etc/k0s/containerd.toml")
    new.sh("sed -i 1d /etc/k0s/containerd.toml")
    on_each([moved, old, new], restart)
    on_each(nodes, lambda node: testbed_nodes.wait_for_cri(node.name))
    testbed_nodes.give_pod_image(moved.name, "rke2")
    before = on_each(nodes, Node.snapshot)
    files = "cd /data/rke2/agent/etc/containerd && find . -type f | sort | xargs sha256sum"
    rendered = moved.sh(files)
    plain = beside.sh("systemctl show --property=InvocationID containerd")

    succeed(nodes, "install", coco_payload=archive)
    on_each(nodes, sandboxed)
    assert beside.sh("systemctl show --property=InvocationID containerd") == plain
    assert moved.paths(f"/data/rke2/agent/etc/containerd/config-v3.toml.d/{DROP_IN}")
    assert "kata-qemu" in old.sh("cat /etc/k0s/containerd.toml")
    assert not old.paths(f"/etc/k0s/containerd.d/{DROP_IN}")

    succeed(nodes, "uninstall", "cleanup")
    assert differences(before, on_each(nodes, Node.snapshot)) == []
    assert moved.sh(files) == rendered


def test_plans_and_damage(fleet: Fleet, archive: str) -> None:
    """Check mode tells file and restart and touches nothing. What the admin took out is told by status, and comes back."""
    nodes = k3s, k0s, microk8s = fleet.get("k3s", "k0s", "microk8s")
    as_agents(k3s)
    places = [f"{rancher(k3s)}/config-v3.toml.d/{DROP_IN}", f"/etc/k0s/containerd.d/{DROP_IN}", MICROK8S]
    template = microk8s.sh(f"cat {MICROK8S}")
    before, engines = on_each(nodes, Node.snapshot), on_each(nodes, Node.engine)
    how: dict[str, t.Any] = {"inventory": inventory_of(nodes), "coco_serial": ["100%"]}
    run = k3s.play("install", "--check", "--diff", coco_payload=archive, **how)
    assert run.status == 0, run.output
    unit = k0s.facts.unit
    restarts = [f"restart {k3s.facts.unit}", f"{unit} restarts containerd", f"restart {microk8s.facts.unit}"]
    for path, restarted in zip(places, restarts, strict=True):
        assert f"+++ after: {path}" in run.output, run.output
        assert restarted in run.output
    assert f"restart {unit}" not in run.output
    assert differences(before, on_each(nodes, Node.snapshot)) == []
    assert on_each(nodes, Node.engine) == engines

    succeed(nodes, "install", coco_payload=archive)
    starts = on_each(nodes, Node.starts)
    for node, path in zip((k3s, k0s), places, strict=False):
        node.sh(f"rm {path}")
    put(microk8s, MICROK8S, template)
    restart(k3s)
    restart(microk8s)
    eventually(lambda: k0s.starts() > starts[1])
    on_each(nodes, lambda node: testbed_nodes.wait_for_cri(node.name))
    run = succeed(nodes, "status", "install", coco_payload=archive)
    assert run.output.count("not served: kata-clh, kata-qemu") == len(nodes), run.output
    assert on_each(nodes, Node.starts) == [number + 2 for number in starts]
    on_each(nodes, sandboxed)

    succeed(nodes, "uninstall", "cleanup")
    assert differences(before, on_each(nodes, Node.snapshot)) == []
