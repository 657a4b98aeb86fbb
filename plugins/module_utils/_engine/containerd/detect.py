# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""containerd on this node: which one it is, and what it reads."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import typing as t
from dataclasses import asdict, dataclass, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    daemon as daemon_module,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    execstart,
    imports,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import (
    address,
    written_address,
)
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

#: The exit status of a program that is not there.
MISSING = 127
_TOOK_TOO_LONG = 124

_BINARY = "/usr/bin/containerd"
_CONFIG = "/etc/containerd/config.toml"
_SOCKET = "/run/containerd/containerd.sock"
#: Where programs are that PATH does not name.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "MainPID", "ControlGroup", "NeedDaemonReload"),
    *execstart.PROPERTIES,
)


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
    #: Where it keeps its data, if its command line says so; else its configuration does.
    root: str = ""

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


def search_path() -> str:
    """Return where programs are. What who is here has as PATH, over ssh or through sudo, may leave some of that out."""
    return os.pathsep.join(filter(None, [os.environ.get("PATH"), _PATH]))


def run(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a program of the node, wherever such are; its output is text in the C locale. A missing program is exit status :data:`MISSING`."""
    try:
        return subprocess.run(
            argv,
            cwd="/",  # a daemon's; old ones take relative imports from there
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "PATH": search_path()},
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(argv, MISSING, "", str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(
            argv, _TOOK_TOO_LONG, "", f"{shlex.join(argv)} took longer than {timeout:.0f} s"
        )


def detect(overrides: Overrides, restarting: bool = True) -> Engine:
    """Find the engine of this node. Raises a refusal when there is none, or one that this version cannot configure.

    ``restarting``: refuse, too, what makes a restart a risk.
    """
    engine, doubts = find(overrides)
    if restarting and doubts:
        raise doubts[0]
    return engine


def find(overrides: Overrides) -> tuple[Engine, list[Refusal]]:
    """Find the engine of this node, and all that makes a restart of it a risk. Refuses as :func:`detect` does."""
    for name, path in (("coco_engine_config", overrides.config), ("coco_engine_socket", overrides.socket)):
        if path and not os.path.isabs(path):
            raise Refusal(f"an absolute path in {name}", repr(path), "Write the whole path, from / on.")
    unit, shown = _unit(overrides)
    group = "".join(shown.get("ControlGroup", ()))
    daemon = daemon_module.find(int("".join(shown.get("MainPID", ())) or 0), group)
    planned = execstart.planned(shown)
    options = daemon.options if daemon else planned.options
    if options is None and not overrides.config:
        raise Refusal(
            f"to know which configuration containerd gets from {unit}",
            f"no process of containerd in it, and {planned.why}",
            f"Start {unit}: a containerd that runs tells it. Or name the file in coco_engine_config.",
        )
    options = options or execstart.Options()
    binary = (daemon.binary if daemon else planned.binary) or _BINARY
    config = overrides.config or options.config or _CONFIG
    if os.path.exists(config) and not os.path.isfile(config):
        raise Refusal(
            f"a file at {config}, where {unit} reads its configuration",
            "something else",
            "Name the file in coco_engine_config, or put one there.",
        )
    engine = Engine(
        "containerd",
        _version(binary),
        unit,
        binary,
        config,
        overrides.socket or options.address,
        "".join(shown["ActiveState"]) == "active",
        options.root,
    )
    if not engine.socket:
        engine = replace(engine, socket=_configured_socket(engine) or _SOCKET)
    return engine, list(_doubts(engine, overrides, shown, daemon, planned))


def _unit(overrides: Overrides) -> tuple[str, dict[str, list[str]]]:
    """Return the unit of the node's engine, and its properties."""
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
    return found["containerd"], units[found["containerd"]]


def _loaded_units(names: t.Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Return the properties of those units that there are: each with its lines."""
    shown = run(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names])
    if shown.returncode != 0:
        absent = shown.returncode == MISSING or not os.path.isdir("/run/systemd/system")
        raise Refusal(
            "a node that runs systemd",
            shown.stderr.strip() or "no answer",
            "Use a node with systemd as its init."
            if absent
            else "Run 'systemctl status' on the node to see why it does not answer.",
        )
    found: dict[str, dict[str, list[str]]] = {}
    for block in shown.stdout.split("\n\n"):
        properties: dict[str, list[str]] = {}
        for name, _equals, value in (line.partition("=") for line in block.splitlines()):
            properties.setdefault(name, []).append(value)
        if properties.get("LoadState") == ["loaded"]:
            found[properties["Id"][0]] = properties
    return found


def _doubts(
    engine: Engine,
    overrides: Overrides,
    shown: t.Mapping[str, t.Sequence[str]],
    daemon: daemon_module.Daemon | None,
    planned: execstart.Planned,
) -> t.Iterator[Refusal]:
    """Yield why a restart of the unit could start another engine than the one that was found, or touch another unit's."""
    unit = engine.unit
    if list(shown.get("NeedDaemonReload", ())) == ["yes"]:
        yield Refusal(
            f"systemd to know {unit} as its files have it",
            "that they have changed since it has read them",
            "Run 'systemctl daemon-reload' on the node first.",
        )
    # A program in front of it may have added options of its own.
    comparable = daemon and daemon.plain and os.path.realpath(planned.binary) == os.path.realpath(daemon.program)
    if daemon and planned.options and comparable:
        now, then = daemon.options, planned.options
        for variable, known, here, there in (
            ("coco_engine_config", overrides.config, now.config or _CONFIG, then.config or _CONFIG),
            ("coco_engine_socket", overrides.socket, now.address, then.address),
            ("", "", now.root, then.root),
        ):
            if not known and here != there:
                yield Refusal(
                    f"containerd to run as systemd would start {unit} now: with {there or 'no such option'}",
                    f"it running with {here or 'no such option'}",
                    "The unit, or a file of its variables, was changed since: restart the unit first"
                    + (f", or say in {variable} what counts." if variable else "."),
                )
    stranger = "" if overrides.socket else daemon_module.stranger(engine.socket, daemon, unit)
    if stranger:
        yield Refusal(
            f"{unit} to listen on {engine.socket}",
            f"that {stranger} does",
            f"Name the socket of {unit} in coco_engine_socket, or the unit of that one in coco_engine_unit.",
        )


def _configured_socket(engine: Engine) -> str:
    """Return the address that an engine's files give it, '' where they give none."""
    texts = [content.decode(errors="replace") for content in imports.read(engine.config).values()]
    written = written_address(texts)
    if written is None:
        try:
            return address(dump(engine, engine.config)[0])
        except Refusal:
            return ""  # who looks at the configuration says what is wrong with it
    return written


def ctr(engine: Engine, *words: str) -> list[str]:
    """Return a command of containerd's client for an engine.

    It is looked for beside the daemon first: the PATH of who is here may be another one than that of who installed it.
    """
    directories = [os.path.dirname(path) for path in (engine.binary, os.path.realpath(engine.binary))]
    path = os.pathsep.join([*directories, search_path()])
    return [shutil.which("ctr", path=path) or "ctr", "--address", engine.socket, *words]


def _version(binary: str) -> tuple[int, int, int]:
    shown = run([binary, "--version"])
    match = re.search(r"^containerd\b.*?\bv?(\d+)\.(\d+)\.(\d+)", shown.stdout, re.MULTILINE)
    if not match:
        said = (shown.stdout + shown.stderr).strip().splitlines()[-1:] or [f"exit status {shown.returncode}, no output"]
        raise Refusal(
            f"{binary} --version to tell containerd's version",
            said[0],
            "Run that on the node to see what it lacks. If containerd is another program there, name the unit that runs it in "
            "coco_engine_unit.",
        )
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def dump(engine: Engine, config: str) -> tuple[str, str]:
    """Return what containerd makes of a configuration file, its defaults included, and its complaints.

    Where there is no file, a daemon takes its defaults, but its dump fails on 1.6 and 1.7: an empty one says the same.
    """
    done = run([engine.binary, "--config", config if os.path.exists(config) else os.devnull, "config", "dump"])
    if done.returncode != 0:
        raise _not_dumped(engine, config, done)
    return done.stdout, done.stderr


def _not_dumped(engine: Engine, config: str, done: subprocess.CompletedProcess[str]) -> Refusal:
    """Return the refusal of a configuration that containerd does not take, with a remedy for the file that is at fault."""
    complaint = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode < 0 or done.returncode in (MISSING, _TOOK_TOO_LONG):
        return Refusal(
            f"{engine.binary} to tell what it makes of {config}",
            complaint,
            "Run its 'config dump' on the node to see why.",
        )
    files = list(imports.read(config))
    named = [path for path in files if path in complaint]
    # What else is quoted comes from the file, and could be a password.
    shown = re.sub(
        r"\"([^\"]*)\"|'([^']*)'|(?<=convert ).*(?=\()",
        lambda match: match.group() if (match[1] or match[2]) in files else "…",
        complaint,
    )
    if config != engine.config:  # a trial of what would be written, after the file of now was taken
        remedy = "Nothing was changed. Check coco_handler_overrides and coco_proxy_plugins: what they add is what it does not accept."
    else:
        remedy = f"Mend {' or '.join(named or files) or config} first."
    return Refusal(f"a configuration that containerd {engine.version_text} accepts", shown, remedy)
