# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which CRI-O there is: from units, processes and configurations of all kinds."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours, listeners
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Overrides
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.driver import (
    Containerd,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import detect
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.options import Options
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

FLAVOUR = flavours.FLAVOURS["crio"]
REFUSE = detect.refuse_managed


@pytest.fixture
def crio(tmp_path: Path) -> Path:
    """A program that answers like CRI-O's."""
    path = tmp_path / "crio"
    path.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '--version) echo "crio version 1.31.4"; echo "Version:        1.31.4";;\n'
        '*) echo "[crio.api]"; echo \'# listen = "/var/run/crio/crio.sock"\';;\n'
        "esac\n"
    )
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def unmanaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "refuse_managed", lambda: None)


def shown(exec_start: str, **properties: str) -> dict[str, list[str]]:
    start = f"{{ path=x ; argv[]={exec_start} ; ignore_errors=no ; pid=0 }}"
    return {
        "ActiveState": ["active"],
        "MainPID": ["0"],
        "ExecStart": [start],
        **{k: [v] for k, v in properties.items()},
    }


@pytest.mark.parametrize(
    ("words", "overrides", "config", "drop_ins", "address", "root"),
    [
        ("", {}, "/etc/crio/crio.conf", "", "/var/run/crio/crio.sock", ""),
        ("$CRIO_CONFIG_OPTIONS $CRIO_X", {}, "/etc/crio/crio.conf", "", "/var/run/crio/crio.sock", ""),
        ("-c /a -d /b --listen /c --root /d", {}, "/a", "/b", "/c", "/d"),
        ("-c /a --listen /c", {"config": "/x", "socket": "/y"}, "/x", "", "/y", ""),
    ],
)
def test_found_by_the_unit(
    crio: Path, words: str, overrides: dict[str, str], config: str, drop_ins: str, address: str, root: str
) -> None:
    engine, doubts = detect.find(FLAVOUR, "crio.service", shown(f"{crio} {words}"), Overrides(**overrides))
    assert (engine.name, engine.version, engine.binary, engine.active) == ("crio", (1, 31, 4), str(crio), True)
    assert (engine.config, engine.drop_ins, engine.socket, engine.root) == (config, drop_ins, address, root)
    assert not doubts


def test_variables_of_the_unit(crio: Path, tmp_path: Path) -> None:
    (tmp_path / "sysconfig").write_text('CRIO_CONFIG_OPTIONS="--config-dir /b"\nCONTAINER_CONFIG=/a\n')
    found = shown(f"{crio} $CRIO_CONFIG_OPTIONS", EnvironmentFiles=f"{tmp_path}/sysconfig (ignore_errors=yes)")
    assert detect.then(found) == detect.Start(str(crio), Options("/a", "/b"))


def process(proc: Path, program: Path, *words: str, environ: str = "") -> None:
    directory = proc / "7"
    directory.mkdir(parents=True)
    (directory / "exe").symlink_to(program)
    (directory / "cwd").symlink_to("/")
    (directory / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
    (directory / "environ").write_text(environ)


def test_found_by_the_process(crio: Path, tmp_path: Path) -> None:
    process(tmp_path / "proc", crio, str(crio), "--config=/a", environ="CONTAINER_CONFIG_DIR=/b\0HOME=/\0")
    assert detect.now(7, str(tmp_path / "proc")) == detect.Start(str(crio), Options("/a", "/b"))


def test_a_program_that_was_upgraded(tmp_path: Path) -> None:
    process(tmp_path / "proc", tmp_path / "bin/crio (deleted)", "crio")
    assert detect.now(7, str(tmp_path / "proc")) == detect.Start(f"{tmp_path}/bin/crio", Options())


def test_no_process_of_crio(tmp_path: Path) -> None:
    process(tmp_path / "proc", Path("/bin/sh"), "sh", "-c", "crio")
    assert detect.now(7, str(tmp_path / "proc")) is None
    assert detect.now(8, str(tmp_path / "proc")) is None


def test_a_unit_that_does_not_tell() -> None:
    with pytest.raises(Refusal, match="to know which configuration CRI-O gets from"):
        detect.find(FLAVOUR, "crio.service", shown("/bin/wrapper"), Overrides())


def test_no_version(tmp_path: Path) -> None:
    (tmp_path / "crio").write_text("#!/bin/sh\necho other version 1.2.3\n")
    (tmp_path / "crio").chmod(0o755)
    with pytest.raises(Refusal, match="other version"):
        detect.find(FLAVOUR, "crio.service", shown(f"{tmp_path}/crio"), Overrides())


@pytest.mark.parametrize(
    ("words", "now", "overrides", "doubt"),
    [
        ("", Options(), {}, ""),
        ("-c /etc/crio/crio.conf", Options(), {}, ""),
        ("-c /a", Options("/b"), {}, "coco_engine_config"),
        ("-c /a", Options("/b"), {"config": "/b"}, ""),
        ("-d /a", Options(), {}, "restart the unit first."),
        ("--listen /a", Options(listen="/b"), {}, "coco_engine_socket"),
    ],
)
def test_doubts(
    crio: Path, monkeypatch: pytest.MonkeyPatch, words: str, now: Options, overrides: dict[str, str], doubt: str
) -> None:
    monkeypatch.setattr(detect, "now", lambda pid: detect.Start(str(crio), now))
    _engine, doubts = detect.find(FLAVOUR, "crio.service", shown(f"{crio} {words}"), Overrides(**overrides))
    assert [str(found) for found in doubts if doubt in str(found)] == [*map(str, doubts)]
    assert bool(doubts) == bool(doubt)


def test_units_that_systemd_has_not_read_again(crio: Path) -> None:
    found = shown(str(crio), NeedDaemonReload="yes")
    _engine, doubts = detect.find(FLAVOUR, "crio.service", found, Overrides())
    assert "daemon-reload" in str(doubts[0])


def test_another_process_on_the_socket(crio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "units_of", lambda pid, proc="/proc": ["other.service"])
    address = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(address))
        server.listen()
        found = shown(f"{crio} --listen {address}")
        _engine, doubts = detect.find(FLAVOUR, "crio.service", found, Overrides())
    assert "other.service" in str(doubts[0])


def test_a_refused_engine_beside_one_that_does_not_run(crio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that runs is the node's, so its refusal counts."""
    loaded = {
        "crio.service": shown("/bin/wrapper"),
        "containerd.service": {**shown("/bin/true"), "ActiveState": ["inactive"]},
    }
    monkeypatch.setattr(systemd, "loaded", lambda units, names: loaded)
    monkeypatch.setattr(Containerd, "find", lambda *words: (object(), []))
    with pytest.raises(Refusal, match="CRI-O"):
        flavours.find(Overrides())


class TestManaged:
    @pytest.fixture(autouse=True)
    def unmanaged(self) -> None:
        """Here the question itself is tried."""

    @pytest.mark.parametrize(
        ("release", "operator", "refused"),
        [
            ('ID=debian\nVERSION_ID="12"\n', False, False),
            ('ID="rhel"\nVERSION_ID="9.4"\n', False, False),
            ('ID="fedora"\nVARIANT_ID=coreos\n', False, False),
            ('ID="rhcos"\n', False, True),
            ("ID=scos\n", False, True),
            ('ID="rhel"\nVARIANT_ID=coreos\nOPENSHIFT_VERSION="4.19"\n', False, True),
            ('ID="fedora"\nVARIANT_ID=coreos\n', True, True),
        ],
    )
    def test_it(self, tmp_path: Path, release: str, operator: bool, refused: bool) -> None:
        (tmp_path / "os-release").write_text(release)
        if operator:
            (tmp_path / "machine-config-daemon").mkdir()
        paths = str(tmp_path / "machine-config-daemon"), str(tmp_path / "os-release")
        if not refused:
            REFUSE(*paths)
            return
        with pytest.raises(Refusal, match="sandboxed containers"):
            REFUSE(*paths)

    def test_no_os_release(self, tmp_path: Path) -> None:
        REFUSE(str(tmp_path / "a"), str(tmp_path / "b"))
