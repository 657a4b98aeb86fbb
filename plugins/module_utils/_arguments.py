# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The argument specs: one table for each module.

Both halves of a module, the one on the controller and the one on the node, check their arguments against the same table. So
both answer a wrong argument in the same way.
"""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import commands

Option = t.Dict[str, t.Any]
Options = t.Dict[str, Option]


def _names() -> Option:
    return {"type": "list", "elements": "str", "default": []}


def _flag() -> Option:
    return {"type": "bool", "default": False}


def _text() -> Option:
    return {"type": "str", "default": ""}


def _choice(first: str, *others: str) -> Option:
    """Return an option with these choices. The first one is the default."""
    return {"type": "str", "default": first, "choices": [first, *others]}


# What several modules share

ENGINE_OPTIONS: Options = {
    "engine": _choice(*flavours.CHOICES),
    "engine_config": {"type": "path"},
    "engine_unit": {"type": "str"},
    "engine_socket": {"type": "path"},
}
#: For modules that look at an engine before it is changed: see ``_engine.readiness``.
READINESS_OPTIONS: Options = {
    "config_mode": _choice("auto", "drop_in", "in_place"),
    "enable_cri": _flag(),
}
#: For modules that restart the engine.
RESTART_OPTIONS: Options = {**ENGINE_OPTIONS, "engine_timeout": {"type": "int", "default": 120}}
#: For modules that unpack payloads: see ``_payload.layers.Limits``.
LIMITS: Option = {
    "type": "dict",
    "options": {"bytes": {"type": "int"}, "members": {"type": "int"}, "ratio": {"type": "int"}},
}
_CONFLICTS = _choice("refuse", "keep_aside")
_EDITED_CONFIG = _choice("keep", "replace")

# One table for each module

CHECK_VARIABLES: Options = {"required": _names(), "playbook": _flag()}

ENGINE_CONFIG: Options = {
    "state": {"type": "str", "required": True, "choices": ["read", "applied", "restored"]},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "expected": _text(),
            "content": {"type": "str", "no_log": True},
            "before": {"type": "str", "no_log": True},
            "builtin": {"type": "dict", "default": {}},
            "disabled": _names(),
        },
    },
    "trial": {"type": "dict", "default": {}, "no_log": True},
    "handlers": {"type": "dict", "default": {}},
    "proxy_plugins": {"type": "dict", "default": {}},
    "links": {"type": "dict", "default": {}},
    "returned": _names(),
    "run": _text(),
    "ignore_running_pods": _flag(),
    **RESTART_OPTIONS,
}

NODE_STATE: Options = {"state": _choice("absent"), **RESTART_OPTIONS}

PAYLOAD_ARCHIVE: Options = {
    "image": {"type": "str", "required": True},
    "path": {"type": "path", "required": True},
    "pull": {"type": "str", "default": "missing", "choices": ["always", "missing", "never"]},
    "docker_host": _text(),
}

PAYLOAD_ARTIFACTS: Options = {
    "state": _choice("present", "absent"),
    "digest": {"type": "str"},
    "prefix": {"type": "path"},
    "tree": {"type": "dict", "default": {}},
    "conflicts": _CONFLICTS,
    "edited_config": _EDITED_CONFIG,
    "verify": _flag(),
}

PAYLOAD_COMMAND: Options = {
    "command": {"type": "str", "required": True, "choices": list(commands.UNDOES)},
    "digest": {"type": "str"},
    "commands": {"type": "dict", "default": {}},
    "volumes": {"type": "list", "elements": "dict"},
    "volume_mounts": {"type": "list", "elements": "dict"},
    # The action turns the mapping into one text. Of a mapping, Ansible would mask every value, even "true", wherever it
    # stands in a result.
    "environment": {"type": "json", "no_log": True},
    "kubectl": {"type": "str"},
    "limits": LIMITS,
    "done": {"type": "path", "default": ""},
    "handlers": _names(),
    "timeout": {"type": "int", "default": 600},
    "ignore_running_pods": _flag(),
    **RESTART_OPTIONS,
}

PAYLOAD_EXTRACT: Options = {
    "payload": {"type": "raw", "required": True},
    "payload_on": {"type": "str", "choices": ["controller", "node"]},
    "digest": _text(),
    "prefix": {"type": "path"},
    "handlers": _names(),
    "candidates": _names(),
    "own_handlers": _names(),
    "edited_config": _EDITED_CONFIG,
    "verify": _flag(),
    "keep": _flag(),
    "whole": _flag(),
    "limits": LIMITS,
    "require_engine": _flag(),
    **READINESS_OPTIONS,
    "serve": {"type": "dict", "default": {}},
    "look": _flag(),
    "registry_username": _text(),
    # Not part of a mapping: Ansible logs a mapping as Python writes it. A password with quotes is spelled differently there,
    # so the mask would miss it.
    "registry_password": {"type": "str", "default": "", "no_log": True},
    "registry_ca": _text(),
    "identities": {"type": "list", "elements": "dict", "default": []},
    "archive": {"type": "path"},
    "plain": {"type": "dict", "default": {}},
    **ENGINE_OPTIONS,
}

RUNTIME_HANDLERS: Options = {
    "handlers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "shim": {"type": "str"},
            "runtime_type": {"type": "str", "required": True},
            "runtime_path": {"type": "str", "required": True},
            "config_path": {"type": "str", "required": True},
            "privileged_without_host_devices": {"type": "bool"},
            "pod_annotations": {"type": "list", "elements": "str"},
            "container_annotations": {"type": "list", "elements": "str"},
            "links": {"type": "dict"},
        },
    },
    "overrides": {"type": "dict", "default": {}},
    "proxy_plugins": {"type": "dict", "default": {}},
    "conflicts": _CONFLICTS,
    **READINESS_OPTIONS,
    "run": _text(),
    "ignore_running_pods": _flag(),
    **RESTART_OPTIONS,
}

RUNTIME_INFO: Options = {**READINESS_OPTIONS, "verify": _flag(), **ENGINE_OPTIONS}

STATUS_TABLE: Options = {"nodes": {"type": "dict", "required": True}}
