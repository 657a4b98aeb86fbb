# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One command of a payload, in a root file system of its own, as a service of the node's systemd.

It runs as the operator runs it: as root, with all capabilities, in the node's own process and network namespaces. Both ways to
reach the node's systemd work: ``nsenter -t 1``, and ``systemctl`` over the bus. systemctl needs two settings for that. Without
the first, it takes this root for a chroot, says so, does nothing and exits with 0. Without the second, it looks for systemd's
private socket, but contracts mount only the bus.
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
#: The two settings with which systemctl works in another root.
_SYSTEMCTL = {"SYSTEMD_IGNORE_CHROOT": "1", "SYSTEMCTL_FORCE_BUS": "1"}
#: Commands that wait for nothing. A script that runs one has done its work.
_IDLE = (["sleep", "infinity"], ["sleep", "inf"], ["tail", "-f", "/dev/null"])
#: Names of variables whose values are secrets, and never shown.
_SECRET = re.compile(
    r"(?i)passw|passphrase|secret|token|credential|basicauth|(?:api|private|access|ssh|ssl|tls)_?key"
    r"|(?:^|_)(?:(?:db)?pass|pwd|auth|authorization|cookie|keys?)(?:_|$)"
)
_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s\"']+@")
#: The names that systemd accepts for a variable.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# With Type=exec, the start itself fails when the program is missing. What the script has forked ends with it, as in a container.
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
    """A program to start. ``argv[0]`` and ``directory`` are absolute paths inside of ``root``; ``binds`` are lines of a unit.

    ``argv`` is in Kubernetes' notation: ``$(NAME)`` stands for the value of a variable that is ``known``.
    """

    argv: t.Sequence[str]
    directory: str
    environment: t.Mapping[str, str]
    root: str
    binds: t.Sequence[str] = ()
    known: t.Collection[str] = ()


@dataclass(frozen=True)
class Running:
    """What systemd says of a command: whether it is ``alive``, its exit ``status``, and systemd's word for its ``result``."""

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
    """Return variables as a file that systemd reads. They are no lines of the unit, because everybody may ask for those."""
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
    """Start a command, and return systemd's id of this start (its invocation)."""
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
    """Ask systemd what the command is doing."""
    names = ("ActiveState", "SubState", "ExecMainStatus", "Result", "InvocationID")
    shown = process.run(["systemctl", "show", f"--property={','.join(names)}", "--", NAME])
    found = dict(line.partition("=")[::2] for line in shown.stdout.splitlines())
    # Without an answer, the command counts as alive: systemd itself may be busy.
    alive = not (found.get("ActiveState") in ("inactive", "failed") or found.get("SubState") == "exited")
    status = found.get("ExecMainStatus", "")
    return Running(
        alive, int(status) if status.isdigit() else 0, found.get("Result", ""), found.get("InvocationID", "")
    )


def is_idle() -> bool:
    """Tell whether the command has done its work and only waits.

    Installers are made for a DaemonSet, which starts them again when they exit. So they never exit.
    """
    return any(words[-len(idle) :] == idle for words in _processes() for idle in _IDLE)


def _processes() -> t.Iterator[list[str]]:
    """Yield the command line of each process of the service, the program without its directory."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
                if f"/{NAME}" not in stream.read():
                    continue
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as stream:
                words = stream.read().split("\0")[:-1]
        except OSError:
            continue  # the process has ended meanwhile
        yield [os.path.basename(word) for word in words[:1]] + words[1:]


def output(invocation: str, since: float, lines: int = 200) -> list[str]:
    """Return the last lines that the command has written so far. It was started after ``since``, in seconds since the epoch."""
    process.run(["journalctl", "--sync"])  # the last lines may still be on their way to the journal
    options = ["--output=cat", "--no-pager", "--quiet", f"--lines={lines}", f"--since=@{since:.6f}"]
    # On a busy node, the last lines can arrive after their process has ended. Then journald no longer knows its service.
    shown = process.run(
        ["journalctl", *options, f"_SYSTEMD_INVOCATION_ID={invocation}", "+", f"SYSLOG_IDENTIFIER={_IDENTIFIER}"]
    )
    return shown.stdout.splitlines() if invocation else []


def masked(lines: t.Iterable[str], variables: t.Mapping[str, str]) -> list[str]:
    """Return a command's output without secrets: values of variables with a secret's name, and passwords in URLs.

    If a value has several lines, each line counts as a secret.
    """
    values = [value for name, value in variables.items() if _SECRET.search(name)]
    secrets = {line for value in values for line in value.splitlines() if len(line) > 3}
    # If one secret is a part of another one, the longer one must go first, or its rest would stay.
    found = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))) or r"(?!)")
    return [_USER.sub("\\g<1>…@", found.sub("…", line)) for line in lines]


def remove() -> None:
    """Stop the command, whatever it is doing, and remove its unit. May be repeated."""
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
    """Return one argument in systemd's notation.

    A variable stays a name here. systemd puts its value in when it starts the process, unchanged and always within this one
    argument. So whoever asks systemd for the unit sees only the name.
    """
    pieces = contracts.pieces(word, known)
    return '"' + "".join(_escaped(plain) + (f"${{{name}}}" if name else "") for plain, name in pieces) + '"'


def _escaped(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    # A control character could end the line.
    return re.sub(r"[\x01-\x1f\x7f]", lambda match: f"\\x{ord(match.group()):02x}", escaped)
