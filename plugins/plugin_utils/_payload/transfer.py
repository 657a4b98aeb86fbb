# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A payload on its way to a node: which of its files the node needs, and a directory there that they are sent to."""

from __future__ import annotations

import contextlib
import os
import tempfile
import typing as t

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Archive, Image
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import (
    Source,
    Tarball,
    Tarballs,
    open_source,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import decompress, leftovers

#: The payload's name in the directory for it.
_PAYLOAD = "payload"


def digests_of(reference: Reference, whole: bool) -> str:
    """Read tarballs or a directory, and return their digests, separated by spaces."""
    with open_source(reference, whole=whole) as source:
        return " ".join(layer.digest for layer in source.images()[0].layers)


@contextlib.contextmanager
def files_to_send(
    source: Source, image: Image, zstd: bool, limits: Limits, tmp: str
) -> t.Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield two mappings: of the files that a node needs, and of the layers that are decompressed for it.

    The first maps a path below the payload's ('' if the payload is one file) to the file on the controller. The second maps a
    layer's digest to its digest when decompressed, for a node that cannot read ``zstd``. Files are made below ``tmp``.
    """
    directory = os.path.isdir(source.path)
    with tempfile.TemporaryDirectory(dir=tmp) as made:
        converted = {} if zstd else decompress.layers(source, image, made, limits)
        plain = {digest: new for digest, (_path, new) in converted.items()}
        files = {
            "" if isinstance(source, Tarball) else layer.member: converted[layer.digest][0]
            for layer in image.layers
            if layer.digest in converted
        }
        if isinstance(source, Archive) and (directory or converted):
            # Only the files of this image are sent: the source may also hold images for other platforms.
            for name in source.documents(image) + [layer.member for layer in image.layers]:
                if name not in files:
                    files[name] = os.path.join(source.path, name) if directory else source.copy(name, made)
        elif isinstance(source, Tarballs):
            files = {**source.files(), **files}
        elif directory and not converted:
            files[""] = os.path.join(made, _PAYLOAD)
            with open(files[""], "wb") as packed:
                packed.writelines(t.cast(Tarball, source).packed())
        yield files or {"": source.path}, plain


class Directory:
    """A directory for a payload on a node. It is made in ``parent``, beside Ansible's own temporary ones, and removed at the end.

    ``shell`` is the connection's. ``run`` runs a command on the node, ``send`` sends a file. Both work as the user who connects.
    """

    def __init__(
        self,
        parent: str,
        shell: t.Any,
        run: t.Callable[[str], t.Mapping[str, t.Any]],
        send: t.Callable[[str, str], None],
    ) -> None:
        self._parent = parent
        self._shell = shell
        self._run = run
        self._send = send

    def __enter__(self) -> t.Self:
        self._path = self._make()
        self.payload = str(self._shell.join_path(self._path, _PAYLOAD))
        return self

    def __exit__(self, *_reason: object) -> None:
        with contextlib.suppress(AnsibleConnectionFailure, Refusal):
            self._tell(f"rm -rf {self._quoted(self._path)}")

    def take(self, files: t.Mapping[str, str]) -> None:
        """Send files. ``files`` maps a path below the payload's ('' for the payload itself) to the path on the controller."""
        self._require_room(sum(map(os.path.getsize, files.values())))
        for parent in sorted({os.path.dirname(name) for name in files} - {""}):
            self._tell(f"mkdir -p {self._quoted(self.payload, parent)}")
        for name, path in files.items():
            self._send(path, f"{self.payload}/{name}" if name else self.payload)

    def _make(self) -> str:
        """Make the directory, and remove what killed runs have left beside it."""
        old = f"-maxdepth 1 -name '{leftovers.START}*' -user \"$(id -u)\" -mmin +1440"
        listed = self._tell(
            f"cd {self._quoted(self._parent)} && {{ find . {old} -exec rm -rf {{}} +; ls; }} 2>/dev/null"
        )
        made = str(self._shell.join_path(self._parent, leftovers.name()))
        left = " ".join(self._quoted(self._parent, name) for name in leftovers.abandoned(listed.split()))
        # A directory of another user cannot be removed. It stays, and that is no error.
        self._tell(f"rm -rf {left} 2>/dev/null; mkdir -m 700 {self._quoted(made)}")
        return made

    def _require_room(self, least: int) -> None:
        told = self._tell(f"stat -f -c '%a %S' {self._quoted(self._path)}").splitlines()[-1].split()
        free = int(told[0]) * int(told[1])
        if free < least:
            raise Refusal(
                f"room for the payload in {self._path} on the node: {least >> 20} MiB",
                f"{free >> 20} MiB",
                "Make room there, name another directory in ansible_remote_tmp, or bring the payload to the node (coco_payload_on).",
            )

    def _tell(self, command: str) -> str:
        """Run a command, and return what it prints."""
        done = self._run(command)
        if done["rc"] != 0:
            raise Refusal(
                "a directory for the payload on the node (ansible_remote_tmp)",
                str(done["stderr"]).strip(),
                "Create a directory there that the remote user can write to, or name another one in ansible_remote_tmp.",
            )
        return str(done["stdout"])

    def _quoted(self, *parts: str) -> str:
        return str(self._shell.quote(self._shell.join_path(*parts)))
