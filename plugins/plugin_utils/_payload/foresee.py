# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For check mode: what a node would find in a payload that it does not have. The controller reads it, and sends nothing."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import extract, layers, layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.selection import Selection
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source


def foresee(
    source: Source, image: Image, options: t.Mapping[str, t.Any], node: t.Mapping[str, t.Any]
) -> dict[str, t.Any]:
    """Return the result that payload_extract would have with these options.

    ``node`` is the result of the node's half, with the node's architecture and capabilities.
    """
    selection = Selection.of(options, node["architecture"], node["capabilities"])
    how = extract.How(
        prefix=options["prefix"],
        architecture=selection.architecture,
        limits=layers.limits_of(options["limits"]),
        choose=selection.to_unpack,
    )
    found = extract.unpack(source, image, None, how)
    layout = t.cast(layouts.Layout, found.layout)
    told = selection.result(found.tree, layout, options["prefix"] or layout.prefix, found.components)
    return {"changed": True, **told, "tree": found.tree}
