# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The layers of an image, read member by member: checked against their digests, and held to limits, while they are read.

What becomes of the members is up to the caller: ``_payload.extract`` makes artifacts of them, ``_installer.rootfs`` a root.
"""

from __future__ import annotations

import contextlib
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import tar as tar_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image, Layer
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source

#: A caller's function for each member of an archive. It also gets the archive, to read the member's content.
Visit = t.Callable[[tarfile.TarInfo, tarfile.TarFile], None]

#: How a compressed archive is read: ahead or not. Both count the bytes.
_Reading = t.Union[t.Type[streams.Ahead], t.Type[streams.Counted]]

#: What refusals say that a payload should be, where only its artifacts count.
_ARTIFACTS = "artifacts that are plain files, directories and links inside the payload"

#: An archive may unpack to this many bytes whatever the ratio: guest images have long runs of zeros, which pack to almost nothing.
_UNSUSPICIOUS = 1 << 30

#: Remedies for a layer that cannot be read. Its digest tells the cause.
_CHANGED = (
    "These are not the bytes that the image's manifest names: fetch or make the archive again. Nothing was installed."
)
_BUILT = (
    "Its digest is right, so the image was built like that: build it again, or use another one. Nothing was installed."
)
#: For these, nobody named the digest before: it was read from the tarball or the directory itself.
_TARBALLS = ("file", "directory")
_WRITTEN = "Start again when whatever writes there has come to its end. Nothing was installed."
_UNKNOWN = "Compare it with the original, by its publisher's digest, and fetch or make it again. Nothing was installed."


@dataclass(frozen=True)
class Limits:
    """Bounds on what a payload may unpack to (``coco_limits``): above the largest payload published, below a full disk.

    ``bytes`` counts all layers unpacked, ``members`` those of all archives; ``ratio`` is unpacked to packed bytes in each archive.
    """

    bytes: int = 32 << 30
    members: int = 200_000
    ratio: int = 2000


def limits_of(asked: t.Mapping[str, t.Any] | None) -> Limits:
    """Return the limits that the user sets, with the defaults for the others."""
    values = {name: value for name, value in (asked or {}).items() if value is not None}
    if any(value < 1 for value in values.values()):
        raise Refusal(
            "positive numbers in coco_limits",
            str(values),
            "Write numbers from 1 on, or leave out what is to be as usual.",
        )
    return Limits(**values)


class Layers:
    """The layers of one image.

    ``progress`` gets the number of bytes read so far, as they are stored. ``expected`` is what the refusal of a member says that
    the payload should be.
    """

    def __init__(
        self,
        source: Source,
        image: Image,
        limits: Limits,
        progress: t.Callable[[int], None],
        expected: str = _ARTIFACTS,
    ) -> None:
        self._source = source
        self._image = image
        self._limits = limits
        self._progress = progress
        self._expected = expected
        self._members = 0
        self._bytes = 0
        self._stored = 0
        self._unfolded = 0
        #: The digests of the layers that were read, in that order.
        self.digests: list[str] = []

    def read(self, layer: Layer, visit: Visit) -> None:
        """Read a layer to its end. Raises a refusal, after its members were visited, when its bytes do not have its digest.

        A layer without a digest is one that nobody has read before: there is nothing to compare.
        """
        with self._source.open_layer(layer) as stored:
            checked = streams.Checked(streams.unbuffered(stored), self._progress, self._stored)
            try:
                self._archive(t.cast("t.IO[bytes]", checked), layer.compression, visit, streams.Ahead)
                while checked.read(streams.BLOCK):
                    pass
            except tar_module.BROKEN as error:
                raise self.damaged(layer, str(error)) from error
        self._stored += checked.count
        self.digests.append(checked.digest())
        if layer.digest not in ("", checked.digest()):
            raise self._changed(layer, f"digest {checked.digest()}")

    def archive(self, stored: t.IO[bytes], compression: str, visit: Visit) -> None:
        """Read one tar archive inside a layer to its end. The layer is read ahead already."""
        self._archive(stored, compression, visit, streams.Counted)

    def _archive(self, stored: t.IO[bytes], compression: str, visit: Visit, reading: _Reading) -> None:
        def counted(member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
            self._members += 1
            if self._members > self._limits.members:
                raise self.too_large(member.name, f"more than {self._limits.members} members so far")
            visit(member, tar)

        with contextlib.ExitStack() as closing:
            plain = self._opened(closing, stored, compression, reading)
            _visit(plain, counted)
            self._bytes += plain.tell()

    def ahead(self, visit: Visit) -> None:
        """Look at the members of all layers, the last layer first, without checking digests: for a file that decides how the
        layers are read. ``visit`` raises StopIteration once it has found that file.
        """
        for layer in reversed(self._image.layers):
            with contextlib.ExitStack() as closing:
                stored = closing.enter_context(self._source.open_layer(layer))
                try:
                    _visit(self._opened(closing, stored, layer.compression, streams.Ahead), visit)
                except StopIteration:
                    return
                except tar_module.BROKEN as error:
                    raise self.damaged(layer, str(error)) from error

    def _opened(
        self, closing: contextlib.ExitStack, stored: t.IO[bytes], compression: str, reading: _Reading
    ) -> streams.Ahead:
        """Open one archive. One thread reads the stored bytes, a second one decompresses them, the caller's uses them."""
        if not compression:
            return closing.enter_context(streams.Ahead(self._bounded(stored, lambda: self._limits.bytes)))
        packed = closing.enter_context(reading(stored))
        opened = closing.enter_context(streams.decompressed(t.cast("t.IO[bytes]", packed), compression))
        return closing.enter_context(streams.Ahead(self._bounded(opened, packed.tell)))

    def unfold(self, member: tarfile.TarInfo) -> None:
        """Count what a member takes on disk. A sparse one can have any size and take no bytes of the archive."""
        self._unfolded += member.size
        if self._unfolded > self._limits.bytes:
            raise self.too_large(member.name, f"more than {self._limits.bytes} bytes")

    def hostile(self, name: str, found: str) -> Refusal:
        """Return the refusal of a member, by its name."""
        return Refusal(
            self._expected,
            f"{name!r} in {self._source.title}: {found}",
            "Do not use this payload unless you know why it is like that. Nothing was installed.",
        )

    def too_large(self, name: str, found: str) -> Refusal:
        """Return the refusal of what exceeds the limits."""
        return Refusal(
            "a payload within the limits that coco_limits sets",
            f"{name!r} in {self._source.title}: {found}",
            "Raise them, if this payload should be that large; otherwise do not use it. Nothing was installed.",
        )

    def damaged(self, layer: Layer, found: str) -> Refusal:
        """Return the refusal of a layer that could not be read to its end. Its digest tells the cause."""
        with self._source.open_layer(layer) as stored:
            checked = streams.Checked(stored)
            try:
                while checked.read(streams.BLOCK):
                    pass
            except tar_module.BROKEN as error:
                return self._changed(layer, f"{found}; {error}")
        digest = checked.digest()
        if layer.digest not in ("", digest):
            return self._changed(layer, f"digest {digest}; {found}")
        if self._image.digest_kind in _TARBALLS:
            return Refusal(f"a whole tar archive with digest {digest} in {self._source.title}", found, _UNKNOWN)
        return Refusal(f"layer {layer.digest} in {self._source.title}", found, _BUILT)

    def _changed(self, layer: Layer, found: str) -> Refusal:
        """Return the refusal of a layer that is not what its digest says."""
        if self._image.digest_kind in _TARBALLS:
            expected = f"{self._source.title} to stay as it was when its digest was read, {layer.digest}"
            return Refusal(expected, found, _WRITTEN)
        return Refusal(f"layer {layer.digest} in {self._source.title}", found, _CHANGED)

    def _bounded(self, plain: t.IO[bytes], packed: t.Callable[[], int]) -> t.IO[bytes]:
        """Hold an unpacked stream to the limits. ``packed`` returns how many packed bytes it came from so far."""
        limits = self._limits

        def allowed() -> int:
            return min(limits.bytes - self._bytes, max(limits.ratio * packed(), _UNSUSPICIOUS))

        def refuse() -> Refusal:
            return self.too_large(
                self._source.title,
                f"more than {limits.bytes} bytes, or more than {limits.ratio} times as many as before unpacking",
            )

        return t.cast("t.IO[bytes]", streams.Bounded(plain, allowed, refuse))


def _visit(plain: streams.Ahead, visit: Visit) -> None:
    for member, tar in tar_module.members(t.cast("t.IO[bytes]", plain)):
        try:
            visit(member, tar)
        except tar_module.BROKEN as error:
            # The member may be an archive itself: name it, so that the user knows which of the two is damaged.
            raise tar_module.Damage(f"{member.name!r}: {error}") from error
