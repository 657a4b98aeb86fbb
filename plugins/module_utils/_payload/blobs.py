# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The files of an image: in a tar archive, or in a directory such as an OCI layout or an engine's content store.

Both kinds have the same interface, and the same names: those of an OCI layout (``blobs/sha256/…``) or of ``docker save``.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import tar

_BLOCK = 1 << 20


class Files(t.Protocol):
    """The files of an image. ``size`` returns None for a name that is no plain file; ``open`` must not be called for that."""

    def size(self, name: str) -> int | None: ...

    def open(self, name: str) -> t.IO[bytes]: ...

    def close(self) -> None: ...


class TarFiles:
    """The members of a plain tar archive."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            with open(path, "rb") as stream:
                for member, _archive in tar.members(stream):
                    self._members[posixpath.normpath(member.name)] = member
        except tar.BROKEN as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, found: str) -> Refusal:
        if self._members:
            return Refusal(
                f"a whole image archive at {self._path}",
                found,
                "Fetch or create the archive again: it was cut, changed later, or written like that.",
            )
        return Refusal(
            f"an image archive at {self._path}",
            f"a file that is no plain tar archive ({found})",
            "Make one with 'skopeo copy docker://… oci-archive:FILE' or 'docker save --output FILE IMAGE'. A release "
            "tarball, which holds no image, is tarball:FILE.",
        )

    def _member(self, name: str) -> tarfile.TarInfo | None:
        member = self._members.get(name)
        if member is not None and member.issym():  # docker save writes a link for a layer that several images share
            member = self._members.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
        return member if member is not None and member.isfile() and not member.issparse() else None

    def size(self, name: str) -> int | None:
        member = self._member(name)
        return None if member is None else member.size

    def open(self, name: str) -> t.IO[bytes]:
        member = t.cast(tarfile.TarInfo, self._member(name))
        return t.cast("t.IO[bytes]", _Section(self._path, member.offset_data, member.size))

    def close(self) -> None:
        pass


class _Section(io.RawIOBase):
    """A part of a file. It has a position of its own, because a thread reads one layer ahead while another layer is looked at."""

    def __init__(self, path: str, start: int, size: int) -> None:
        super().__init__()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  (closed by close)
        self._file.seek(start)
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(_BLOCK), b""))
        data = self._file.read(min(size, self._left))
        if not data and size and self._left:
            raise tarfile.ReadError("unexpected end of data")
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


class DirectoryFiles:
    """The files below a directory."""

    def __init__(self, path: str) -> None:
        self._root = path

    def _path(self, name: str) -> str:
        # Names come from manifests, which may be hostile: nothing outside of the directory is ever looked at.
        inside = not name.startswith("/") and ".." not in name.split("/")
        return os.path.join(self._root, name) if inside else ""

    def size(self, name: str) -> int | None:
        path = self._path(name)
        return os.path.getsize(path) if path and os.path.isfile(path) and not os.path.islink(path) else None

    def open(self, name: str) -> t.IO[bytes]:
        return open(self._path(name), "rb")

    def close(self) -> None:
        pass
