# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Tar archives, read member by member to their very end.

Python's tarfile takes whatever is no header behind the first member for the end of the archive: what follows would be missing,
and nobody would know. Here an archive ends where its data ends, or where nothing but zeros follows. It need not have the two
blocks of zeros that belong there: many tools leave them out.
"""

from __future__ import annotations

import io
import tarfile
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import streams

#: What reading a damaged archive raises, beside OSError. The last three are what tarfile makes of strange numbers, of headers
#: without an end, and of a sparse member without one.
BROKEN = (*streams.DAMAGED, tarfile.TarError, OverflowError, RecursionError, IndexError)

_TARFILE = t.cast(t.Any, tarfile)
#: How tarfile says that there is nothing where a header could be, or a block of zeros.
_END = (_TARFILE.EmptyHeaderError, _TARFILE.EOFHeaderError)


class Damage(tarfile.TarError):
    """Something is no member where one should be, or stands behind the end."""


class _Member(tarfile.TarInfo):
    """A member whose header is one: tarfile itself only tells of the first."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> t.Any:
        if buf and not buf.strip(b"\0"):
            raise _TARFILE.EOFHeaderError("zeros")  # fewer than a block, too
        return super().frombuf(buf, encoding, errors)

    @classmethod
    def fromtarfile(cls, tarfile: t.Any) -> t.Any:
        start = tarfile.fileobj.tell()
        try:
            return super().fromtarfile(tarfile)
        except _END:
            raise
        except _TARFILE.HeaderError as error:
            raise Damage(f"no header of a member at byte {start}: {error}") from error


class _Content(io.RawIOBase):
    """The content of the member that an archive's stream stands at, in the blocks in which it comes."""

    def __init__(self, stream: t.Any, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most as many bytes; without a size, all."""
        if size < 0:
            return b"".join(iter(lambda: self.read(streams.BLOCK), b""))
        size = min(size, self._left)
        block: bytes = self._stream.read1(size) if size else b""
        if size and not block:
            raise Damage("unexpected end of data")
        self._left -= len(block)
        return block

    def readinto(self, buffer: t.Any) -> int:
        """Fill a buffer: who looks at the first bytes, without taking them, wants all of them."""
        done, block = 0, b"none yet"
        while block:
            block = self.read(len(buffer) - done)
            buffer[done : done + len(block)] = block
            done += len(block)
        return done


def content(member: tarfile.TarInfo, archive: tarfile.TarFile) -> t.IO[bytes]:
    """Return the content of the member that was yielded last, to be read once: tarfile would copy each block twice."""
    if member.issparse():
        return streams.unbuffered(archive.extractfile(member))
    return t.cast("t.IO[bytes]", _Content(archive.fileobj, member.size))


def members(stream: t.IO[bytes]) -> t.Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each member of a plain archive, and the archive, to read the member's content from before the next one is asked for.

    Raises Damage, with the name of the member before it, where the archive is not whole.
    """
    last = ""
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member) as archive:
            for member in iter(archive.next, None):
                if member.size < 0:
                    raise Damage(f"{member.name!r} of {member.size} bytes")
                last = member.name
                yield member, archive
                t.cast(t.Any, archive).members.clear()  # it would remember all of them
            _require_end(stream)
    except BROKEN as error:
        raise Damage(f"{error} (the last member before it: {last!r})" if last else str(error)) from error


def _require_end(stream: t.IO[bytes]) -> None:
    """Read to the end of the data: zeros only."""
    for block in iter(lambda: stream.read(streams.BLOCK), b""):
        found = block.lstrip(b"\0")
        if found:
            raise Damage(f"something behind the end of the archive, at byte {stream.tell() - len(found)}")
