# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""zstd streams through libzstd, which is wherever dpkg, rpm or systemd is: for versions of Python that do not bring it.

To be imported where it is used: it needs ctypes, which a Python can lack.
"""

from __future__ import annotations

import ctypes
import errno
import os
import types
import typing as t

_SIZE = ctypes.c_size_t


class _Input(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_char_p), ("size", _SIZE), ("position", _SIZE))


class _Output(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_void_p), ("size", _SIZE), ("position", _SIZE))


_NAME = "libzstd.so.1"
#: What is called of the library: arguments and result.
_FUNCTIONS: dict[str, tuple[list[t.Any], t.Any]] = {
    "ZSTD_createDStream": ([], ctypes.c_void_p),
    "ZSTD_initDStream": ([ctypes.c_void_p], _SIZE),
    "ZSTD_decompressStream": ([ctypes.c_void_p, ctypes.POINTER(_Output), ctypes.POINTER(_Input)], _SIZE),
    "ZSTD_freeDStream": ([ctypes.c_void_p], _SIZE),
    "ZSTD_isError": ([_SIZE], ctypes.c_uint),
    "ZSTD_getErrorName": ([_SIZE], ctypes.c_char_p),
}


def load() -> t.Any:
    """Return the library. Raises OSError or AttributeError where there is none that serves."""
    # By its name: to look for it, ctypes would need a compiler or ldconfig. Python's lock is only given up for what takes long.
    long, short = ctypes.CDLL(_NAME), ctypes.PyDLL(_NAME)
    library = types.SimpleNamespace()
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(long if name == "ZSTD_decompressStream" else short, name)
        function.argtypes, function.restype = arguments, result
        setattr(library, name, function)
    return library


class Decoder:
    """Any number of frames: see ``_decoders.Decoder``. The library works while others have Python's lock."""

    def __init__(self, library: t.Any) -> None:
        self._library = library
        self._stream = library.ZSTD_createDStream()
        if not self._stream:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        library.ZSTD_initDStream(self._stream)
        self._packed = b""
        self._input = _Input(self._packed, 0, 0)
        self._room = ctypes.create_string_buffer(0)
        #: Whether the library holds bytes that had no room in the last output.
        self._holds = False
        self.complete = False

    def feed(self, packed: bytes) -> None:
        self._packed = packed  # the structure points to it
        self._input = _Input(packed, len(packed), 0)

    def take(self, size: int) -> bytes:
        if len(self._room) < size:
            self._room = ctypes.create_string_buffer(size)
        output = _Output(ctypes.addressof(self._room), size, 0)
        while not output.position and (self._holds or self._input.position < self._input.size):
            left = self._library.ZSTD_decompressStream(self._stream, ctypes.byref(output), ctypes.byref(self._input))
            if self._library.ZSTD_isError(left):
                raise ValueError(self._library.ZSTD_getErrorName(left).decode())
            self.complete = left == 0
            self._holds = left != 0 and output.position == size
        return ctypes.string_at(self._room, output.position)

    def close(self) -> None:
        if self._stream:
            self._library.ZSTD_freeDStream(self._stream)
            self._stream = None
