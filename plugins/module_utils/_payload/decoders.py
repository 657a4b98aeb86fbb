# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""How compressed streams are read: with a module of Python, with a library of the machine, or with a program.

A Python can lack each of these modules, so they are imported where they are needed.
"""

from __future__ import annotations

import importlib
import io
import shutil
import subprocess
import sys
import threading
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

_BLOCK = 512 << 10
#: How many bytes of a compressed stream are decoded at once.
_PIECE = 256 << 10
#: The memory for reading xz, in bytes: several times what ``xz -9`` needs. zstd has a limit of its own, a window of 128 MiB.
_XZ_MEMORY = 512 << 20
#: What reading a damaged stream raises, beside OSError.
DAMAGED = (EOFError, ValueError)

#: What decoders say about a stream that needs more memory than their limit.
_ABOVE_THE_LIMIT = ("too much memory", "memory usage limit")
#: For each compression: what is within the limit, and how such data is made.
_WITHIN_THE_LIMIT = {
    "zstd": ("a window of at most 128 MiB", "zstd without --long, or with --long=27"),
    "xz": (f"at most {_XZ_MEMORY >> 20} MiB of memory to unpack it", "xz -9"),
}


class Decoder(t.Protocol):
    """Decodes a stream piece by piece: ``feed`` gets packed bytes, ``take`` returns at most ``size`` bytes of what they decode to.

    ``take`` returns nothing when it needs more packed bytes. It raises ValueError for damaged ones, and MemoryError.
    ``complete`` tells whether the stream may end here.
    """

    @property
    def complete(self) -> bool: ...

    def feed(self, packed: bytes) -> None: ...

    def take(self, size: int) -> bytes: ...

    def close(self) -> None: ...


def opened(stored: t.IO[bytes], compression: str) -> t.IO[bytes]:
    """Open a stream that has this ``compression``, with the first decoder or program that the machine has."""
    decoder = _decoder(compression)
    if decoder:
        return t.cast("t.IO[bytes]", _Decoded(stored, decoder, compression))
    program = shutil.which(compression)
    if program:
        return t.cast("t.IO[bytes]", _Filter([program, "--decompress", "--stdout", "--quiet"], stored, compression))
    remedy = f"Install the package that has the program {compression} there, or convert the payload"
    raise Refusal(
        f"a way to read {compression}",
        f"none: {sys.executable} has no module for it, and there is no program {compression}"
        + (", nor libzstd.so.1" if compression == "zstd" else ""),
        remedy
        + (": skopeo copy --dest-compress-format gzip --dest-force-compress-format." if compression == "zstd" else "."),
    )


def available(compression: str) -> bool:
    """Tell whether this machine can read streams with this ``compression``."""
    decoder = _decoder(compression)
    if decoder:
        decoder.close()
    return decoder is not None or shutil.which(compression) is not None


def _decoder(compression: str) -> Decoder | None:
    """Return a decoder that needs no program; None where there is none."""
    for make in _DECODERS[compression]:
        try:
            return make()
        except (ImportError, OSError, AttributeError):
            continue
    return None


def _zlib() -> Decoder:
    import zlib

    return _Frames(lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error)  # with gzip's headers and checksums


def _lzma() -> Decoder:
    import lzma

    return _Frames(lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), lzma.LZMAError)


def _zstd() -> Decoder:
    zstd: t.Any = importlib.import_module("compression.zstd")  # since Python 3.14

    return _Frames(zstd.ZstdDecompressor, zstd.ZstdError)


def _libzstd() -> Decoder:
    from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import libzstd

    return libzstd.Decoder(libzstd.load())


_DECODERS: dict[str, tuple[t.Callable[[], Decoder], ...]] = {
    "gzip": (_zlib,),
    "xz": (_lzma,),
    "zstd": (_zstd, _libzstd),
}


class _Frames:
    """A decoder for a stream of several parts (gzip's members, xz's streams, zstd's frames).

    A decompressor of Python's modules stops at the end of a part, so each part gets a new one.
    """

    def __init__(self, new: t.Callable[[], t.Any], error: type[Exception]) -> None:
        self._new = new
        self._error = error
        self._packed = b""
        #: None between two parts.
        self._frame: t.Any = new()

    @property
    def complete(self) -> bool:
        return self._frame is None

    def feed(self, packed: bytes) -> None:
        self._packed = packed

    def take(self, size: int) -> bytes:
        while True:
            if self._frame is None:
                self._packed = self._packed.lstrip(b"\0")  # padding after a part
                self._frame = self._new() if self._packed else None
            if not self._packed and getattr(self._frame, "needs_input", True):
                return b""
            try:
                data: bytes = self._frame.decompress(self._packed, size)
            except self._error as error:
                raise ValueError(str(error)) from error
            self._packed = getattr(self._frame, "unconsumed_tail", b"")
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
            if data:
                return data

    def close(self) -> None:
        pass


class _Decoded(io.RawIOBase):
    """A stream decompressed by a decoder."""

    def __init__(self, stored: t.IO[bytes], decoder: Decoder, compression: str) -> None:
        super().__init__()
        self._stored = stored
        self._decoder = decoder
        self._compression = compression

    def readable(self) -> bool:
        return True

    def read(self, size: int = _BLOCK) -> bytes:
        while True:
            try:
                data = self._decoder.take(size if size >= 0 else _BLOCK)
            except (ValueError, MemoryError) as error:
                raise _failure(self._compression, str(error) or "not enough memory") from error
            if data:
                return data
            packed = self._stored.read(_PIECE)
            if packed:
                self._decoder.feed(packed)
            elif self._decoder.complete:
                return b""
            else:
                raise EOFError("the end of the compressed data is missing")

    def close(self) -> None:
        if not self.closed:
            self._decoder.close()
        super().close()


class _Filter(io.RawIOBase):
    """A stream decompressed by a program."""

    def __init__(self, argv: t.Sequence[str], stored: t.IO[bytes], compression: str) -> None:
        super().__init__()
        self._compression = compression
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
                for block in iter(lambda: stored.read(_BLOCK), b""):
                    target.write(block)
        except BrokenPipeError:
            pass  # the program has ended; read() raises what it said
        except Exception as error:  # noqa: BLE001  (read raises it)
            self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = t.cast("t.IO[bytes]", self._process.stdout).read(size)
        if not data and size:
            self._feeder.join()
            said = t.cast("t.IO[bytes]", self._process.stderr).read().decode(errors="replace")
            if self._error:
                raise self._error
            if self._process.wait() != 0:
                raise _failure(self._compression, said or "the program that decompresses it failed")
        return data

    def close(self) -> None:
        if not self.closed:
            self._process.kill()
            self._process.wait()
            self._feeder.join()
            for pipe in (self._process.stdout, self._process.stderr):
                t.cast("t.IO[bytes]", pipe).close()
        super().close()


def _failure(compression: str, said: str) -> Exception:
    """Return the error for a decoder's failure: a refusal when memory is the reason, else ValueError for damage."""
    said = " ".join(said.split())
    lowered = said.lower()
    if any(phrase in lowered for phrase in _ABOVE_THE_LIMIT):
        least, how = _WITHIN_THE_LIMIT[compression]
        return Refusal(
            f"data compressed with {compression} that needs {least}",
            f"data that needs more ({said})",
            f"Its publisher has to compress it again: {how}. Or decompress it yourself, where there is memory, and use that.",
        )
    if "memory" in lowered:
        return Refusal(
            f"free memory to read data compressed with {compression}",
            said,
            "Free memory on that machine, and run the playbook again.",
        )
    return ValueError(said)
