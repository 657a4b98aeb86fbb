# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that an engine would serve a handler with, and that no pod could be started with."""

from __future__ import annotations

import os
import shutil
import struct
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import startable
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

TRUE = os.path.realpath(shutil.which("true") or "/bin/true")


def elf(machine: int, interpreter: bytes = b"", wide: bool = True, order: str = "<") -> bytes:
    """Return the beginning of a program, as far as it is read here."""
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if wide:
        head += struct.pack(
            f"{order}HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1 if interpreter else 0, 0, 0, 0
        )
        entry = struct.pack(f"{order}IIQQQQQQ", 3, 4, 120, 0, 0, len(interpreter) + 1, 0, 1)
    else:
        head += struct.pack(
            f"{order}HHIIIIIHHHHHH", 2, machine, 1, 0, 52, 0, 0, 52, 32, 1 if interpreter else 0, 0, 0, 0
        )
        entry = struct.pack(f"{order}IIIIIIII", 3, 84, 0, 0, len(interpreter) + 1, 0, 4, 1)
    return head + entry + interpreter + b"\0" + bytes(64)


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., str]:
    """Return a function that makes a shim of some bytes and returns its path."""
    monkeypatch.setattr(startable, "_has_emulators", lambda: False)

    def make(content: bytes, mode: int = 0o755) -> str:
        path = tmp_path / "containerd-shim-kata-v2"
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    return make


def refuse(path: str, **options: str) -> None:
    startable.refuse({"kata-qemu": {"runtime_path": path, "options": options}}, {}, os.path.dirname(path))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(Path(TRUE).read_bytes(), id="a program"),
        pytest.param(b"#!/bin/sh\nexit 0\n", id="a script"),
        pytest.param(b"#!/bin/sh\necho usage: no -v >&2\nexit 2\n", id="a script that knows no -v"),
        pytest.param(b"#!/usr/bin/env sh\nkill -9 $$\n", id="a script that is killed"),
        pytest.param(b'#!/bin/sh\n[ "$1" = -v ]\n', id="it is asked for its version"),
        pytest.param(b'#!/bin/sh\n[ -z "$SECRET" ] || exit 127\n', id="it gets no environment"),
    ],
)
def test_what_starts(shim: t.Callable[..., str], content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    refuse(shim(content))


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        pytest.param(b"#!/bin/sh\n", 0o644, "mode 0644", id="a mode"),
        pytest.param(b"", 0o755, "cannot start it", id="an empty file"),
        pytest.param(b"shim", 0o755, "cannot start it", id="no program"),
        pytest.param(b"#!/no/such/sh\n", 0o755, "needs /no/such/sh, which is not", id="an interpreter"),
        pytest.param(b"#!/bin/sh\n/no/such/shim\n", 0o755, "exit status 127", id="a wrapper of nothing"),
        pytest.param(b"#!/bin/sh\nexec /etc/passwd\n", 0o755, "exit status 126", id="a wrapper of no program"),
        pytest.param(b"#!/bin/sh\nkill -ILL $$\n", 0o755, "processor lacks", id="an instruction"),
        pytest.param(elf(243), 0o755, "a program for riscv", id="another processor"),
        pytest.param(elf(22, order=">"), 0o755, "a program for s390x", id="another processor, other end first"),
        pytest.param(elf(4711), 0o755, "ELF machine 4711", id="an unknown processor"),
        pytest.param(elf(62, b"/no/ld.so"), 0o755, "needs /no/ld.so, which is not", id="a loader"),
        pytest.param(elf(3, b"/no/ld.so", wide=False), 0o755, "needs /no/ld.so", id="a loader of 32 bits"),
        pytest.param(elf(62)[:40], 0o755, "cannot start it", id="a cut program"),
    ],
)  # fmt: skip
def test_what_does_not_start(
    shim: t.Callable[..., str], content: bytes, mode: int, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*real[:4], "x86_64")))
    with pytest.raises(Refusal, match=says) as refused:
        refuse(shim(content, mode))
    assert "which pods of kata-qemu need" in str(refused.value)


def test_another_processor_with_an_emulator_is_tried(
    shim: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startable, "_has_emulators", lambda: True)
    with pytest.raises(Refusal, match="cannot start it"):
        refuse(shim(elf(4711)))


def test_a_mount(shim: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, statvfs = shim(b"#!/bin/sh\n"), os.statvfs
    assert startable.on_mounts([path, "", "/no"]) == {}

    def noexec(path: str) -> os.statvfs_result:
        return os.statvfs_result((*statvfs(path)[:8], os.ST_NOEXEC, 255))

    monkeypatch.setattr(os, "statvfs", noexec)
    assert os.path.ismount(startable._mount_of(path))
    with pytest.raises(Refusal, match="which is mounted with noexec"):
        refuse(path)
    assert list(startable.on_mounts([path])) == [path]


def test_a_shim_that_runs_on_is_ended(shim: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startable, "_TIMEOUT", 0.3)
    began = time.monotonic()
    refuse(shim(b"#!/bin/sh\nsleep 60 & sleep 60\n"))
    assert time.monotonic() - began < 10


def test_a_link_where_the_engine_knows_no_path(shim: t.Callable[..., str]) -> None:
    path = shim(b"#!/no/such/sh\n")
    with pytest.raises(Refusal, match="/no/such/sh"):
        startable.refuse({"kata-qemu": {}}, {"/usr/local/bin/containerd-shim-kata-qemu-v2": path}, "")
    startable.refuse({"enclave-cc": {}}, {"/etc/enclave-cc/config.toml": path}, "")


@pytest.mark.parametrize(
    ("program", "section", "bad"),
    [
        pytest.param(b"#!/bin/sh\n", "hypervisor.qemu", False, id="a wrapper"),
        pytest.param(elf(243), "hypervisor.qemu", True, id="another processor"),
        pytest.param(elf(243), "agent.kata", False, id="another section"),
        pytest.param(None, "hypervisor.qemu", False, id="none: not for us to say"),
    ],
)
def test_the_hypervisor(
    shim: t.Callable[..., str], tmp_path: Path, program: bytes | None, section: str, bad: bool
) -> None:
    path, hypervisor = shim(b"#!/bin/sh\n"), tmp_path / "qemu"
    if program is not None:
        hypervisor.write_bytes(program)
        hypervisor.chmod(0o755)
    configuration = tmp_path / "configuration.toml"
    configuration.write_text(f'[{section}]\n# path = "/x"\npath = "{hypervisor}"\n[x]\npath = "/etc/passwd"\n')
    if bad:
        with pytest.raises(Refusal, match=f"{hypervisor} to start"):
            refuse(path, ConfigPath=str(configuration))
    else:
        refuse(path, ConfigPath=str(configuration))


def test_handlers_that_others_have_configured(shim: t.Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = shim(b"#!/no/such/sh\n")
    types = {"kata": "io.containerd.kata.v2", "runc-like": "io.containerd.no-such.v2"}
    monkeypatch.setattr(startable, "_PATH", os.path.dirname(path))
    for paths in ({"kata": ["/x/config.toml", path]}, {}):
        with pytest.raises(Refusal, match="/no/such/sh"):
            startable.refuse_configured(paths, types)
    startable.refuse_configured({}, {"runc-like": "io.containerd.no-such.v2"})
