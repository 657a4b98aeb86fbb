# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of containerd's versions and schemas: where runtime handlers go, and which keys work."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Version = t.Tuple[int, ...]
Path = t.Tuple[str, ...]

IN_PLACE, DROP_IN = "in_place", "drop_in"

#: The name of our drop-in, in whatever directory. It is read last.
DROP_IN_NAME = "99-confidential-containers.toml"

#: The table of runtime handlers: in files without a version, in schema 2, and from schema 3 on.
_V1: Path = ("plugins", "cri", "containerd", "runtimes")
V2: Path = ("plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes")
_V3: Path = ("plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes")
TABLES = (_V1, V2, _V3)

#: From 2.0 on, a handler's own snapshotter has to stand here, too: else its images are not pulled to that snapshotter.
PLATFORMS: Path = ("plugins", "io.containerd.cri.v1.images", "runtime_platforms")
#: Proxy plugins, in every schema.
PROXIES: Path = ("proxy_plugins",)

#: The names in ``disabled_plugins`` that switch the CRI off.
CRI_PLUGINS = ("cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images")

_REPLACED = "On containerd 1.x a drop-in would replace the whole CRI section of the main file."
_UNVERSIONED = "containerd merges no drop-in of another version into a file without one."


@dataclass(frozen=True)
class Row:
    """How to configure containerd from version ``since`` on and before ``until``, with a main file of ``schema``.

    ``modes`` are the modes that work, the preferred one first. ``why`` is the reason if there is only one.
    """

    since: Version
    until: Version
    schema: int
    modes: tuple[str, ...]
    table: Path
    why: str = ""
    #: The engine forgets its default handler as soon as a file has a table of handlers. It also forgets the whole CRI section
    #: of a file if a later file has one.
    forgetful: bool = False


ROWS = (
    Row((1, 4), (2, 0), 1, (IN_PLACE,), _V1, _REPLACED, forgetful=True),
    Row((1, 4), (2, 0), 2, (IN_PLACE,), V2, _REPLACED, forgetful=True),
    # 2.0 to 2.2 have no row for schema 1: they silently lose the CRI settings of a file without a version.
    Row((2, 3), (3, 0), 1, (IN_PLACE,), _V1, _UNVERSIONED),
    Row((2, 0), (3, 0), 2, (DROP_IN, IN_PLACE), V2),
    Row((2, 0), (3, 0), 3, (DROP_IN, IN_PLACE), _V3),
    Row((2, 3), (3, 0), 4, (DROP_IN, IN_PLACE), _V3),
)

#: The schema that we declare in a main file that sets nothing yet, as (since, until, schema).
_NATIVE = (((1, 4), (2, 0), 2), ((2, 0), (3, 0), 3))

#: The keys of a handler's table, each with the versions that act on it, as pairs (since, until).
KEYS: t.Mapping[str, tuple[tuple[Version, Version], ...]] = {
    "runtime_type": (((1, 4), (3, 0)),),
    "pod_annotations": (((1, 4), (3, 0)),),
    "container_annotations": (((1, 4), (3, 0)),),
    "privileged_without_host_devices": (((1, 4), (3, 0)),),
    "base_runtime_spec": (((1, 4), (3, 0)),),
    "options": (((1, 4), (3, 0)),),
    # 1.6.0 and later parse it, but it has no effect before these versions.
    "runtime_path": (((1, 6, 21), (1, 7, 0)), ((1, 7, 1), (3, 0))),
    "cni_conf_dir": (((1, 6), (3, 0)),),
    "cni_max_conf_num": (((1, 6), (3, 0)),),
    "snapshotter": (((1, 7), (3, 0)),),
    "privileged_without_host_devices_all_devices_allowed": (((1, 7), (3, 0)),),
    "sandboxer": (((2, 0), (3, 0)),),
    "io_type": (((2, 0), (3, 0)),),
    "cgroup_writable": (((2, 1), (3, 0)),),
}

#: What some versions of containerd write into a dump for a key that a handler's table lacks, unless that value is empty.
DEFAULTS: t.Mapping[str, t.Any] = {"sandboxer": "podsandbox"}

#: Where an engine that ignores ``runtime_path`` finds a shim: a directory of the daemon's PATH.
SHIM_DIRECTORY = "/usr/local/bin"


@dataclass(frozen=True)
class Target:
    """The decision: in which ``mode`` the handlers are written, below which ``table``, in a file of which ``schema``.

    ``declared``: the file already declares its schema; else we have to add its version. ``forgetful``: see :class:`Row`.
    """

    mode: str
    schema: int
    table: Path
    declared: bool = True
    forgetful: bool = False


def decide(version: Version, schema: int, mode: str = "auto", plain: bool = False) -> Target:
    """Decide how to configure an engine, or refuse with the reason and the way out.

    ``schema`` is that of the main file: 0 if the file is missing or sets nothing, 1 if it has no version, or version 0 or 1.
    ``plain``: the file has no version and sets nothing for any plugin, and so means the same in every schema.
    """
    text = ".".join(map(str, version))
    rows = [row for row in ROWS if row.since <= version < row.until]
    if not rows:
        raise Refusal(
            "containerd 1.4 to 2.x", f"containerd {text}", "Use another version of containerd, or of this collection."
        )
    declared = schema > 0 and not (plain and schema == 1 and all(row.schema != 1 for row in rows))
    if not declared:
        schema = next(native for since, until, native in _NATIVE if since <= version < until)
    for row in rows:
        if row.schema == schema:
            if mode not in ("auto", *row.modes):
                raise Refusal(
                    f"coco_config_mode to be auto or {' or '.join(row.modes)} for containerd {text}",
                    mode,
                    row.why or "Leave coco_config_mode out: auto chooses what works.",
                )
            chosen = row.modes[0] if mode == "auto" else mode
            return Target(chosen, schema, row.table, declared, row.forgetful)
    known = " or ".join(str(row.schema) for row in rows if row.schema > 1)
    raise Refusal(
        f"a configuration file with version = {known} for containerd {text}",
        "a file without version, or with version = 0 or 1 (schema 1)" if schema == 1 else f"version = {schema}",
        "Migrate the file, for example with 'containerd config migrate' of containerd 2.x, restart containerd and "
        "check that its pods still start.",
    )


def works(key: str, version: Version) -> bool:
    """Tell whether an engine acts on a key of a handler's table. An unknown key counts as working: the user may know better."""
    return key not in KEYS or any(since <= version < until for since, until in KEYS[key])


def drop_in_path(main: str) -> str:
    """Return the path of our drop-in for a main file."""
    return os.path.join(os.path.dirname(main), "conf.d", DROP_IN_NAME)


def drop_in_glob(main: str) -> str:
    """Return the pattern by which a main file imports our drop-in.

    It matches no other file: an import of all of conf.d would wake up foreign files that nobody reads today. It is a pattern,
    because containerd does not start if a file that is imported by its plain name is missing.
    """
    return os.path.join(os.path.dirname(main), "conf.d", "*confidential-containers.toml")


def shim_name(runtime_type: str) -> str:
    """Return the shim that an engine looks for in its PATH: io.containerd.kata-qemu.v2 → containerd-shim-kata-qemu-v2."""
    name, version = ["", *runtime_type.split(".")][-2:]
    if not name or "/" in name + version:
        raise Refusal(
            "a runtime_type like io.containerd.NAME.v2",
            repr(runtime_type),
            "Write it like that in coco_handler_overrides.",
        )
    return f"containerd-shim-{name}-{version}"
