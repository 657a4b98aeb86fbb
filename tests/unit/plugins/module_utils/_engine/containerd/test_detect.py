# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which containerd there is: from units, processes and configurations of all kinds."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours, listeners
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine, Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    client,
    daemon,
    dump,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

DEFAULT = "/etc/containerd/config.toml"
SOCKET = "/run/containerd/containerd.sock"
GROUP = "/system.slice/containerd.service"
BINARY = "/usr/bin/containerd"


@dataclass
class Node:
    """A node: what systemd shows of its unit, its processes, and what containerd dumps."""

    directory: Path
    exec_start: str = BINARY
    properties: dict[str, str] = field(default_factory=dict)
    dump: str = ""
    asked: list[str] = field(default_factory=list)

    def run(self, argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        words = list(argv)
        self.asked.append(" ".join(words))
        output = ""
        if words[0] == "systemctl":
            start = f"{{ path=x ; argv[]={self.exec_start} ; ignore_errors=no ; pid=0 }}"
            shown = {"Id": "containerd.service", "LoadState": "loaded", "ActiveState": "active", "ExecStart": start}
            shown = {**shown, "ControlGroup": GROUP, "MainPID": "0", **self.properties}
            output = "".join(f"{name}={line}\n" for name, value in shown.items() for line in value.split("\n"))
        elif words[1:] == ["--version"]:
            output = "containerd github.com/containerd/containerd 1.7.24 abc\n"
        elif words[-2:] == ["config", "dump"]:
            output = self.dump
        return subprocess.CompletedProcess(words, 0, output, "")

    def process(self, pid: int, program: str, *words: str, parent: int = 1, group: str = GROUP, cwd: str = "/") -> None:
        """Add a process; the first one is the unit's main process."""
        self.properties.setdefault("MainPID", str(pid))
        at = self.directory / str(pid)
        at.mkdir()
        (at / "exe").symlink_to(program)
        (at / "cwd").symlink_to(cwd)
        (at / "cmdline").write_text("".join(f"{word}\0" for word in words))
        (at / "cgroup").write_text(f"9:pids:/\n0::{group}\n")
        (at / "stat").write_text(f"{pid} (a (b) c) S {parent} 1 1")

    def find(self, **overrides: str) -> tuple[Engine, list[str]]:
        driver, doubts = flavours.find(Overrides(**overrides))
        return driver.engine, list(map(str, doubts))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    proc = tmp_path / "proc"
    proc.mkdir()
    node = Node(proc)
    monkeypatch.setattr(process, "run", node.run)
    monkeypatch.setattr(daemon, "find", functools.partial(daemon.find, proc=str(proc)))
    monkeypatch.setattr(listeners, "stranger", functools.partial(listeners.stranger, proc=str(proc)))
    monkeypatch.setattr(listeners, "listener", lambda address: 0)
    return node


def told(engine: Engine) -> tuple[str, str, str, str]:
    return engine.binary, engine.config, engine.socket, engine.root


@pytest.mark.parametrize(
    ("exec_start", "properties", "expected"),
    [
        (BINARY, {}, (BINARY, DEFAULT, SOCKET, "")),
        (f"{BINARY} --config ${{C}}", {"Environment": "C=/x.toml"}, (BINARY, "/x.toml", SOCKET, "")),
        (
            f"/usr/bin/nice -n 1 {BINARY} $OPTIONS",
            {"Environment": '"OPTIONS=-a /s --root /r -l debug"'},
            (BINARY, DEFAULT, "/s", "/r"),
        ),
        (f"{BINARY} -config x.toml", {"WorkingDirectory": "/srv"}, (BINARY, "/srv/x.toml", SOCKET, "")),
        (f"{BINARY} --config ${{C}}", {}, "ExecStart uses C, which it does not set itself"),
        (f"{BINARY} $OPTIONS", {}, "ExecStart uses OPTIONS, which it does not set itself"),
        ("/bin/sh -c containerd --config /x.toml", {}, "ExecStart begins with /bin/sh"),
    ],
)
def test_a_unit_that_does_not_run(
    node: Node, exec_start: str, properties: dict[str, str], expected: tuple[str, ...] | str
) -> None:
    node.exec_start = exec_start
    node.properties = {"ActiveState": "inactive", **properties}
    if isinstance(expected, str):
        with pytest.raises(Refusal, match="coco_engine_config") as refused:
            node.find()
        assert expected in str(refused.value)
        engine, doubts = node.find(config="/mine.toml")
        assert engine.config == "/mine.toml"
    else:
        engine, doubts = node.find()
        assert told(engine) == expected
    assert doubts == []
    assert not engine.active


@pytest.mark.parametrize(
    ("exec_start", "program", "words", "expected"),
    [
        (BINARY, BINARY, [BINARY], (BINARY, DEFAULT, SOCKET, "")),
        # Variables that only systemd knows.
        (f"{BINARY} --config ${{C}}", BINARY, [BINARY, "--config", "/x.toml"], (BINARY, "/x.toml", SOCKET, "")),
        (f"{BINARY} $O", BINARY, [BINARY, "-l", "debug", "-a=/s", "-root", "/r"], (BINARY, DEFAULT, "/s", "/r")),
        (f"{BINARY} -c x.toml", BINARY, [BINARY, "-c", "x.toml"], (BINARY, "/srv/x.toml", SOCKET, "")),
        # Programs in front of it that become it.
        ("/usr/bin/env containerd", BINARY, ["containerd"], (BINARY, DEFAULT, SOCKET, "")),
        ("/bin/sh -c exec", "/opt/bin/containerd", ["containerd", "-c", "/x"], ("/opt/bin/containerd", "/x", SOCKET, "")),
        (BINARY, f"{BINARY} (deleted)", ["-c"], (BINARY, DEFAULT, SOCKET, "")),
        (BINARY, "/opt/.containerd-wrapped", ["x", "-c", "/x"], ("/opt/.containerd-wrapped", "/x", SOCKET, "")),
    ],
)  # fmt: skip
def test_a_daemon_that_runs(
    node: Node, exec_start: str, program: str, words: list[str], expected: tuple[str, ...]
) -> None:
    node.exec_start = exec_start
    node.process(80, program, *words, cwd="/srv")
    node.properties["WorkingDirectory"] = "/srv"
    engine, _doubts = node.find()
    assert told(engine) == expected


def test_a_link_that_an_upgrade_sets_to_another_program(node: Node, tmp_path: Path) -> None:
    link = tmp_path / "containerd"
    link.write_text("")
    node.process(80, "/opt/1.7/containerd", str(link))
    assert node.find()[0].binary == str(link)


def test_a_program_in_front_that_stays(node: Node) -> None:
    """The daemon is its child, beside shims, their messengers, and the daemon's own children that are not yet another program."""
    node.exec_start = "/bin/sh /usr/local/bin/start"
    node.process(80, "/usr/bin/dash", "/bin/sh", "/usr/local/bin/start")
    node.process(82, "/usr/bin/containerd-shim-runc-v2", "containerd-shim-runc-v2", parent=1)
    node.process(83, BINARY, "containerd", "--address", "/no", "publish", "--topic", "x", parent=82)
    node.process(84, BINARY, "containerd", "--config", "/x.toml", parent=80)
    node.process(81, BINARY, "containerd", "--config", "/x.toml", parent=84)
    node.process(85, BINARY, "containerd", "--config", "/pod.toml", group=f"{GROUP}/pod")
    engine, doubts = node.find()
    assert told(engine) == (BINARY, "/x.toml", SOCKET, "")
    assert doubts == []


def test_a_unit_without_containerd(node: Node) -> None:
    node.exec_start = "/usr/bin/something"
    node.process(80, "/usr/bin/something", "something")
    with pytest.raises(Refusal, match="begins with /usr/bin/something"):
        node.find()


@pytest.mark.parametrize(
    ("changes", "overrides", "words"),
    [
        ({"NeedDaemonReload": "yes"}, {}, ["systemctl daemon-reload"]),
        ({"ExecStart": "-c /b.toml"}, {}, ["with /b.toml", "with /a.toml", "coco_engine_config"]),
        ({"ExecStart": ""}, {}, [f"with {DEFAULT}", "with /a.toml", "coco_engine_config"]),
        ({"ExecStart": "-c /b.toml"}, {"config": "/b.toml"}, []),
        ({"ExecStart": "-c /a.toml -a /s"}, {}, ["with /s", "with no such option", "coco_engine_socket"]),
        ({"ExecStart": "-c /a.toml -a /s"}, {"socket": "/s"}, []),
        ({"ExecStart": "-c /a.toml --root /r"}, {}, ["with /r", "restart the unit first."]),
        # What cannot be told is no contradiction.
        ({"ExecStart": "-c ${C}"}, {}, []),
    ],
)
def test_a_unit_that_was_changed_since_it_started(
    node: Node, changes: dict[str, str], overrides: dict[str, str], words: list[str]
) -> None:
    node.process(80, BINARY, BINARY, "-c", "/a.toml")
    node.exec_start = f"{BINARY} {changes.pop('ExecStart', '-c /a.toml')}"
    node.properties.update(changes)
    _engine, doubts = node.find(**overrides)
    assert len(doubts) == (1 if words else 0), doubts
    for word in words:
        assert word in doubts[0]
    if words:
        with pytest.raises(Refusal):
            flavours.detect(Overrides(**overrides))
    assert flavours.detect(Overrides(**overrides), restarting=False).engine.active


@pytest.mark.parametrize(
    ("exec_start", "program", "words"),
    [
        # Quotes are not shown.
        (f"{BINARY} --config /my dir/x.toml", BINARY, [BINARY, "--config", "/my dir/x.toml"]),
        # A script of the same name adds options.
        ("/usr/local/bin/containerd", BINARY, ["containerd", "--config", "/x.toml"]),
    ],
)
def test_what_looks_like_a_change_and_is_none(node: Node, exec_start: str, program: str, words: list[str]) -> None:
    node.exec_start = exec_start
    node.process(80, program, *words)
    assert node.find()[1] == []


@pytest.mark.parametrize(
    ("text", "dumped", "expected", "dumps"),
    [
        ("version = 2\n", "", SOCKET, 0),
        ('[plugins."io.containerd.grpc.v1.cri"]\nx = 1\n', "", SOCKET, 0),
        ('# [grpc]\n#  address = "/no"\n', "", SOCKET, 0),
        ('[grpc]\n  # mine\n  address = "/two.sock" # here\n  gid = 0\n\n[ttrpc]\n  address = "/no"\n', "", "/two.sock", 0),
        ("[plugins.'io.containerd.server.v1.grpc']\naddress = '/two.sock'\n", "", "/two.sock", 0),
        ("[grpc]\n  gid = 0\n  [debug]\naddress = '/no'\n", "", SOCKET, 0),
        # Other ways of writing it: the engine itself tells.
        ('grpc.address = "/x"\n', '[grpc]\n  address = "/two.sock"\n', "/two.sock", 1),
        ('grpc = { address = "/x" }\n', "[plugins]\n  [plugins.'io.containerd.server.v1.grpc']\n    address = '/two.sock'\n", "/two.sock", 1),
        ('[ "grpc" ]\naddress = "/x"\n', '[grpc]\n  address = ""\n', SOCKET, 1),
        ('[grpc]\naddress = """/x"""\n', '[grpc]\n  address = "/two.sock"\n', "/two.sock", 1),
    ],
)  # fmt: skip
def test_the_address_in_the_configuration(
    node: Node, tmp_path: Path, text: str, dumped: str, expected: str, dumps: int
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    node.dump = dumped
    node.process(80, BINARY, BINARY, "--config", str(config))
    assert node.find()[0].socket == expected
    assert sum("config dump" in asked for asked in node.asked) == dumps
    assert node.find(socket="/mine")[0].socket == "/mine"


def test_what_an_unchanged_run_starts(node: Node) -> None:
    """One question to systemd, one to containerd: processes are what a look at the engine costs."""
    node.process(80, BINARY, BINARY)
    node.find()
    assert len(node.asked) == 2


@pytest.mark.parametrize(
    ("pid", "group", "stranger"),
    [
        (80, GROUP, ""),
        (90, GROUP, ""),
        (90, f"{GROUP}/below", ""),
        (90, "/system.slice/other.service", "other.service (process 90)"),
        (90, "/user.slice/session-5.scope", "session-5.scope (process 90)"),
        (90, "/docker/1/system.slice/two.service", "two.service (process 90)"),
        (90, "/", ""),  # no unit at all
        (1, "/init.scope", ""),  # systemd listens for a unit
        (0, "", ""),  # in another namespace
        (91, "", ""),  # gone
    ],
)
def test_whose_socket_it_is(node: Node, monkeypatch: pytest.MonkeyPatch, pid: int, group: str, stranger: str) -> None:
    node.process(80, BINARY, BINARY)
    if group and pid != 80:
        node.process(pid, "/x", "x", group=group)
    monkeypatch.setattr(listeners, "listener", lambda address: pid)
    _engine, doubts = node.find()
    assert [stranger] == ["".join(doubts) and stranger]
    assert not stranger or f"Found that {stranger} does" in doubts[0]
    assert node.find(socket=SOCKET)[1] == doubts


def test_who_listens(tmp_path: Path) -> None:
    address = str(tmp_path / "s")
    assert listeners.listener(address) == 0
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        assert listeners.listener(address) == os.getpid()


def test_the_client_beside_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under sudo, PATH has no /opt; and a link to the daemon may lead to where its client is."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    real = tmp_path / "real"
    real.mkdir()
    for name in ("containerd", "ctr"):
        (real / name).touch(mode=0o755)
    (tmp_path / "containerd").symlink_to(real / "containerd")
    for binary in (real / "containerd", tmp_path / "containerd"):
        engine = Engine("containerd", (1, 7, 24), "containerd.service", str(binary), DEFAULT, "/s", True)
        assert client.command(engine, "version") == [str(real / "ctr"), "--address", "/s", "version"]
    k0s = Engine("k0s", (1, 7, 24), "k0sworker.service", "/var/lib/k0s/bin/containerd", DEFAULT, "/s", True)
    assert client.command(k0s, "version")[-4:] == ["ctr", "--address", "/s", "version"]
    assert client.command(k0s)[0].endswith("k0s")


def test_what_a_journal_of_before_says_of_an_engine() -> None:
    engine = Engine("containerd", (1, 7, 24), "containerd.service", BINARY, DEFAULT, SOCKET, True)
    plain = engine.plain()
    assert Engine.from_plain(plain) == engine
    del plain["root"]
    assert Engine.from_plain(plain) == engine


@pytest.mark.parametrize(
    ("output", "found"),
    [("GNU bash, version 5.2.37(1)-release", "GNU bash"), ("", "exit status 0, no output")],
)
def test_a_program_that_is_no_containerd(node: Node, monkeypatch: pytest.MonkeyPatch, output: str, found: str) -> None:
    def run(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        done = node.run(argv, timeout)
        return subprocess.CompletedProcess(argv, 0, output, "") if argv[1:] == ["--version"] else done

    monkeypatch.setattr(process, "run", run)
    node.process(80, BINARY, BINARY)
    with pytest.raises(Refusal, match=found) as refused:
        node.find()
    assert "Repair" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "said", "trial", "remedy"),
    [
        (1, 'containerd: failed to load TOML from "{main}": strconv "geheim"', False, "Correct {main} first."),
        (1, "containerd: failed to load TOML from {other}: (1, 2)", False, "Correct {other} first."),
        (1, "containerd: toml: expected x", False, "Correct {main} or {other} first."),
        # What is tried is ours: the node's own files were taken a moment ago.
        (1, "containerd: toml: incompatible types", True, "coco_handler_overrides"),
        (process.MISSING, "No such file or directory", False, "on the node to see why"),
        (-9, "", False, "on the node to see why"),
    ],
)
def test_a_configuration_that_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, said: str, trial: bool, remedy: str
) -> None:
    names = {"main": str(tmp_path / "config.toml"), "other": str(tmp_path / "other.toml")}
    Path(names["main"]).write_text(f"imports = ['{names['other']}']\n")
    Path(names["other"]).touch()
    engine = Engine("containerd", (1, 7, 24), "containerd.service", BINARY, names["main"], SOCKET, True)
    failed = subprocess.CompletedProcess([], status, "", said.format(**names))
    monkeypatch.setattr(process, "run", lambda argv, timeout=60.0: failed)
    with pytest.raises(Refusal) as refused:
        dump.take(engine, str(tmp_path / "trial.toml") if trial else names["main"])
    assert remedy.format(**names) in refused.value.remedy
    assert "geheim" not in str(refused.value)
    assert "{main}" not in said or names["main"] in refused.value.found
