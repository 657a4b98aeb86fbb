# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where a payload's artifacts go, and whether they can go there: the prefix, the mounts below it and the room."""

from __future__ import annotations

import os

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._extraction.request import Request
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt

MAKE_ROOM = "Make room, or set coco_prefix to a directory of a larger file system."


class Place:
    """The place for the payload of a request, on a node with this ``receipt``."""

    def __init__(self, request: Request, receipt: Receipt) -> None:
        self._asked = request.prefix
        self._receipt = receipt

    def prefix(self, layout: layouts.Layout) -> str:
        """Return the prefix for a payload. Refuse a second one beside an installation."""
        prefix = os.path.normpath(self._asked or layout.prefix)
        if self._receipt.tree and self._receipt.prefix != prefix:
            raise Refusal(
                f"an installation below {prefix}, or none",
                f"one below {self._receipt.prefix}",
                "Uninstall that one first, or set coco_prefix to that.",
            )
        return prefix

    def require(self, least: int) -> None:
        """Refuse a payload that has no room (``least`` bytes), or that could not be renamed into its place."""
        self.require_room(least)
        if self._asked:
            self.require_one_mount(os.path.normpath(self._asked))

    def require_one_mount(self, prefix: str) -> None:
        """Refuse a mount in the way: a rename cannot cross it.

        Where nothing is installed, nobody knows yet which paths the payload has, so any mount below the prefix is in the way.
        """
        installed = self._receipt.tree if self._receipt.prefix == prefix else {}
        artifacts.refuse_mounts(prefix, installed or None)

    def require_room(self, least: int) -> None:
        """Refuse a payload of ``least`` bytes that fits below no prefix it may go to.

        Its layout, and so its own prefix, is not known before it is read.
        """
        prefixes = [self._asked] if self._asked else [one.prefix for one in layouts.LAYOUTS]
        places = [(files.missing_directories(prefix) or [f"{prefix}/x"])[0] for prefix in prefixes]
        parents = {os.path.dirname(place) for place in places}
        files.require_room(max(parents, key=_free), least, "the payload", MAKE_ROOM)


def _free(directory: str) -> int:
    """Return how many bytes are free in the file system of a directory."""
    system = os.statvfs(directory)
    return system.f_bavail * system.f_frsize
