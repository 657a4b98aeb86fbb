# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Streams of bytes on their way out of a payload: counted, checked, decompressed."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib
import io
import lzma
import shutil
import subprocess
import threading
import typing as t
import zlib

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

BLOCK = 1 << 20
#: How often a reader may ask again at the end of a stream.
_ENDS = 100

_ZSTD: t.Any
try:
    _ZSTD = importlib.import_module("compression.zstd")  # since Python 3.14
except ImportError:
    _ZSTD = None

#: What reading a damaged stream raises, beside OSError.
DAMAGED = (EOFError, ValueError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, *((_ZSTD.ZstdError,) if _ZSTD else ()))

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
    """A stream that calls ``refuse`` once more than ``allowed()`` bytes were read from it.

    Raises EOFError for a reader that does not stop at its end: tarfile would skip a member that claims to be of many
    terabytes block by block.
    """

    def __init__(self, stream: t.IO[bytes], allowed: t.Callable[[], int], refuse: t.Callable[[], Refusal]) -> None:
        super().__init__()
        self._stream = stream
        self._allowed = allowed
        self._refuse = refuse
        self._ends = 0
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.count += len(data)
        if self.count > self._allowed():
            raise self._refuse()
        self._ends += not data
        if self._ends > _ENDS:
            raise EOFError("a member that ends far behind the end of the archive")
        return data


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
        opened = t.cast("t.IO[bytes]", gzip.GzipFile(fileobj=stored))
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
