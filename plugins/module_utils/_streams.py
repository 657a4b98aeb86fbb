# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Streams of bytes on their way out of a payload: counted, checked, decompressed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import lzma
import queue
import shutil
import subprocess
import threading
import typing as t
import zlib

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

BLOCK = 512 << 10
#: How many blocks are read ahead.
_AHEAD = 4
#: Bytes of a gzip stream that are inflated at once.
_PIECE = 256 << 10
#: What zlib is told to expect: gzip's headers and checksums.
_GZIP = 16 + zlib.MAX_WBITS
#: More than anybody reads of an archive at once.
_LARGEST = 8 << 20

# The C library hands large blocks back to the kernel when they are freed, which then clears all pages of the next ones: that
# takes longer than what is done with them. From one that is larger still it learns to keep them. No page of it is touched.
bytes(_LARGEST)

_ZSTD: t.Any
try:
    _ZSTD = importlib.import_module("compression.zstd")  # since Python 3.14
except ImportError:
    _ZSTD = None

#: What reading a damaged stream raises, beside OSError.
DAMAGED = (EOFError, ValueError, zlib.error, lzma.LZMAError, *((_ZSTD.ZstdError,) if _ZSTD else ()))

#: How a compressed stream begins.
_MAGIC = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))


class Checked(io.RawIOBase):
    """A stream that remembers the digest and the number of the bytes that were read from it.

    ``progress`` is told that number, with ``before`` added.
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
    """A stream that a thread of its own reads ahead, by some blocks and no more: the next ones are made while one is worked on.

    What goes wrong in that thread comes out of ``read``, in its turn. Closing it waits for the thread, and leaves the stream
    below open. ``seek`` goes forward only: tarfile wants no more.
    """

    def __init__(self, stream: t.IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._blocks: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._closing = False
        self._block = memoryview(b"")
        self._position = 0
        self._thread = threading.Thread(target=self._fill)
        self._thread.start()

    def _fill(self) -> None:
        """Read block by block. The last one is empty, or what went wrong."""
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
        """Return the next block; the last one again and again."""
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
        """Return as many bytes, fewer only at the end; without a size those that are there next."""
        if size > _LARGEST:
            raise ValueError(f"a header of {size} bytes")  # contents are read block by block
        pieces: list[memoryview] = []
        missing = size
        while missing:
            if not self._block:
                self._block = memoryview(self._next())
                if not self._block:
                    break
            piece = self._block[:missing] if missing > 0 else self._block
            self._block = self._block[len(piece) :]
            pieces.append(piece)
            missing = max(missing - len(piece), 0)
        data = b"".join(pieces)
        self._position += len(data)
        return data

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


class Behind:
    """A thread of its own that does one thing after the other, some behind whoever gives it things to do and no more.

    All is done when the context is left, which raises what went wrong.
    """

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[t.Callable[[], object] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def do(self, work: t.Callable[[], object]) -> None:
        self._room.acquire()
        self._work.put(work)

    def _run(self) -> None:
        for work in iter(self._work.get, None):
            try:
                work()
            except BaseException as error:  # noqa: BLE001  (raised below)
                self._error = error
            self._room.release()

    def __enter__(self) -> Behind:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._work.put(None)
        self._thread.join()
        if self._error:
            raise self._error


def unbuffered(stream: t.IO[bytes] | None) -> t.IO[bytes]:
    """Return what a stream reads from, if nothing was read from it yet: for large blocks, a buffer is only one more copy.

    The stream has to live as long: it closes the other one.
    """
    return t.cast("t.IO[bytes]", getattr(stream, "raw", stream))


def compression_of(start: bytes) -> str:
    """Tell from its first bytes how a stream is compressed: gzip, xz, zstd, or '' for none of these."""
    return next((name for magic, name in _MAGIC if start.startswith(magic)), "")


@contextlib.contextmanager
def decompressed(stored: t.IO[bytes], compression: str) -> t.Iterator[t.IO[bytes]]:
    """Open a stream that is compressed like that. It is read to its end before the context is left."""
    if compression == "zstd":
        opened = _zstd(stored)
    elif compression == "xz":
        opened = t.cast("t.IO[bytes]", lzma.LZMAFile(stored))  # noqa: SIM115  (closed below)
    elif compression == "gzip":
        opened = t.cast("t.IO[bytes]", _Gzip(stored))
    else:
        yield stored
        return
    with opened:
        yield opened


def has_zstd() -> bool:
    """Tell whether this machine can read zstd."""
    return _ZSTD is not None or shutil.which("zstd") is not None


def _zstd(stored: t.IO[bytes]) -> t.IO[bytes]:
    """Open a zstd stream with what the node has: Python 3.14 brings it, the program is in every distribution."""
    if _ZSTD:
        return t.cast("t.IO[bytes]", _ZSTD.ZstdFile(stored))
    program = shutil.which("zstd")
    if program is None:
        raise Refusal(
            "a way to read zstd on the node",
            "neither Python 3.14 nor the program zstd",
            "Install the package zstd on the node, or convert the payload: "
            "skopeo copy --dest-compress-format gzip --dest-force-compress-format.",
        )
    return t.cast("t.IO[bytes]", _Filter([program, "--decompress", "--stdout", "--quiet"], stored))


class _Gzip(io.RawIOBase):
    """What the members of a gzip stream hold: gzip.GzipFile without its small steps."""

    def __init__(self, stored: t.IO[bytes]) -> None:
        super().__init__()
        self._stored = stored
        self._packed = b""
        #: None between two members.
        self._member: t.Any = zlib.decompressobj(_GZIP)

    def readable(self) -> bool:
        return True

    def read(self, size: int = BLOCK) -> bytes:
        while True:
            self._packed = self._packed or self._stored.read(_PIECE)
            if not self._packed:
                if self._member is None:
                    return b""
                raise EOFError("the end of the compressed data is missing")
            if self._member is None:
                self._packed = self._packed.lstrip(b"\0")  # padding behind a member
                self._member = zlib.decompressobj(_GZIP) if self._packed else None
                continue
            data: bytes = self._member.decompress(self._packed, size)
            self._packed = self._member.unconsumed_tail
            if self._member.eof:
                self._packed, self._member = self._member.unused_data, None
            if data:
                return data


class _Filter(io.RawIOBase):
    """What a program makes of a stream."""

    def __init__(self, argv: t.Sequence[str], stored: t.IO[bytes]) -> None:
        super().__init__()
        self._process = subprocess.Popen(  # pylint: disable=consider-using-with
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._error: Exception | None = None
        self._feeder = threading.Thread(target=self._feed, args=(stored,), daemon=True)
        self._feeder.start()

    def _feed(self, stored: t.IO[bytes]) -> None:
        target = t.cast("t.IO[bytes]", self._process.stdin)
        try:
            with target:
                for block in iter(lambda: stored.read(BLOCK), b""):
                    target.write(block)
        except BrokenPipeError:
            pass  # the program has ended, and says why
        except (OSError, *DAMAGED, Refusal) as error:
            self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = t.cast("t.IO[bytes]", self._process.stdout).read(size)
        if not data and size:
            self._feeder.join()
            said = t.cast("t.IO[bytes]", self._process.stderr).read().decode(errors="replace").strip()
            if self._error:
                raise self._error
            if self._process.wait() != 0:
                raise ValueError(said or "the program that decompresses it failed")
        return data

    def close(self) -> None:
        if not self.closed:
            self._process.kill()
            self._process.wait()
            self._feeder.join()
            for pipe in (self._process.stdout, self._process.stderr):
                t.cast("t.IO[bytes]", pipe).close()
        super().close()
