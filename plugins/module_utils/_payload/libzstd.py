# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""zstd streams read with libzstd, for versions of Python without a zstd module. Nodes with dpkg, rpm or systemd have the library.

Import it only where it is used: it needs ctypes, which a Python can lack.
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
#: The functions of the library that are called: types of the arguments, and of the result.
_FUNCTIONS: dict[str, tuple[list[t.Any], t.Any]] = {
    "ZSTD_createDStream": ([], ctypes.c_void_p),
    "ZSTD_initDStream": ([ctypes.c_void_p], _SIZE),
    "ZSTD_decompressStream": ([ctypes.c_void_p, ctypes.POINTER(_Output), ctypes.POINTER(_Input)], _SIZE),
    "ZSTD_freeDStream": ([ctypes.c_void_p], _SIZE),
    "ZSTD_isError": ([_SIZE], ctypes.c_uint),
    "ZSTD_getErrorName": ([_SIZE], ctypes.c_char_p),
}


def load() -> t.Any:
    """Return the library. Raises OSError where there is none, AttributeError where it lacks a function."""
    # Loaded by its name: to search for it, ctypes would need a compiler or ldconfig. CDLL gives up Python's lock during a call,
    # PyDLL does not: only the call that takes long is worth that.
    long, short = ctypes.CDLL(_NAME), ctypes.PyDLL(_NAME)
    library = types.SimpleNamespace()
    for name, (arguments, result) in _FUNCTIONS.items():
        function = getattr(long if name == "ZSTD_decompressStream" else short, name)
        function.argtypes, function.restype = arguments, result
        setattr(library, name, function)
    return library


class Decoder:
    """A decoder for any number of frames; see ``_payload.decoders.Decoder``. Other threads run Python while the library works."""

    def __init__(self, library: t.Any) -> None:
        self._library = library
        self._stream = library.ZSTD_createDStream()
        if not self._stream:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        library.ZSTD_initDStream(self._stream)
        self._packed = b""
        self._input = _Input(self._packed, 0, 0)
        self._room = ctypes.create_string_buffer(0)
        #: Whether the library still has bytes for which the last output had no room.
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
