# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Layers that a node cannot decompress, decompressed here."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._archive import Layer
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._tarball import Source

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]


def write(source: Source, layer: Layer, path: str, limit: int) -> str:
    """Write a zstd layer to ``path``, decompressed, and return the digest of that. The layer is checked on the way."""
    if zstandard is None:
        raise Refusal(
            "a way to read zstd on the node, or on the controller",
            "neither Python 3.14 nor the program zstd on the node, and no zstandard for Python on the controller",
            "Install the package zstd on the node, or 'pip install zstandard' here.",
        )
    with source.open_layer(layer) as stored, open(path, "wb") as target:
        packed = _streams.Checked(stored)
        try:
            with zstandard.ZstdDecompressor().stream_reader(
                t.cast("t.IO[bytes]", packed), read_across_frames=True
            ) as reader:
                plain = _streams.Checked(t.cast("t.IO[bytes]", reader))
                for block in iter(lambda: plain.read(_streams.BLOCK), b""):
                    if plain.count > limit:
                        raise ValueError(f"more than {limit} bytes in it")
                    target.write(block)
            while packed.read(_streams.BLOCK):
                pass
        except (zstandard.ZstdError, ValueError) as error:
            raise _damaged(source, layer, str(error)) from error
    if packed.digest() != layer.digest:
        raise _damaged(source, layer, f"digest {packed.digest()}")
    return plain.digest()


def _damaged(source: Source, layer: Layer, found: str) -> Refusal:
    return Refusal(
        f"layer {layer.digest} in {os.path.basename(source.path)}",
        found,
        "The payload is truncated or was changed: make or fetch it again. Nothing was sent.",
    )
