# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment that the operator makes for a payload's own installer, and for hooks.

``_operator.native`` does the opposite: it says what such an environment means where no installer runs.
"""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence

from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import classes, crd
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.check import check
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.classes import RuntimeClass


def of_installer(
    runtime_classes: Sequence[str | Mapping[str, str]],
    node_name: str,
    *,
    default_runtime_class: str = "",
    debug: bool = False,
    environment_variables: Sequence[Mapping[str, t.Any]] = (),
    create_runtime_classes: bool = True,
) -> dict[str, str]:
    """Return the environment that the operator gives to installCmd, uninstallCmd and cleanupCmd.

    ``environment_variables``, in the CRD's structure, win over the others. The operator always has RuntimeClasses created; an
    installer needs ``kubectl`` for that.
    """
    # The class "kata" stands for the default shim. No payload has a shim of that name, but an installer would look for it.
    wanted = [one for one in classes.checked(runtime_classes) if one.name not in ("", classes.DEFAULT)]
    shims = {one.shim: one for one in wanted}
    default = RuntimeClass(default_runtime_class)
    injected = {
        "NODE_NAME": node_name,
        "DEBUG": _flag(debug),
        "DEFAULT_SHIM": default.shim if default.of_kata else "",
        "CREATE_DEFAULT_RUNTIMECLASS": _flag(default.of_kata and create_runtime_classes),
        "CREATE_RUNTIMECLASSES": _flag(create_runtime_classes),
        "SHIMS": " ".join(shims),
        "SNAPSHOTTER_HANDLER_MAPPING": _pairs((shim, one.snapshotter) for shim, one in shims.items()),
        "PULL_TYPE_MAPPING": _pairs((shim, one.pulltype) for shim, one in shims.items()),
    }
    return resolved(environment_variables, node_name, injected)


def resolved(
    environment_variables: Iterable[Mapping[str, t.Any]], node_name: str, before: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a container that has the variables of ``before``, and then these, in the CRD's structure."""
    check(environment_variables, crd.ENVIRONMENT, "coco_environment_variables")
    result = dict(before)
    for variable in environment_variables:
        result[variable["name"]] = (
            node_name if variable.get("valueFrom") else contracts.expanded(variable.get("value", ""), result)
        )
    return result


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _pairs(values: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{shim}:{value}" for shim, value in values if value)
