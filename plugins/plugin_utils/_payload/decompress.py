# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For a node that cannot read zstd: layers, and the tarballs of components in them, are decompressed on the controller."""

from __future__ import annotations

import functools
import os
import posixpath
import shutil
import tarfile
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Layers, Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tar import BROKEN, members
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source


def layers(source: Source, image: Image, directory: str, limits: Limits) -> dict[str, tuple[str, str]]:
    """Write each layer that is zstd, or has zstd in it, to a directory, as a plain archive of plain archives.

    Returns a mapping from the layer's digest to the path of the plain archive and its digest. Each layer is checked first.
    """
    reading = Layers(source, image, limits, lambda done: None)
    made = {}
    for number, layer in enumerate(image.layers):
        packed: list[str] = []
        reading.read(layer, functools.partial(_note_packed, packed))
        if "zstd" not in (layer.compression, layer.unpacked_from) and not packed:
            continue
        path = os.path.join(directory, str(number))
        with (
            source.open_layer(layer) as stored,
            open(path, "wb") as target,
            streams.decompressed(stored, layer.compression) as plain,
        ):
            shutil.copyfileobj(plain, target, streams.BLOCK)
        if packed:
            try:
                _unpack_members(path, limits)
            except BROKEN as error:
                raise reading.damaged(layer, str(error)) from error
        made[layer.digest] = (path, files.sha256_file(path))
    return made


def _note_packed(found: list[str], member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    if _is_packed(member, tar):
        found.append(member.name)


def _is_packed(member: tarfile.TarInfo, tar: tarfile.TarFile) -> bool:
    """Tell whether a member is a component's tarball that is compressed with zstd."""
    place = posixpath.dirname(posixpath.normpath(member.name.lstrip("/")))
    if place != layouts.COMPONENTS or not member.isreg():
        return False
    return streams.compression_of(t.cast("t.IO[bytes]", tar.extractfile(member)).read(8)) == "zstd"


def _unpack_members(path: str, limits: Limits) -> None:
    """Replace the tarballs that are compressed with zstd by plain ones. Everything else keeps its bytes."""

    def too_large() -> Refusal:
        return Refusal(
            f"at most {limits.bytes} bytes in any tarball of the payload (coco_limits)",
            "one that unpacks to more",
            "Do not use this payload unless you know why it is like that. Nothing was sent.",
        )

    new = f"{path}.new"
    with open(path, "rb") as reading, open(path, "rb") as copying, open(new, "wb") as target:
        for member, tar in members(reading):
            if not _is_packed(member, tar):
                continue
            _copy(copying, target, member.offset - copying.tell())
            with open(f"{path}.member", "w+b") as unpacked:
                content = t.cast("t.IO[bytes]", tar.extractfile(member))
                with streams.decompressed(content, "zstd") as plain:
                    bounded = streams.Bounded(plain, lambda: limits.bytes, too_large)
                    shutil.copyfileobj(t.cast("t.IO[bytes]", bounded), unpacked, streams.BLOCK)
                header = tarfile.TarInfo(member.name)
                header.mode, header.mtime, header.size = member.mode, member.mtime, unpacked.tell()
                target.write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
                unpacked.seek(0)
                _copy(unpacked, target, header.size)
            target.write(bytes(-header.size % tarfile.BLOCKSIZE))
            copying.seek(member.offset_data + member.size + -member.size % tarfile.BLOCKSIZE)
        shutil.copyfileobj(copying, target, streams.BLOCK)
    os.unlink(f"{path}.member")
    os.replace(new, path)


def _copy(source: t.IO[bytes], target: t.IO[bytes], size: int) -> None:
    while size:
        block = source.read(min(size, streams.BLOCK))
        if not block:
            raise EOFError("a file became shorter while it was read")
        target.write(block)
        size -= len(block)
