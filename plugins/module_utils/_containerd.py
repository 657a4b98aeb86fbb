# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""containerd on this node: which one it is, and what it reads."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: systemd units by the engine that they run, in the order of looking.
UNITS: t.Mapping[str, tuple[str, ...]] = {
    "containerd": ("containerd.service",),
    "k3s": ("k3s.service", "k3s-agent.service"),
    "rke2": ("rke2-server.service", "rke2-agent.service"),
    "k0s": ("k0scontroller.service", "k0sworker.service"),
    "microk8s": ("snap.microk8s.daemon-containerd.service",),
    "crio": ("crio.service",),
}
#: Engines that this version can configure.
SUPPORTED = ("containerd",)

_CONFIG = "/etc/containerd/config.toml"
_SOCKET = "/run/containerd/containerd.sock"


@dataclass(frozen=True)
class Engine:
    """A container engine: ``version`` as (major, minor, patch); paths as the engine itself uses them."""

    name: str
    version: tuple[int, int, int]
    unit: str
    binary: str
    config: str
    socket: str
    active: bool

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))

    def facts(self) -> dict[str, t.Any]:
        """Return plain data, for a module's result."""
        return {**asdict(self), "version": self.version_text}

    def identity(self) -> dict[str, t.Any]:
        """Return what a receipt remembers of it."""
        return {key: self.facts()[key] for key in ("name", "version", "unit", "config")}

    def plain(self) -> dict[str, t.Any]:
        """Return what :meth:`from_plain` takes."""
        return {**asdict(self), "version": list(self.version)}

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Engine:
        """Return the engine that a document of ours describes."""
        return cls(**{**plain, "version": tuple(plain["version"])})


@dataclass(frozen=True)
class Overrides:
    """What the user knows better than detection: ``coco_engine*``."""

    engine: str = "auto"
    config: str = ""
    unit: str = ""
    socket: str = ""


def run(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program of the node; its output is text in the C locale. A missing program is exit status 127."""
    try:
        return subprocess.run(
            argv,
            cwd="/",  # a daemon's; old ones take relative imports from there
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", f"{shlex.join(argv)} took longer than {timeout:.0f} s")


def detect(overrides: Overrides) -> Engine:
    """Find the engine of this node. Raises a refusal when there is none, or one that this version cannot configure."""
    for name, path in (("coco_engine_config", overrides.config), ("coco_engine_socket", overrides.socket)):
        if path and not os.path.isabs(path):
            raise Refusal(f"an absolute path in {name}", repr(path), "Write the whole path, from / on.")
    named = overrides.unit if not overrides.unit or "." in overrides.unit else f"{overrides.unit}.service"
    units = _loaded_units([named] if named else [unit for names in UNITS.values() for unit in names])
    found = {name: unit for name, names in UNITS.items() for unit in names if unit in units}
    if named in units:
        found = {"containerd" if overrides.engine == "auto" else overrides.engine: named}
    if overrides.engine != "auto":
        found = {name: unit for name, unit in found.items() if name == overrides.engine}
    unsupported = [name for name in found if name not in SUPPORTED]
    if unsupported:
        raise Refusal(
            f"an engine that this version supports ({', '.join(SUPPORTED)})",
            f"{', '.join(unsupported)} ({', '.join(found[name] for name in unsupported)})",
            "Leave this node out, or, if its pods run on a containerd of its own, set coco_engine=containerd.",
        )
    if not found:
        wanted = named or UNITS["containerd"][0]
        raise Refusal(
            "containerd on the node, as a systemd unit",
            f"no unit {wanted}",
            "Install containerd first, or name its unit in coco_engine_unit.",
        )
    unit = found["containerd"]
    properties = units[unit]
    argv = _command_line(properties.get("ExecStart", ""))
    binary = argv[0] if argv else "/usr/bin/containerd"
    config = overrides.config or _option(argv, ("--config", "-c")) or _CONFIG
    if os.path.exists(config) and not os.path.isfile(config):
        raise Refusal(
            f"a file at {config}", "something else", f"That is where {unit} reads its configuration: correct it."
        )
    socket = overrides.socket or _option(argv, ("--address", "-a")) or _SOCKET
    return Engine(
        "containerd", _version(binary), unit, binary, config, socket, properties.get("ActiveState") == "active"
    )


def _loaded_units(names: t.Sequence[str]) -> dict[str, dict[str, str]]:
    shown = run(["systemctl", "show", "--property=Id,LoadState,ActiveState,ExecStart", "--", *names])
    if shown.returncode != 0:
        raise Refusal(
            "a node that runs systemd", shown.stderr.strip() or "no answer", "Use a node with systemd as its init."
        )
    blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in shown.stdout.split("\n\n")]
    return {block["Id"]: block for block in blocks if block.get("LoadState") == "loaded"}


def _command_line(exec_start: str) -> list[str]:
    """Return the argv in systemd's ``ExecStart`` property: ``{ path=… ; argv[]=… ; ignore_errors=… }``."""
    match = re.search(r"argv\[\]=(.*?) ; ignore_errors=", exec_start)
    return shlex.split(match.group(1)) if match else []


def _option(argv: t.Sequence[str], names: tuple[str, ...]) -> str:
    for position, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else "".join(argv[position + 1 : position + 2])
    return ""


def _version(binary: str) -> tuple[int, int, int]:
    shown = run([binary, "--version"])
    match = re.search(r"\bv?(\d+)\.(\d+)\.(\d+)", shown.stdout)
    if not match:
        raise Refusal(
            f"{binary} --version to tell containerd's version",
            (shown.stdout + shown.stderr).strip() or "no output",
            "Repair the containerd installation of this node.",
        )
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def dump(engine: Engine, config: str) -> tuple[str, str]:
    """Return what containerd makes of a configuration file, its defaults included, and its complaints.

    Where there is no file, a daemon takes its defaults, but its dump fails on 1.6 and 1.7: an empty one says the same.
    """
    done = run([engine.binary, "--config", config if os.path.exists(config) else os.devnull, "config", "dump"])
    if done.returncode != 0:
        complaint = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        # What is quoted comes from the file, and could be a password.
        complaint = re.sub(r"\"[^\"]*\"|'[^']*'|(?<=convert ).*(?=\()", "…", complaint)
        raise Refusal(
            f"a configuration that containerd {engine.version_text} accepts", complaint, f"Mend {engine.config} first."
        )
    return done.stdout, done.stderr
