# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Payloads that are no images: a release tarball, and the directory of an extracted payload, which is read as a tar stream.

Each counts as one layer, and its digest identifies it: the digest of the file, or of the tar stream made from the directory. That
stream depends only on names, modes, modification times and contents.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import (
    Archive,
    Image,
    Layer,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import PATHS, Reference

_CAPABILITY = "security.capability"


class Source(t.Protocol):
    """What a payload is read from. ``title`` is its name in messages."""

    path: str
    title: str

    def __enter__(self) -> t.Any: ...

    def __exit__(self, *exc: object) -> None: ...

    def images(self) -> list[Image]: ...

    def open_layer(self, layer: Layer) -> t.IO[bytes]: ...


def open_source(
    reference: Reference,
    path: str = "",
    digest: str = "",
    plain: t.Mapping[str, str] | None = None,
    whole: bool = False,
    unread: bool = False,
) -> Source:
    """Open what ``reference`` names, or a copy of it at ``path``.

    ``digest``, ``whole`` and ``unread`` are explained at Tarball and Tarballs, ``plain`` at ``_payload.archive.Archive``.
    """
    if reference.others:
        return Tarballs(reference, path, digest, plain, unread)
    if reference.transport in ("tarball", "dir"):
        return Tarball(reference, path, digest, plain, whole, unread)
    return Archive(reference, path, plain=plain)


class Tarball:
    """A tar archive of artifacts, compressed or not; or a directory of them.

    With a ``digest`` that is known already, nothing is read to find it; whoever unpacks the payload checks it. With ``whole``,
    all of a directory is taken, not only its part for the node. With ``unread``, the digest is '' until the payload is unpacked.
    """

    def __init__(
        self,
        reference: Reference,
        path: str = "",
        digest: str = "",
        plain: t.Mapping[str, str] | None = None,
        whole: bool = False,
        unread: bool = False,
    ) -> None:
        self._plain = plain or {}
        self._whole = whole
        self._unread = unread
        self.path = self.title = path or reference.path
        self._kind = "directory" if reference.transport == "dir" else "file"
        self._digest = digest
        if not os.path.exists(self.path):
            raise self._wrong("nothing there", "Check the path in coco_payload and coco_payload_on.")
        if os.path.isdir(self.path) and reference.transport == "tarball":
            raise self._wrong("a directory", f"Name a file, or write dir:{self.path} for an extracted payload.")
        if not os.path.isdir(self.path) and not path and reference.transport == "dir":
            raise self._wrong("a file", f"Name a directory, or write tarball:{self.path}.")

    def __enter__(self) -> Tarball:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def _wrong(self, found: str, hint: str) -> Refusal:
        return Refusal(f"{PATHS['dir' if self._kind == 'directory' else 'tarball']} at {self.path}", found, hint)

    def images(self) -> list[Image]:
        with self._open() as stream:
            start = stream.read(8)
        compression = streams.compression_of(start)
        digest = self._digest or ("" if self._unread else self._read_digest())
        layer = Layer(self.path, self._plain.get(digest, digest), None, compression)
        return [Image(digest, self._kind, {digest: self._kind}, "", (), (layer,), bases=(layouts.ARTIFACTS, ""))]

    def _read_digest(self) -> str:
        with self._open() as stream:
            checked = streams.Checked(stream)
            while checked.read(streams.BLOCK):
                pass
            return checked.digest()

    def open_layer(self, layer: Layer) -> t.IO[bytes]:
        del layer  # there is one
        return self._open()

    def _open(self) -> t.IO[bytes]:
        if os.path.isdir(self.path):
            return t.cast("t.IO[bytes]", _Generated(self.packed()))
        try:
            return open(self.path, "rb")
        except PermissionError as error:
            raise self._wrong(str(error.strerror), "Make it readable, or run Ansible as its owner.") from error

    def packed(self) -> t.Iterator[bytes]:
        """Return the blocks of a directory's tar stream."""
        return tar_of(self.path, self._whole)


class Tarballs:
    """Several tarballs of one release, which go to one prefix.

    ``path`` is a directory with copies of them, with the names that :meth:`files` returns. ``digest`` has their digests, separated
    by spaces, so that they need not be read. ``unread`` is as in Tarball.
    """

    def __init__(
        self,
        reference: Reference,
        path: str = "",
        digest: str = "",
        plain: t.Mapping[str, str] | None = None,
        unread: bool = False,
    ) -> None:
        self.path = path or reference.path
        self.title = " and ".join(reference.paths)
        names = [f"files/{number}" for number in range(len(reference.paths))]
        paths = [os.path.join(path, name) for name in names] if path else reference.paths
        digests = digest.split() or [""] * len(paths)
        self._tarballs = {
            name: Tarball(Reference("tarball", one), digest=known, plain=plain, unread=unread)
            for name, one, known in zip(names, paths, digests)
        }

    def __enter__(self) -> Tarballs:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def files(self) -> dict[str, str]:
        """Map the name of each file in a directory of copies to its path here."""
        return {name: tarball.path for name, tarball in self._tarballs.items()}

    def images(self) -> list[Image]:
        images = {name: tarball.images()[0] for name, tarball in self._tarballs.items()}
        layers = tuple(replace(image.layers[0], member=name) for name, image in images.items())
        # The digest is the one that `sha256sum FILE… | cut -d' ' -f1 | sort | sha256sum` prints: users can compute it.
        lines = sorted(f"{image.digest.partition(':')[2]}\n" for image in images.values())
        unread = not all(image.digest for image in images.values())
        digest = "" if unread else f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
        first = next(iter(images.values()))
        return [replace(first, digest=digest, chain={digest: "file"}, layers=layers, side_by_side=True)]

    def open_layer(self, layer: Layer) -> t.IO[bytes]:
        return self._tarballs[layer.member].open_layer(layer)


def tar_of(root: str, whole: bool = False) -> t.Iterator[bytes]:
    """Return the blocks of a tar stream with the artifacts below ``root``.

    Where ``root`` has an image's whole file system, only its part for the node is taken, unless ``whole``.
    """
    try:
        for path in _members(root, whole):
            yield from _member(path, os.path.relpath(path, root))
    except FileNotFoundError as error:
        raise _changed(str(error.filename), "that it is gone") from error
    except PermissionError as error:
        raise Refusal(
            f"{error.filename} to be readable", str(error.strerror), "Make it readable, or run Ansible as its owner."
        ) from error
    yield bytes(2 * tarfile.BLOCKSIZE)


def _changed(path: str, found: str) -> Refusal:
    return Refusal(
        f"{path} to stay as it is while it is read",
        found,
        "Start again when whatever writes there has come to its end.",
    )


def state_of(*paths: str) -> str:
    """Return a text that stays the same as long as tarballs, or a directory of artifacts, stay the same.

    No file's content is read for it: whoever changes a file also changes its ctime.
    """
    known = hashlib.sha256()
    for path in paths:
        for member in [path, *(_members(path, whole=False) if os.path.isdir(path) else ())]:
            found = os.stat(member, follow_symlinks=member == path)
            signature = (found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            known.update(f"{member!r} {signature}\n".encode("utf-8", "surrogateescape"))
    return known.hexdigest()


def require_unchanged(paths: t.Sequence[str], before: str) -> None:
    """Refuse files that somebody has written to since :func:`state_of` returned ``before``."""
    if state_of(*paths) != before:
        raise _changed(" and ".join(paths), "that it changed")


def _members(root: str, whole: bool) -> t.Iterator[str]:
    start = os.path.join(root, layouts.ARTIFACTS)
    return _walk(start if os.path.isdir(start) and not whole else root)


def _walk(directory: str) -> t.Iterator[str]:
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        yield path
        if os.path.isdir(path) and not os.path.islink(path):
            yield from _walk(path)


_TYPES = {stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE}


def _member(path: str, name: str) -> t.Iterator[bytes]:
    found = os.lstat(path)
    info = tarfile.TarInfo(name)
    # Anything else counts as a device, which is refused when the stream is unpacked.
    info.type = _TYPES.get(stat.S_IFMT(found.st_mode), tarfile.CHRTYPE)
    info.mode, info.mtime = stat.S_IMODE(found.st_mode), int(found.st_mtime)
    if info.issym():
        info.linkname = os.readlink(path)
    elif info.isreg():
        info.size = found.st_size
        if _CAPABILITY in os.listxattr(path):
            value = os.getxattr(path, _CAPABILITY).decode("utf-8", "surrogateescape")
            info.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": value}
    yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    if info.isreg():
        yield from _content(path, info.size)


def _content(path: str, size: int) -> t.Iterator[bytes]:
    left = size
    with open(path, "rb") as stream:
        while left:
            block = stream.read(min(left, streams.BLOCK))
            if not block:
                raise _changed(path, f"that it became shorter: {size - left} of {size} bytes")
            left -= len(block)
            yield block
    yield bytes(-size % tarfile.BLOCKSIZE)


class _Generated(io.RawIOBase):
    """A stream made from the blocks that an iterator yields."""

    def __init__(self, blocks: t.Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces, missing = [], size
        while missing:
            block = self._rest or next(self._blocks, None)
            if block is None:
                break
            taken, self._rest = (block[:missing], block[missing:]) if missing > 0 else (block, b"")
            pieces.append(taken)
            missing -= len(taken) if missing > 0 else 0
        return b"".join(pieces)
