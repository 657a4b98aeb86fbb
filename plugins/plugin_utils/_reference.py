# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References to payloads, in the notation of containers-transports(5)."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: Transports of this version that name a file.
ARCHIVES = ("oci-archive", "docker-archive")
#: Transports of the design that are not there yet.
_LATER = ("docker", "oci", "docker-daemon", "dir", "tarball")


@dataclass(frozen=True)
class Reference:
    """A payload in an archive: the file, and the name of the image in it ('' where there is only one)."""

    transport: str
    path: str
    image: str

    def __str__(self) -> str:
        return f"{self.transport}:{self.path}" + (f":{self.image}" if self.image else "")


def parse_reference(text: str) -> Reference:
    """Parse ``TRANSPORT:PATH[:IMAGE]``; PATH is absolute or relative to the current directory."""
    transport, colon, rest = text.partition(":")
    if not colon or transport not in (*ARCHIVES, *_LATER):
        transport, rest = "docker", text
    if transport in _LATER:
        raise Refusal(
            "coco_payload as oci-archive:PATH or docker-archive:PATH",
            repr(text),
            "This version reads archives only: make one with "
            "'skopeo copy docker://… oci-archive:FILE' and name it oci-archive:FILE.",
        )
    path, _colon, image = rest.partition(":")
    if not path:
        raise Refusal(
            f"a path after {transport}: in coco_payload", repr(text), f"Write {transport}:/path/of/the/archive."
        )
    return Reference(transport, path, image)


def on_controller(reference: Reference) -> Reference:
    """Return the reference with an absolute path; a relative one starts in the current directory."""
    path = os.path.abspath(os.path.expanduser(reference.path))
    return Reference(reference.transport, path, reference.image)
