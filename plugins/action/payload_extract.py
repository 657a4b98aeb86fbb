# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of payload_extract: find out which payload an archive holds, and send it to nodes that lack it."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _extract, _layouts, _shims
from ansible_collections.confidential_containers.runtime.plugins.module_utils._archive import Archive, select
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._reference import (
    on_controller,
    parse_reference,
)

_SPEC: dict[str, dict[str, t.Any]] = {
    "payload": {"type": "str", "required": True},
    "payload_on": {"type": "str", "default": "controller", "choices": ["controller", "node"]},
    "digest": {"type": "str", "default": ""},
    "prefix": {"type": "path"},
    "handlers": {"type": "list", "elements": "str", "default": []},
    "own_handlers": {"type": "list", "elements": "str", "default": []},
}


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    TRANSFERS_FILES = True

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        _validation, options = self.validate_argument_spec(argument_spec=_SPEC)
        options = {name: value for name, value in options.items() if value is not None}
        reference = parse_reference(options["payload"])
        if options["payload_on"] == "node":
            return self.node("payload_extract", task_vars, **options)
        source = on_controller(reference)
        with Archive(source.path, source.image) as archive:
            images = archive.images()
            options["identities"] = [image.identity() for image in images]
            found = self.node("payload_extract", task_vars, **options)
            if found["found"] != "absent":
                return found
            if self._task.check_mode:
                return {**found, **_foresee(archive, images, options, found)}
        target = self._connection._shell.join_path(self._connection._shell.tmpdir, "payload")
        self._transfer_file(source.path, target)
        self._fixup_perms2((self._connection._shell.tmpdir, target))
        return self.node("payload_extract", task_vars, **options, archive=target)


def _foresee(
    archive: Archive, images: t.Sequence[t.Any], options: dict[str, t.Any], found: dict[str, t.Any]
) -> dict[str, t.Any]:
    """Return what the node would find in an archive that it does not have: read here, nothing is sent."""
    identity = select(options["identities"], found["architecture"], options["digest"])
    image = next(image for image in images if image.digest == identity["digest"])
    unpacked = _extract.unpack(archive, image, None)
    layout = t.cast(_layouts.Layout, unpacked.layout)
    _layouts.check_prefix(options.get("prefix") or layout.prefix, [layout])
    offered = _shims.offered(unpacked.tree, layout, layout.prefix)
    choice = _shims.choose(
        offered, options["handlers"], found["architecture"], found["capabilities"], options["own_handlers"]
    )
    return {
        "changed": True,
        "layout": layout.name,
        "prefix": layout.prefix,
        "handlers": [handler.table() for handler in choice.handlers],
        "excluded": dict(choice.excluded),
        "tree": unpacked.tree,
    }
