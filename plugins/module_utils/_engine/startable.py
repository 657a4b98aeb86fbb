# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Can the programs of a handler start on this node? An engine serves a handler without ever trying, so we try."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import configuration_of
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: Seconds that a shim has to print its version.
_TIMEOUT = 10.0
#: Where a daemon looks for a program that is named without a path.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHIM = "containerd-shim-"
#: The exit statuses of a shell or a loader that cannot start a program, or cannot load one of its libraries.
_NOT_STARTED = (126, 127)

#: By processor (``uname -m``), the ELF machines whose programs its kernel runs. Programs of others may run in an emulator.
_MACHINES: t.Mapping[str, tuple[int, ...]] = {
    "x86_64": (62, 3),
    "aarch64": (183, 40),
    "s390x": (22,),
    "ppc64le": (21,),
}
_NAMES = {62: "x86_64", 3: "i386", 183: "aarch64", 40: "arm", 22: "s390x", 21: "ppc64", 243: "riscv"}
_EMULATORS = "/proc/sys/fs/binfmt_misc"
_PT_INTERP = 3

_HYPERVISOR = re.compile(r"\s*\[\s*hypervisor\b.*\]")
_PROGRAM = re.compile(r"""\s*path\s*=\s*["'](/[^"']*)["']""")


EXPECTED = "{path} to start, which pods of {handlers} need"


class Flaw(t.NamedTuple):
    """What keeps a program from starting, and what to do about it."""

    found: str
    remedy: str


_MADE_FOR_OTHERS = "Use a payload, or a runtime_path in coco_handler_overrides, that was made for nodes like this one."


def refuse(handlers: t.Mapping[str, t.Mapping[str, t.Any]], links: t.Mapping[str, str], prefix: str) -> None:
    """Refuse handlers whose shim, or whose hypervisor below ``prefix``, cannot start. Shims are really started."""
    linked = [target for path, target in links.items() if os.path.basename(path).startswith(_SHIM)]
    for path, names in _users((name, table.get("runtime_path")) for name, table in handlers.items()).items():
        for shim in [path] if path else linked:
            _refuse(names, shim, _flaw(shim) or _failure(shim))
    configurations = ((name, configuration_of(table)) for name, table in handlers.items())
    for configuration, names in _users(configurations).items():
        for path in _hypervisors(configuration, prefix):
            _refuse(names, path, _flaw(path))


def on_mounts(paths: t.Iterable[str]) -> dict[str, dict[str, str]]:
    """Return those of the shims that lie on a mount from which nothing can start. A cheap check, for shims tried before."""
    flaws = {path: _mounted(path) for path in paths if os.path.exists(path)}
    return {path: flaw._asdict() for path, flaw in flaws.items() if flaw}


def refuse_configured(paths: t.Mapping[str, t.Sequence[str]], types: t.Mapping[str, str]) -> None:
    """Refuse handlers that somebody else has configured and whose shims cannot start.

    ``paths`` are the paths in each handler's tables, ``types`` the runtime types.
    """
    named = [(name, path) for name in types for path in shims(paths.get(name, ()))]
    others = types.keys() - {name for name, _path in named}
    found = [(name, shutil.which(_SHIM + "-".join(types[name].split(".")[-2:]), path=_PATH)) for name in sorted(others)]
    for path, names in _users([*named, *found]).items():
        if path:  # a shim that we do not find may still be in the daemon's own PATH
            _refuse(names, path, _flaw(path) or _failure(path))


def shims(paths: t.Iterable[str]) -> list[str]:
    """Return those of the paths in a handler's tables that are its shim."""
    return [path for path in paths if os.path.basename(path).startswith(_SHIM)]


def _users(pairs: t.Iterable[tuple[str, str | None]]) -> dict[str, list[str]]:
    """Return for each path ('' for none) the handlers that need it."""
    users: dict[str, list[str]] = {}
    for name, path in pairs:
        users.setdefault(path or "", []).append(name)
    return users


def _refuse(names: t.Sequence[str], path: str, flaw: Flaw | None) -> None:
    if flaw:
        raise Refusal(EXPECTED.format(path=path, handlers=", ".join(names)), *flaw)


def _flaw(path: str) -> Flaw | None:
    """Return what keeps a program from starting, as far as its file tells."""
    try:
        found = os.stat(path)
    except OSError as error:
        return Flaw(f"that it cannot be read: {error.strerror}", f"See 'ls -l {path}' on the node.")
    if not stat.S_ISREG(found.st_mode):
        return Flaw("something else than a file", "Name a program.")
    if not found.st_mode & 0o111:
        mode = stat.S_IMODE(found.st_mode)
        return Flaw(f"a file that nobody may execute (mode {mode:04o})", "It has to be executable where it comes from.")
    return _mounted(path) or _foreign(path)


def _mounted(path: str) -> Flaw | None:
    if not os.statvfs(path).f_flag & os.ST_NOEXEC:
        return None
    mount = _mount_of(path)
    return Flaw(
        f"it on {mount}, which is mounted with noexec",
        f"Mount {mount} without noexec, or set coco_prefix to a directory of another file system, after an uninstall.",
    )


def _mount_of(path: str) -> str:
    """Return the mount point that a path lies below. Only the kernel's list shows a bind mount of the same disk."""
    path, found = os.path.realpath(path), "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            mount = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), line.split()[4])
            if path.startswith(mount.rstrip("/") + "/") and len(mount) >= len(found):
                found = mount
    return found


def _foreign(path: str) -> Flaw | None:
    """Return the flaw that a program's first bytes show: another processor, or an interpreter that is not there."""
    with open(path, "rb") as stream:
        head = stream.read(256)
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n")[0].split()
            return _without(os.fsdecode(words[0])) if words else None
        if not head.startswith(b"\x7fELF") or len(head) < 64:
            return None  # an unknown format: only a start tells
        order = "<" if head[5] == 1 else ">"
        (machine,) = struct.unpack_from(f"{order}H", head, 18)
        node = os.uname().machine
        if machine not in _MACHINES.get(node, (machine,)) and not _has_emulators():
            name = _NAMES.get(machine, f"ELF machine {machine}")
            return Flaw(f"a program for {name} on a node with {node}", _MADE_FOR_OTHERS)
        with contextlib.suppress(struct.error, OSError, ValueError):
            return _without(_elf_interpreter(stream, head, order))
    return None


def _elf_interpreter(stream: t.BinaryIO, head: bytes, order: str) -> str:
    """Return the loader that an ELF program names, '' for a program that needs none."""
    wide = head[4] == 2
    (start,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)
    size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
    for number in range(min(count, 64)):
        stream.seek(start + number * size)
        entry = stream.read(size)
        if struct.unpack_from(f"{order}I", entry)[0] == _PT_INTERP:
            offset, length = (
                (struct.unpack_from(f"{order}Q", entry, place)[0] for place in (8, 32))
                if wide
                else (struct.unpack_from(f"{order}I", entry, place)[0] for place in (4, 16))
            )
            stream.seek(offset)
            return os.fsdecode(stream.read(min(length, 4096)).rstrip(b"\0"))
    return ""


def _without(interpreter: str) -> Flaw | None:
    missing = interpreter.startswith("/") and not os.path.exists(interpreter)
    found = f"that it needs {interpreter}, which is not on the node"
    return Flaw(found, f"Install what has {interpreter}, or use a payload that needs none.") if missing else None


def _has_emulators() -> bool:
    """Tell whether the kernel has emulators for programs of other processors."""
    try:
        return bool(set(os.listdir(_EMULATORS)) - {"register", "status"})
    except OSError:
        return False


def _failure(path: str) -> Flaw | None:
    """Start a shim, so that it prints its version. Return what kept it from starting; its other failures do not count."""
    try:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            [path, "-v"],
            cwd="/",
            env={"PATH": _PATH, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return Flaw(f"that the node cannot start it: {error.strerror}", f"Start it on the node to see more: {path} -v")
    said = b""
    try:
        said = process.communicate(timeout=_TIMEOUT)[1]
    except subprocess.TimeoutExpired:
        return None  # it runs
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        t.cast(t.IO[bytes], process.stderr).close()
    if process.returncode == -signal.SIGILL:
        return Flaw("that it needs an instruction which this node's processor lacks", _MADE_FOR_OTHERS)
    if process.returncode in _NOT_STARTED:
        last = (said.decode(errors="replace").strip().splitlines() or ["no word"])[-1][:200]
        return Flaw(f"exit status {process.returncode} when it was to tell its version, and: {last}", _MADE_FOR_OTHERS)
    return None


def _hypervisors(configuration: str, prefix: str) -> list[str]:
    """Return the programs below ``prefix`` that a configuration file of Kata names as its hypervisor."""
    try:
        with open(configuration, encoding="utf-8", errors="replace") as stream:
            lines = stream.read(1 << 20).splitlines()
    except OSError:
        return []
    found, inside = [], False
    for line in lines:
        if line.lstrip().startswith("["):
            inside = bool(_HYPERVISOR.match(line))
        program = _PROGRAM.match(line) if inside else None
        if program and prefix and program.group(1).startswith(f"{prefix}/") and os.path.isfile(program.group(1)):
            found.append(program.group(1))
    return found
