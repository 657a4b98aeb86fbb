# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Streams of bytes on their way out of a payload: each class wraps a stream, and counts, checks, bounds or reads it ahead.

``_payload.layers`` puts them together. How a compressed stream is read is in ``_payload.decoders``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import queue
import threading
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import decoders

BLOCK = 512 << 10
#: How many blocks are read ahead. Some blocks are quick to unpack and slow to write, others the other way round: this evens them
#: out. Up to three streams read ahead at once (a layer, what it unpacks to, a component in that), and the process must stay
#: below 64 MiB.
_AHEAD = 8
#: A request for more than this comes from a damaged header: contents are read block by block.
_LARGEST = 8 << 20

# The C library gives large blocks back to the kernel when they are freed, and the kernel clears all pages of the next ones. That
# takes longer than the work on them. One allocation that is larger still makes the C library keep them. It touches no page.
bytes(_LARGEST)

#: What reading a damaged stream raises, beside OSError.
DAMAGED = decoders.DAMAGED

#: How a compressed stream begins.
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))


class Checked(io.RawIOBase):
    """A stream that knows the number and the digest of the bytes that were read from it.

    ``progress`` gets that number, plus ``before``, at each read.
    """

    def __init__(
        self, stream: t.IO[bytes], progress: t.Callable[[int], None] = lambda done: None, before: int = 0
    ) -> None:
        super().__init__()
        self._stream = stream
        self._digest = hashlib.sha256()
        self._progress = progress
        self._before = before
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self.count += len(data)
        self._progress(self._before + self.count)
        return data

    def digest(self) -> str:
        return "sha256:" + self._digest.hexdigest()


class Counted(io.RawIOBase):
    """A stream that knows how many bytes were read from it. Closing it leaves the wrapped stream open."""

    def __init__(self, stream: t.IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._count += len(data)
        return data

    def tell(self) -> int:
        return self._count


class Bounded(io.RawIOBase):
    """A stream that calls ``refuse`` once more than ``allowed()`` bytes were read from it."""

    def __init__(self, stream: t.IO[bytes], allowed: t.Callable[[], int], refuse: t.Callable[[], Refusal]) -> None:
        super().__init__()
        self._stream = stream
        self._allowed = allowed
        self._refuse = refuse
        self._count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._count += len(data)
        if self._count > self._allowed():
            raise self._refuse()
        return data


class Ahead(io.RawIOBase):
    """A stream that a thread of its own reads a few blocks ahead: it makes the next blocks while the caller works on one.

    An error in that thread comes out of ``read``, after the blocks before it. Closing it waits for the thread, and leaves the
    wrapped stream open. ``seek`` goes forward only, because tarfile needs no more.
    """

    def __init__(self, stream: t.IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._blocks: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._closing = False
        self._block = b""
        #: How many bytes of the current block were read.
        self._used = 0
        self._position = 0
        self._thread = threading.Thread(target=self._fill)
        self._thread.start()

    def _fill(self) -> None:
        """Put block after block into the queue. The last one is empty, or it is the error."""
        block: bytes | BaseException = b"none yet"
        while block and not isinstance(block, BaseException):
            self._room.acquire()
            if self._closing:
                return
            try:
                block = self._stream.read(BLOCK)
            except BaseException as error:  # noqa: BLE001  (read raises it)
                block = error
            self._blocks.put(block)

    def _next(self) -> bytes:
        """Return the next block. After the end, return the last one again."""
        block = self._blocks.get()
        self._room.release()
        if not block or isinstance(block, BaseException):
            self._blocks.put(block)
        if isinstance(block, BaseException):
            raise block
        return block

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end. Without a size, return the next bytes that are there."""
        if size > _LARGEST:
            raise ValueError(f"a header of {size} bytes")  # contents are read block by block
        pieces = [self.read1(size)]
        missing = size - len(pieces[0])
        while missing > 0 and pieces[-1]:
            pieces.append(self.read1(missing))
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def read1(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes of the current block. A whole block is not copied."""
        if self._used == len(self._block):
            self._block, self._used = self._next(), 0
        piece = self._block[self._used : self._used + size if size >= 0 else None]
        self._used += len(piece)
        self._position += len(piece)
        return piece

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise ValueError("a member that begins before the end of the one before it")
        while self._position < offset and self.read(min(offset - self._position, BLOCK)):
            pass
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._closing = True
            self._room.release()
            self._thread.join()
        super().close()


def unbuffered(stream: t.IO[bytes] | None) -> t.IO[bytes]:
    """Return the raw stream below a buffered one from which nothing was read yet: for large blocks, a buffer is only a copy more.

    The buffered stream must live as long, because it closes the raw one when it goes.
    """
    return t.cast("t.IO[bytes]", getattr(stream, "raw", stream))


def compression_of(start: bytes) -> str:
    """Tell from its first bytes how a stream is compressed: gzip, xz, zstd, or '' for none of these."""
    return next((name for magic, name in _MAGIC if start.startswith(magic)), "")


@contextlib.contextmanager
def decompressed(stored: t.IO[bytes], compression: str) -> t.Iterator[t.IO[bytes]]:
    """Open a stream that has this ``compression``. It is read to its end before the context is left."""
    if not compression:
        yield stored
        return
    with decoders.opened(stored, compression) as opened:
        yield opened


def has_zstd() -> bool:
    """Tell whether this machine can read zstd."""
    return decoders.available("zstd")
