# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which engine the kubelet of a node uses, among those that the node has."""

from __future__ import annotations

import functools
import os
import subprocess
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import (
    flavours,
    kubelet,
    listeners,
    unit_command,
    unsupported,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Engine,
    Facts,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import daemon
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

K3S = "/var/lib/rancher/k3s/data/abc/bin/k3s"
K3S_CONFIG = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"
K3S_SOCKET = "/run/k3s/containerd/containerd.sock"
PLAIN, PLAIN_SOCKET = "/usr/bin/containerd", "/run/containerd/containerd.sock"


class Node:
    """A node: its units with what they start, its processes, and who listens where."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.units: dict[str, dict[str, str]] = {}
        self.listeners: dict[str, int] = {}
        self.asked: list[t.Sequence[str]] = []
        self.aliases: dict[str, str] = {}

    def unit(self, name: str, command: str, daemon: int = 0, state: str = "active") -> None:
        """Add a unit, with a daemon of that process ID in its control group."""
        start = f"{{ path=x ; argv[]={command} ; ignore_errors=no ; pid=0 }}"
        group = f"/system.slice/{name}"
        self.units[name] = {"ActiveState": state, "ExecStart": start, "ControlGroup": group, "MainPID": str(daemon)}

    def process(self, pid: int, program: str, *words: str, unit: str = "", socket: str = "") -> None:
        at = self.proc / str(pid)
        at.mkdir()
        (at / "exe").symlink_to(program)
        (at / "cwd").symlink_to("/")
        (at / "cmdline").write_text("".join(f"{word}\0" for word in words))
        (at / "cgroup").write_text(f"0::/system.slice/{unit}\n")
        (at / "stat").write_text(f"{pid} (x) S 1 1 1")
        if socket:
            self.listeners[socket] = pid

    def plain(self, pid: int = 20, state: str = "active") -> None:
        self.unit("containerd.service", PLAIN, pid, state)
        self.process(pid, PLAIN, PLAIN, unit="containerd.service", socket=PLAIN_SOCKET)

    def k3s(self, pid: int = 30, name: str = "k3s.service", command: str = "server", socket: str = K3S_SOCKET) -> None:
        self.unit(name, f"/usr/local/bin/k3s {command}")
        self.process(pid, K3S, "containerd", "-c", K3S_CONFIG, "-a", socket, unit=name, socket=socket)

    def run(self, argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        words, output = list(argv), ""
        self.asked.append(words)
        if words[0] == "systemctl":
            named = [self.aliases.get(word, word) for word in words]
            blocks = [
                "".join(f"{key}={value}\n" for key, value in {"Id": unit, "LoadState": "loaded", **shown}.items())
                for unit, shown in ((unit, self.units[unit]) for unit in named if unit in self.units)
            ]
            output = "\n".join(blocks)
        elif words == ["/usr/local/bin/k3s", "--version"]:
            output = "k3s version v1.34.1+k3s1 (abc)\ngo version go1.24\n"
        elif words[1:] == ["--version"]:
            output = "containerd github.com/k3s-io/containerd v2.1.4-k3s2 abc\n"
        return subprocess.CompletedProcess(words, 0, output, "")

    def found(self, **overrides: str) -> tuple[str, str]:
        driver, _doubts = flavours.find(Overrides(**overrides))
        return driver.engine.name, driver.engine.unit


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(process, "run", node.run)
    for module, name in (
        (daemon, "find"),
        (listeners, "stranger"),
        (listeners, "units_of"),
        (unit_command, "starting"),
    ):
        monkeypatch.setattr(module, name, functools.partial(getattr(module, name), proc=str(tmp_path)))
    monkeypatch.setattr(listeners, "listener", lambda address: node.listeners.get(address, 0))
    monkeypatch.setattr(kubelet, "socket", functools.partial(kubelet.socket, proc=str(tmp_path)))
    return node


def test_k3s(node: Node) -> None:
    node.k3s()
    driver, doubts = flavours.find(Overrides())
    assert driver.engine == Engine(
        "k3s", (2, 1, 4), "k3s.service", K3S, K3S_CONFIG, K3S_SOCKET, True, "", "v1.34.1+k3s1", True
    )
    assert doubts == []


@pytest.mark.parametrize(
    ("name", "command", "found"),
    [
        ("k3s-agent.service", "/usr/local/bin/k3s agent", ("k3s", False)),
        ("k3s-edge.service", "/usr/local/bin/k3s server --x", ("k3s", True)),
        ("mine.service", "/opt/rke2/bin/rke2 agent", ("rke2", False)),
        ("k0scontroller.service", "/usr/local/bin/k0s controller --single", ("k0s", True)),
        ("mine.service", "/opt/containerd/containerd", ("containerd", False)),
    ],
)
def test_a_unit_of_any_name_is_found_by_the_socket(
    node: Node, name: str, command: str, found: tuple[str, bool]
) -> None:
    node.unit(name, command)
    socket = flavours.FLAVOURS[found[0]].socket
    node.process(30, PLAIN, "containerd", "-c", "/x.toml", "-a", socket, unit=name, socket=socket)
    driver, _doubts = flavours.find(Overrides())
    assert (driver.engine.name, driver.engine.unit, driver.engine.server) == (found[0], name, found[1])


@pytest.mark.parametrize(
    ("kubelet_words", "found"),
    [
        ((), ("k3s", "k3s.service")),  # its kubelet is in its own process
        (("--container-runtime-endpoint", f"unix://{PLAIN_SOCKET}"), ("containerd", "containerd.service")),
        ((f"--container-runtime-endpoint=unix://{K3S_SOCKET}",), ("k3s", "k3s.service")),
    ],
)
def test_plain_containerd_beside_k3s(node: Node, kubelet_words: tuple[str, ...], found: tuple[str, str]) -> None:
    node.plain()
    node.k3s()
    if kubelet_words:
        node.process(40, "/usr/bin/kubelet", "/usr/bin/kubelet", *kubelet_words, unit="kubelet.service")
    assert node.found() == found
    assert node.found(engine="containerd") == ("containerd", "containerd.service")


def test_k3s_that_uses_the_containerd_of_another_unit(node: Node) -> None:
    node.plain()
    node.unit(
        "k3s.service", "/usr/local/bin/k3s server --container-runtime-endpoint unix:///run/containerd/containerd.sock"
    )
    assert node.found() == ("containerd", "containerd.service")


def test_plain_containerd_beside_k3s_that_is_starting(node: Node) -> None:
    node.plain()
    node.unit("k3s.service", "/usr/local/bin/k3s server", state="activating")
    with pytest.raises(Refusal, match=r"no process of containerd in it\. Start k3s\.service first"):
        node.found()
    assert node.found(engine="containerd") == ("containerd", "containerd.service")
    node.unit("k3s.service", f"/usr/local/bin/k3s server {kubelet.OPTION}=unix://{PLAIN_SOCKET}", state="activating")
    assert node.found() == ("containerd", "containerd.service")
    node.unit("k3s.service", "/usr/local/bin/k3s server", state="activating")
    node.process(40, "/usr/bin/kubelet", "kubelet", f"{kubelet.OPTION}=unix://{PLAIN_SOCKET}")
    assert node.found() == ("containerd", "containerd.service")


def test_k3s_whose_containerd_has_just_died_beside_plain_containerd(node: Node) -> None:
    node.plain()
    node.unit("k3s.service", "/usr/local/bin/k3s server")
    with pytest.raises(Refusal, match="Start k3s"):
        node.found()
    assert node.found(engine="containerd") == ("containerd", "containerd.service")


@pytest.mark.parametrize("words", [("/usr/local/bin/k3s", "server"), ("/usr/local/bin/k3s server",)])
def test_a_script_that_becomes_k3s(node: Node, words: tuple[str, ...]) -> None:
    """The script itself is never started, not even to tell a version."""
    node.unit("mine.service", "/opt/start-k3s", 29)
    node.process(29, K3S, *words, unit="mine.service")
    node.process(30, K3S, "containerd", "-c", K3S_CONFIG, "-a", K3S_SOCKET, unit="mine.service", socket=K3S_SOCKET)
    driver, _doubts = flavours.find(Overrides())
    engine = driver.engine
    assert (engine.name, engine.unit, engine.release, engine.server) == ("k3s", "mine.service", "v1.34.1+k3s1", True)
    assert not [words for words in node.asked if "/opt/start-k3s" in words]


def test_an_engine_that_is_stopped_beside_one_that_runs(node: Node) -> None:
    node.plain(state="inactive")
    node.unit("mine.service", "/opt/containerd -a /run/x", 50)
    node.process(
        50,
        PLAIN,
        "containerd",
        "-a",
        "/run/k0s/containerd.sock",
        unit="mine.service",
        socket="/run/k0s/containerd.sock",
    )
    assert node.found() == ("containerd", "mine.service")


def test_two_engines_of_which_neither_is_the_kubelet_s(node: Node) -> None:
    node.k3s()
    node.unit("k0sworker.service", "/usr/local/bin/k0s worker")
    node.process(
        50,
        PLAIN,
        "containerd",
        "-a",
        "/run/k0s/containerd.sock",
        unit="k0sworker.service",
        socket="/run/k0s/containerd.sock",
    )
    with pytest.raises(Refusal, match=r"k3s \(k3s.service, .*k0s \(k0sworker.service, .*coco_engine="):
        node.found()
    assert node.found(engine="k0s") == ("k0s", "k0sworker.service")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"engine": "k0s"}, "k0s on the node, which coco_engine names. Found k3s (k3s.service)"),
        ({"engine": "containerd", "unit": "k3s"}, "containerd on the node, which coco_engine names. Found k3s"),
        ({"config": "/etc/containerd/config.toml"}, f"that the containerd of k3s.service reads: {K3S_CONFIG}"),
        ({"unit": "absent"}, "no unit absent.service"),
    ],
)
def test_a_variable_that_contradicts_what_runs(node: Node, overrides: dict[str, str], words: str) -> None:
    node.k3s()
    with pytest.raises(Refusal) as refused:
        node.found(**overrides)
    assert words in str(refused.value)


@pytest.mark.parametrize("revision", ["8000", "8001"])
def test_microk8s(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    # The unit starts a program of snapd, which ends in a containerd of the revision that is current.
    (tmp_path / "8000/args").mkdir(parents=True)
    (tmp_path / "8000/args/containerd.toml").write_text("version = 2\n")
    (tmp_path / "8001").mkdir()
    (tmp_path / "current").symlink_to("8000")
    own = replace(flavours.FLAVOURS["microk8s"], config=str(tmp_path / "current/args/containerd.toml"))
    monkeypatch.setattr(flavours, "FLAVOURS", {**flavours.FLAVOURS, "microk8s": own})
    unit, program = "snap.microk8s.daemon-containerd.service", f"/snap/microk8s/{revision}/bin/containerd"
    config = f"{tmp_path}/{revision}/args/containerd.toml"
    node.unit(unit, "/usr/bin/snap run microk8s.daemon-containerd", 60)
    node.process(60, program, program, "--config", config, "--address", own.socket, unit=unit, socket=own.socket)
    driver, doubts = flavours.find(Overrides())
    # Its own path outlives a refresh. A daemon of another revision is taken at its word.
    told = own.config if revision == "8000" else config
    assert driver.engine == Engine("microk8s", (2, 1, 4), unit, program, told, own.socket, True)
    assert driver.places() == [f"{os.path.dirname(told)}/containerd-template.toml"]
    assert doubts == []


@pytest.mark.parametrize("name", flavours.FLAVOURS)
def test_all_that_a_row_says_is_about_its_own_files(name: str) -> None:
    flavour = flavours.FLAVOURS[name]
    directory = os.path.dirname(flavour.config)
    places = flavour.places(flavour.config)
    assert all(path.startswith(f"{directory}/") for path in places)
    # What the distribution renders is never a place of ours.
    main = "# k0s_managed=true\n" if name == "k0s" else ""
    rendered = {*flavour.generated(flavour.config, main), *({flavour.config} - {flavour.source(flavour.config)})}
    assert bool(rendered) is flavour.embedded
    place = flavour.place(Facts((2, 2, 0), flavour.source(flavour.config), 2, text=f"{main}version = 2\n"))
    assert place.path in places
    assert place.path not in rendered
    assert flavours.driver(Engine(name, (2, 2, 0), "", "", flavour.config, "", True)).engine.name == name


def test_a_unit_by_its_alias(node: Node) -> None:
    node.k3s()
    node.aliases["kube.service"] = "k3s.service"
    assert node.found(unit="kube") == ("k3s", "k3s.service")


def test_k3s_that_does_not_run(node: Node) -> None:
    node.unit("k3s.service", "/usr/local/bin/k3s server", state="inactive")
    with pytest.raises(Refusal, match="Start k3s"):
        node.found()


@pytest.mark.parametrize(
    ("words", "config", "socket"),
    [
        (("--container-runtime-endpoint=unix:///run/a.sock",), "", "/run/a.sock"),
        (("--container-runtime-endpoint", "/run/a.sock"), "", "/run/a.sock"),
        (("--config=F",), "containerRuntimeEndpoint: unix:///run/a.sock\n", "/run/a.sock"),
        (("--config", "F"), 'kind: x\ncontainerRuntimeEndpoint: "unix:///run/a.sock" # x\n', "/run/a.sock"),
        (("--config", "F"), "kind: x\n", ""),
        (("--config", "/absent"), "", ""),
        (("--container-runtime-endpoint=npipe:////x",), "", ""),
        ((), "", ""),
    ],
)
def test_what_a_kubelet_was_told(tmp_path: Path, words: tuple[str, ...], config: str, socket: str) -> None:
    file = tmp_path / "config"
    file.write_text(config)
    node = Node(tmp_path / "proc")
    node.proc.mkdir()
    node.process(9, "/x", "/usr/bin/kubelet", *(word.replace("F", str(file)) for word in words))
    assert kubelet.socket(str(node.proc)) == socket


def test_an_engine_that_cannot_be_configured(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node.plain()
    node.process(40, "/x", "/usr/bin/kubelet", "--container-runtime-endpoint=unix:///run/cri-dockerd.sock")
    with pytest.raises(Refusal, match="Docker, through cri-dockerd"):
        node.found()
    (tmp_path / "40/cmdline").write_text("")
    flatcar = unsupported.Seen(system="flatcar")
    monkeypatch.setattr(unsupported, "look", lambda *_args: flatcar)
    assert node.found() == ("containerd", "containerd.service")
    (tmp_path / "20/cmdline").write_text(f"{PLAIN}\0--config\0/usr/share/containerd/config.toml\0")
    with pytest.raises(Refusal, match="the containerd of Flatcar"):
        node.found()


def test_where_a_kubelet_keeps_volumes(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.process(9, "/x", "/var/lib/k0s/bin/kubelet", "--root-dir=/data/kubelet", "--config=/x")
    assert kubelet.directory(str(tmp_path)) == "/data/kubelet"


def test_no_kubelet(tmp_path: Path) -> None:
    assert (kubelet.socket(str(tmp_path)), kubelet.directory(str(tmp_path))) == ("", "")


@pytest.mark.parametrize(
    ("engine", "path", "directory"),
    [
        ("containerd", "conf.d/x.toml", "conf.d"),
        ("k0s", "containerd.d/x.toml", "."),
        ("k0s", "containerd.toml", "."),
        ("k3s", "config-v3.toml.d/x.toml", "config-v3.toml.d"),
    ],
)
def test_where_a_new_file_waits(engine: str, path: str, directory: str) -> None:
    found = Engine(engine, (2, 0, 0), "", "", "/d/containerd.toml", "", True)
    assert flavours.waiting(found, f"/d/{path}") == os.path.normpath(f"/d/{directory}")


def test_a_new_file_waits_outside_of_a_directory_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real/theirs").mkdir(parents=True)
    (tmp_path / "containerd.d").symlink_to("real/theirs")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "containerd.d/link").symlink_to(tmp_path / "elsewhere/x")
    found = Engine("k0s", (2, 0, 0), "", "", str(tmp_path / "containerd.toml"), "", True)
    assert flavours.waiting(found, str(tmp_path / "containerd.d/x.toml")) == str(tmp_path / "real")
    assert flavours.waiting(found, str(tmp_path / "containerd.d/link")) == str(tmp_path / "elsewhere")
