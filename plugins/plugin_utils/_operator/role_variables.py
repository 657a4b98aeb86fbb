# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which role variables take the values of which fields of a manifest, and what the CRD allows in them."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import crd
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.check import check
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.schema import Field

#: Maps fields of spec.config to the role variables that take them as they are.
AS_THEY_ARE: t.Mapping[str, str] = {
    "payloadImage": "coco_payload",
    "installCmd": "coco_install_cmd",
    "uninstallCmd": "coco_uninstall_cmd",
    "cleanupCmd": "coco_cleanup_cmd",
    "installerVolumes": "coco_installer_volumes",
    "installerVolumeMounts": "coco_installer_volume_mounts",
    "environmentVariables": "coco_environment_variables",
    "debug": "coco_debug",
    "installDoneLabel": "coco_install_done_label",
    "uninstallDoneLabel": "coco_uninstall_done_label",
}
#: The same for hooks, which count only with an image.
HOOKS: t.Mapping[str, str] = {"preInstall": "coco_pre_install", "postUninstall": "coco_post_uninstall"}

#: Role variables with the structure of a part of the manifest, and that part.
_STRUCTURES: t.Mapping[str, Field] = {
    "coco_environment_variables": crd.ENVIRONMENT,
    "coco_installer_volume_mounts": crd.MOUNTS,
    "coco_installer_volumes": crd.VOLUMES,
    "coco_post_uninstall": crd.HOOK,
    "coco_pre_install": crd.HOOK,
}


def check_variable(name: str, value: t.Any) -> None:
    """Refuse the value of a role variable that the CRD would refuse in a manifest."""
    if name in _STRUCTURES:
        check(value, _STRUCTURES[name], name)
