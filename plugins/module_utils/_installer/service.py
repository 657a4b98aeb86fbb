# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One command of a payload, in a root file system of its own, as a service of the node's systemd.

It runs as the operator runs it: as root, with all capabilities, in the node's own process and network namespaces. Both ways
to reach the node's systemd work: ``nsenter -t 1``, and ``systemctl`` over the bus. The latter has to be told that this root is
no chroot in which there is nothing to do (it would say so and exit with 0), and to take the bus, because the contract mounts
that and not systemd's private socket.
"""

from __future__ import annotations

import os
import re
import time
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import (
    files,
    places,
    process,
    systemd,
)

NAME = "confidential-containers-installer.service"
_IDENTIFIER = "confidential-containers-installer"
_PATH = f"/run/systemd/system/{NAME}"
_ENVIRONMENT = places.ENVIRONMENT
#: What makes systemctl work in another root.
_SYSTEMCTL = {"SYSTEMD_IGNORE_CHROOT": "1", "SYSTEMCTL_FORCE_BUS": "1"}
#: Commands that wait for nothing: the script in which one runs has done its work.
_IDLE = (["sleep", "infinity"], ["sleep", "inf"], ["tail", "-f", "/dev/null"])
#: Names of variables whose values are not repeated.
_SECRET = re.compile(
    r"(?i)passw|passphrase|secret|token|credential|basicauth|(?:api|private|access|ssh|ssl|tls)_?key"
    r"|(?:^|_)(?:(?:db)?pass|pwd|auth|authorization|cookie|keys?)(?:_|$)"
)
_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s\"']+@")
#: What systemd takes for the name of a variable.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Type=exec: a start that fails because the program is not there says so. What the script has forked ends with it, as in a
# container.
_UNIT = """\
# Written by Ansible (confidential_containers.runtime) while a payload's own installer runs; gone afterwards.
[Unit]
Description=Installer of a Confidential Containers payload

[Service]
Type=exec
RemainAfterExit=yes
RootDirectory={root}
MountAPIVFS=yes
WorkingDirectory={directory}
EnvironmentFile={environment}
ExecStart={argv}
StandardInput=null
StandardOutput=journal
StandardError=journal
SyslogIdentifier={identifier}
KillMode=control-group
TimeoutStopSec=10
{binds}
"""


@dataclass(frozen=True)
class Program:
    """``argv`` begins with an absolute path inside of ``root``, as ``directory`` is one; ``binds`` are lines of a unit.

    ``argv`` is written as Kubernetes writes it: ``$(NAME)`` stands for the value of a variable that is ``known``.
    """

    argv: t.Sequence[str]
    directory: str
    environment: t.Mapping[str, str]
    root: str
    binds: t.Sequence[str] = ()
    known: t.Collection[str] = ()


@dataclass(frozen=True)
class Running:
    """What systemd says of a command: does it still run, its exit ``status``, and in words how it ended."""

    alive: bool
    status: int
    result: str
    invocation: str


def unit(program: Program) -> str:
    """Return the text of the unit."""
    return _UNIT.format(
        root=program.root.replace("%", "%%"),
        directory=program.directory.replace("%", "%%"),
        environment=_ENVIRONMENT,
        identifier=_IDENTIFIER,
        argv=" ".join(_argument(word, program.known) for word in program.argv),
        binds="\n".join(program.binds).replace("%", "%%"),
    )


def environment(variables: t.Mapping[str, str]) -> str:
    """Return variables as a file that systemd reads. Not as lines of the unit: those are shown to everybody who asks."""
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name) or "\0" in value:
            raise Refusal(
                "names of letters, digits and _ in coco_environment_variables, and values without zero bytes",
                repr(name),
                "Give it another name, or leave it out."
                if "\0" not in value
                else "Leave the zero byte out of its value: no process can have one.",
            )
    escaped = ((name, re.sub(r"([\"\\`$])", r"\\\1", value)) for name, value in variables.items())
    return "".join(f'{name}="{value}"\n' for name, value in escaped)


def start(program: Program) -> str:
    """Start a command, and return what systemd calls this start of it."""
    files.make_directories(os.path.dirname(_ENVIRONMENT), mode=0o700)
    text = environment({**program.environment, **_SYSTEMCTL})
    files.write_atomically(_ENVIRONMENT, text.encode(), mode=0o600)
    files.make_directories(os.path.dirname(_PATH))
    files.write_atomically(_PATH, unit(program).encode(), mode=0o600)
    systemd.reload()
    began = time.time()
    done = process.run(["systemctl", "start", "--", NAME], timeout=120)
    if done.returncode != 0:
        words = output(running().invocation, began) or done.stderr.strip().splitlines()
        raise Refusal(
            f"{program.argv[0]} of the payload to start",
            " / ".join(masked(words[-3:], program.environment)),
            f"'journalctl -u {NAME}' on the node shows more.",
        )
    return running().invocation


def running() -> Running:
    """Return what the command is doing."""
    names = ("ActiveState", "SubState", "ExecMainStatus", "Result", "InvocationID")
    shown = process.run(["systemctl", "show", f"--property={','.join(names)}", "--", NAME])
    found = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
    # Without an answer, nothing is known; systemd itself may be busy.
    alive = not (found.get("ActiveState") in ("inactive", "failed") or found.get("SubState") == "exited")
    status = found.get("ExecMainStatus", "")
    return Running(
        alive, int(status) if status.isdigit() else 0, found.get("Result", ""), found.get("InvocationID", "")
    )


def is_idle() -> bool:
    """Tell whether the command only waits for its own end: installers of a DaemonSet never exit, or they would be run again."""
    return any(words[-len(idle) :] == idle for words in _processes() for idle in _IDLE)


def _processes() -> t.Iterator[list[str]]:
    """Return the command lines of the service's processes, programs without their directories."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
                if f"/{NAME}" not in stream.read():
                    continue
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as stream:
                words = stream.read().split("\0")[:-1]
        except OSError:
            continue  # it has ended
        yield [os.path.basename(word) for word in words[:1]] + words[1:]


def output(invocation: str, since: float, lines: int = 200) -> list[str]:
    """Return the last lines that the command, started after ``since`` (seconds since the epoch), has written so far."""
    process.run(["journalctl", "--sync"])  # what was written last may still be on its way
    options = ["--output=cat", "--no-pager", "--quiet", f"--lines={lines}", f"--since=@{since:.6f}"]
    # On a busy node the last words come when their process has ended and journald cannot tell any more which service it was of.
    shown = process.run(
        ["journalctl", *options, f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"SYSLOG_IDENTIFIER={_IDENTIFIER}"]
    )
    return shown.stdout.splitlines() if invocation else []


def masked(lines: t.Iterable[str], variables: t.Mapping[str, str]) -> list[str]:
    """Return what a command has said without the values of variables that are called like secrets, and without the passwords of URLs.
    Of a value of several lines, each line is one.
    """
    values = [value for name, value in variables.items() if _SECRET.search(name)]
    secrets = {line for value in values for line in value.splitlines() if len(line) > 3}
    # Where one secret is a part of another one, nothing of that is to stay.
    found = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))) or r"(?!)")
    return [_USER.sub("\\g<1>…@", found.sub("…", line)) for line in lines]


def remove() -> None:
    """End the command, whatever it is doing, and leave nothing of it. May be repeated."""
    if not (os.path.lexists(_PATH) or os.path.lexists(_ENVIRONMENT)):
        return
    process.run(["systemctl", "stop", "--", NAME], timeout=60)
    if running().alive:
        raise Refusal(
            f"{NAME} to stop",
            "processes that do not end",
            "'systemctl status' shows what they wait for. The next run, or a reboot, goes on from here.",
        )
    process.run(["systemctl", "reset-failed", "--", NAME])
    for path in (_PATH, _ENVIRONMENT):
        files.remove_file(files.temporary(path))
        files.remove_file(path)
    process.run(["systemctl", "daemon-reload"])


def _argument(word: str, known: t.Collection[str]) -> str:
    """Return one argument in systemd's notation. A variable's value is put in by systemd in the process that it starts, as it is
    and never as more than one argument: everybody who asks systemd for the unit sees the name.
    """
    pieces = contracts.pieces(word, known)
    return '"' + "".join(_escaped(plain) + (f"${{{name}}}" if name else "") for plain, name in pieces) + '"'


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    # A control character could end the line.
    return re.sub(r"[\x01-\x1f\x7f]", lambda match: f"\\x{ord(match.group()):02x}", escaped)
