# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the environment of a payload's own installer means for a native installation, which does not run that installer.

If a role variable does the same as a variable of the installer, its value is returned. For the rest there are notes. Source: the
environment that kata-deploy reads, in its script of 3.x and its program of 4.x; the samples of enclave-cc.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import classes
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.classes import RuntimeClass
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.environment import resolved

#: kata-deploy installs to this path below INSTALLATION_PREFIX.
_KATA = "/opt/kata"
#: The ending with which kata-deploy has a variable for nodes of one architecture.
_ARCHITECTURES = re.compile(r"_(X86_64|AARCH64|S390X|PPC64LE)$")
#: The pull type that needs nothing.
_USUAL_PULL = "default"
#: Variables that become role variables.
_DONE = ("INSTALLATION_PREFIX", "SHIMS", "SNAPSHOTTER_HANDLER_MAPPING")
#: Variables that only the operator and hooks use: no note is needed.
_SILENT = ("NODE_NAME",)

_CONFIGURATION = "in configuration-SHIM.toml below the prefix, where your edits stay"
_CLASSES = "create the RuntimeClasses yourself (kubectl apply)"
_EROFS = "set it in the configuration of the engine's snapshotter"

#: For each variable without a role variable: what to do instead.
_INSTEAD: t.Mapping[str, str] = {
    "AGENT_HTTPS_PROXY": f"append agent.https_proxy=URL to kernel_params {_CONFIGURATION}",
    "AGENT_NO_PROXY": f"append agent.no_proxy=HOSTS to kernel_params {_CONFIGURATION}",
    "ALLOWED_HYPERVISOR_ANNOTATIONS": f"append its words to enable_annotations {_CONFIGURATION}",
    "DEBUG": f"set enable_debug = true {_CONFIGURATION}",
    "EXPERIMENTAL_FORCE_GUEST_PULL": f"set experimental_force_guest_pull = true {_CONFIGURATION}",
    "PULL_TYPE_MAPPING": "name the snapshotter that has images pulled in the guest (nydus) in coco_handler_overrides, or set "
    f"experimental_force_guest_pull = true {_CONFIGURATION}",
    "MULTI_INSTALL_SUFFIX": "take it out: a node has one installation, and its handlers have the names of the payload",
    "EXPERIMENTAL_SETUP_SNAPSHOTTER": "install the snapshotter yourself, and register it with coco_proxy_plugins",
    "SHIMS": "set coco_handlers for the nodes of that architecture",
    "SNAPSHOTTER_HANDLER_MAPPING": "set snapshotter in coco_handler_overrides for the nodes of that architecture",
    "CONTAINERD_CONFIG_FILE_NAME": "set coco_engine_config, if that is not the file which the engine reads",
    "CONTAINERD_CONFIG_DIR": "set coco_engine_config, if that is not where the engine reads its file",
    "CONTAINERD_USER_DROP_IN_SOURCE_FILE": "write what it holds into the engine's configuration",
    "CONTAINERD_EXTRA_POD_ANNOTATIONS": "set pod_annotations of each handler in coco_handler_overrides",
    "CONTAINERD_SHIM_EXTRA_POD_ANNOTATIONS": "set pod_annotations of the handlers in coco_handler_overrides",
    "CUSTOM_RUNTIMES_ENABLED": "give each of these runtimes a config_path in coco_handler_overrides",
    "EROFS_SNAPSHOTTER_MODE": _EROFS,
    "EROFS_MERGE_MODE": _EROFS,
    "EROFS_DMVERITY": _EROFS,
    "STARTUP_TAINTS": "remove the taints of the node afterwards (kubectl taint)",
    "CREATE_RUNTIMECLASSES": _CLASSES,
    "CREATE_DEFAULT_RUNTIMECLASS": _CLASSES,
    "DEFAULT_SHIM": "create the RuntimeClass of the default handler yourself (kubectl apply)",
}
_OTHERWISE = "set coco_installer to payload, if the payload's own installer is to act on it"


@dataclass(frozen=True)
class Settings:
    """What a native installation takes from an installer's environment ('' or empty: nothing), and ``notes`` about the rest."""

    prefix: str = ""
    handlers: list[str] = field(default_factory=list)
    overrides: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def settings(
    environment_variables: t.Sequence[t.Mapping[str, t.Any]],
    runtime_classes: t.Sequence[str | t.Mapping[str, str]] = (),
    debug: bool = False,
    hooks: bool = False,
) -> Settings:
    """Return what the CRD's ``environmentVariables``, ``runtimeClasses`` and ``debug`` mean for a native installation.

    Hooks get the same environment. With ``hooks``, a variable that no known installer reads counts as theirs, without a note.
    """
    given = resolved(environment_variables, "", {})
    return Settings(
        prefix=_prefix(given.get("INSTALLATION_PREFIX", "")),
        handlers=[f"kata-{shim}" for shim in given.get("SHIMS", "").split()],
        overrides=_overrides(given.get("SNAPSHOTTER_HANDLER_MAPPING", "")),
        notes=[
            *_about_variables(given, hooks),
            *([_note("debug", _INSTEAD["DEBUG"])] if debug and "DEBUG" not in given else []),
            *_about_pull_types(classes.checked(runtime_classes)),
        ],
    )


def _prefix(root: str) -> str:
    """Return the prefix to which kata-deploy would install."""
    if root and not root.startswith("/"):
        raise Refusal(
            "INSTALLATION_PREFIX to be an absolute path", root, f"Write /{root}: {_KATA} is appended to that."
        )
    return f"{root.rstrip('/')}{_KATA}" if root else ""


def _overrides(mapping: str) -> dict[str, dict[str, str]]:
    """Return overrides with the snapshotters of handlers. kata-deploy writes them as SHIM:SNAPSHOTTER,…"""
    pairs = [pair.partition(":") for pair in mapping.split(",") if pair]
    return {f"kata-{shim.strip()}": {"snapshotter": name.strip()} for shim, _colon, name in pairs}


def _about_variables(given: t.Mapping[str, str], hooks: bool) -> t.Iterator[str]:
    said = {name for name, value in given.items() if value and value != "false"}
    for name in sorted(said.difference(_DONE, _SILENT)):
        instead = _instead(name) or ("" if hooks else _OTHERWISE)
        if instead:
            yield _note(name, instead)


def _about_pull_types(given: t.Iterable[RuntimeClass]) -> t.Iterator[str]:
    pulled = {one.name: one.pulltype for one in given if one.pulltype}
    for name, kind in sorted(pulled.items()):
        if kind != _USUAL_PULL:
            yield _note(f"pulltype {kind} of {name}", _INSTEAD["PULL_TYPE_MAPPING"])


def _note(what: str, instead: str) -> str:
    return f"{what} is not used with coco_installer=native: {instead}."


def _instead(name: str) -> str:
    """Return what to do instead of a variable; '' for an unknown one."""
    return _INSTEAD.get(name) or _INSTEAD.get(_ARCHITECTURES.sub("", name), "")
