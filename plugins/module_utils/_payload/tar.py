# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Tar archives, read member by member to their very end.

After the first member, Python's tarfile takes anything that is no header for the end of the archive. The members behind it would
be missing, and nobody would know. Here an archive ends where its data ends, or where nothing but zeros follows. The two blocks of
zeros that belong at the end may be missing: many tools leave them out.
"""

from __future__ import annotations

import io
import tarfile
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import streams

#: What reading a damaged archive raises, beside OSError. tarfile raises the last three for strange numbers, for headers without
#: an end, and for a sparse member without an end.
BROKEN = (*streams.DAMAGED, tarfile.TarError, OverflowError, RecursionError, IndexError)

_TARFILE = t.cast(t.Any, tarfile)
#: What tarfile raises where a header could be and there is nothing, or a block of zeros.
_END = (_TARFILE.EmptyHeaderError, _TARFILE.EOFHeaderError)


class Damage(tarfile.TarError):
    """There is no member where one should be, or something follows the end."""


class _Member(tarfile.TarInfo):
    """A member with a valid header. tarfile itself raises an error for the first member's header only."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> t.Any:
        if buf and not buf.strip(b"\0"):
            raise _TARFILE.EOFHeaderError("zeros")  # also where they are less than a block
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
    """The content of the current member, in the blocks in which the archive's stream returns it."""

    def __init__(self, stream: t.Any, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes; without a size, all of them."""
        if size < 0:
            return b"".join(iter(lambda: self.read(streams.BLOCK), b""))
        size = min(size, self._left)
        block: bytes = self._stream.read1(size) if size else b""
        if size and not block:
            raise Damage("unexpected end of data")
        self._left -= len(block)
        return block

    def readinto(self, buffer: t.Any) -> int:
        """Fill the whole buffer: ``peek`` calls this once, and must get as many bytes as there are."""
        done, block = 0, b"none yet"
        while block:
            block = self.read(len(buffer) - done)
            buffer[done : done + len(block)] = block
            done += len(block)
        return done


def content(member: tarfile.TarInfo, archive: tarfile.TarFile) -> t.IO[bytes]:
    """Return the content of the member that was yielded last. It can be read once. tarfile itself would copy each block twice."""
    if member.issparse():
        return streams.unbuffered(archive.extractfile(member))
    return t.cast("t.IO[bytes]", _Content(archive.fileobj, member.size))


def members(stream: t.IO[bytes]) -> t.Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each member of a plain archive, with the archive. The caller reads the content before it asks for the next member.

    Raises Damage where the archive is not whole, with the name of the last member before.
    """
    last = ""
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member) as archive:
            for member in iter(archive.next, None):
                if member.size < 0:
                    raise Damage(f"{member.name!r} of {member.size} bytes")
                last = member.name
                yield member, archive
                t.cast(t.Any, archive).members.clear()  # tarfile would keep all of them in memory
            _require_end(stream)
    except BROKEN as error:
        raise Damage(f"{error} (the last member before it: {last!r})" if last else str(error)) from error


def _require_end(stream: t.IO[bytes]) -> None:
    """Read to the end of the data, and refuse anything but zeros."""
    for block in iter(lambda: stream.read(streams.BLOCK), b""):
        found = block.lstrip(b"\0")
        if found:
            raise Damage(f"something behind the end of the archive, at byte {stream.tell() - len(found)}")
