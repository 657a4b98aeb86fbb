# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From an archive's layers to a tree of artifacts: verified while it is read, confined to one directory.

The tree maps each path below the prefix to what is there:
``{"type": "file", "mode": int, "size": int, "digest": "sha256:…"}``, ``{"type": "link", "target": str}`` or
``{"type": "directory", "mode": int}``.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import posixpath
import tarfile
import typing as t
import zlib
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._archive import Archive, Image, Layer
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Entry = t.Dict[str, t.Any]
Tree = t.Dict[str, Entry]

_BLOCK = 1 << 20
#: Smallest run of zeros that becomes a hole.
_HOLE = 64 << 10
_ZEROS = bytes(_HOLE)
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

#: Bounds on what an archive may unfold to: far above the largest payload published, far below a full disk.
LARGEST_PAYLOAD = 32 << 30
MOST_MEMBERS = 200_000


@dataclass
class Unpacked:
    """What was found in an image: its layout and the tree of its artifacts."""

    layout: _layouts.Layout | None = None
    tree: Tree = field(default_factory=dict)


def unpack(archive: Archive, image: Image, destination: str | None) -> Unpacked:
    """Read every layer of ``image``, check it, and write the artifacts to the empty directory ``destination``.

    Without a destination nothing is written: the result is the plan. With one, the caller removes it when this raises.
    """
    unpacker = _Unpacker(archive.path, destination)
    for number, layer in enumerate(image.layers):
        with archive.open_layer(layer) as stored:
            unpacker.layer(number, layer, stored)
    result = unpacker.result
    if result.layout is None:
        known = ", ".join("/" + layout.root for layout in _layouts.LAYOUTS)
        raise Refusal(
            f"an image with the artifacts of the runtime ({known})",
            f"/{_layouts.ARTIFACTS} with another layout ({', '.join(sorted(unpacker.elsewhere))})"
            if unpacker.elsewhere
            else f"an image without /{_layouts.ARTIFACTS}",
            "Check that coco_payload names a runtime payload image, of a layout that this version supports.",
        )
    return result


class _Unpacker:
    def __init__(self, source: str, destination: str | None) -> None:
        self._source = source
        self._destination = destination
        self._layer_of: dict[str, int] = {}
        self._members = 0
        self._bytes = 0
        self.result = Unpacked()
        #: Directories right below the artifacts' place that no layout knows: for the error message.
        self.elsewhere: set[str] = set()

    def layer(self, number: int, layer: Layer, stored: t.IO[bytes]) -> None:
        checked = _Checked(stored)
        if layer.compression == "zstd":
            raise Refusal(
                "layers compressed with gzip, or plain ones",
                f"layer {layer.digest} of {self._source} compressed with zstd",
                "Convert it: skopeo copy --dest-compress-format gzip.",
            )
        plain: t.IO[bytes] = gzip.GzipFile(fileobj=checked) if layer.compression == "gzip" else checked  # type: ignore[assignment]
        try:
            with tarfile.open(fileobj=plain, mode="r|", bufsize=_BLOCK) as tar:
                for member in tar:
                    self._member(number, member, tar)
            for stream in (plain, checked):
                while stream.read(_BLOCK):
                    pass
        except (
            tarfile.TarError,
            EOFError,
            zlib.error,
            gzip.BadGzipFile,
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:
            raise self._damaged(layer, str(error)) from error
        if checked.digest() != layer.digest:
            raise self._damaged(layer, f"digest {checked.digest()}")

    def _damaged(self, layer: Layer, found: str) -> Refusal:
        return Refusal(
            f"layer {layer.digest} in {self._source}",
            found,
            "The archive is truncated or was changed: make or fetch it again. Nothing was installed.",
        )

    def _hostile(self, name: str, found: str) -> Refusal:
        return Refusal(
            "artifacts that are plain files, directories and links inside the payload",
            f"{name!r} in {self._source}: {found}",
            "Do not use this payload unless you know why it is like that. Nothing was installed.",
        )

    def _member(self, number: int, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        self._members += 1
        self._bytes += member.size if member.isreg() else 0
        if self._members > MOST_MEMBERS or self._bytes > LARGEST_PAYLOAD:
            raise self._hostile(member.name, f"more than {MOST_MEMBERS} members or {LARGEST_PAYLOAD} bytes so far")
        path = posixpath.normpath(member.name.lstrip("/"))
        directory, name = posixpath.split(path)
        if name.startswith(_WHITEOUT):
            self._whiteout(number, directory, name)
            return
        located = _layouts.locate(path)
        if located is None:
            self._note_elsewhere(path)
            if ".." in member.name.split("/") and _layouts.ARTIFACTS in member.name:
                raise self._hostile(member.name, "a name that climbs out of its directory")
            return
        layout, relative = located
        if self.result.layout is not None and self.result.layout is not layout:
            raise self._hostile(member.name, f"a second layout beside /{self.result.layout.root}")
        self.result.layout = layout
        if ".." in member.name.split("/") or member.name.startswith("/"):
            raise self._hostile(member.name, "an absolute name or one that climbs out of its directory")
        try:
            (path + member.linkname).encode()
        except UnicodeEncodeError as error:
            raise self._hostile(member.name, "a name that is not UTF-8") from error
        if "\0" in path + member.linkname:
            raise self._hostile(member.name, "a NUL in its name")
        if relative:
            self._artifact(number, layout, relative, member, tar)

    def _note_elsewhere(self, path: str) -> None:
        relative = _layouts.inside(path, _layouts.ARTIFACTS)
        if relative and relative != "opt" and not relative.startswith("scripts"):
            self.elsewhere.add("/".join(relative.split("/")[:2]))

    def _whiteout(self, number: int, directory: str, name: str) -> None:
        """Remove what a lower layer had: one entry, or the whole content of an opaque directory."""
        root = self.result.layout.root if self.result.layout else ""
        if not root:
            return
        if name == _WHITEOUT:
            return
        hidden = directory if name == _OPAQUE else posixpath.join(directory, name[len(_WHITEOUT) :])
        below = "" if f"{root}/".startswith(f"{hidden}/") else _layouts.inside(hidden, root)
        if below is None:
            return
        for entry in sorted(self.result.tree, reverse=True):
            covered = not below or _layouts.inside(entry, below) is not None
            # What this layer itself brought stays, wherever its whiteouts stand.
            keep = self._layer_of[entry] == number or (name == _OPAQUE and entry == below)
            if covered and not keep:
                self._remove(entry)

    def _remove(self, path: str) -> None:
        entry = self.result.tree.pop(path)
        if self._destination is not None:
            target = self._on_disk(path)
            if entry["type"] == "directory":
                os.rmdir(target)
            else:
                os.unlink(target)

    def _artifact(
        self, number: int, layout: _layouts.Layout, path: str, member: tarfile.TarInfo, tar: tarfile.TarFile
    ) -> None:
        if not (member.isdir() or member.isreg() or member.issym() or member.islnk()):
            raise self._hostile(member.name, "a device, a FIFO or another special file")
        if member.mode & 0o6000 and not member.issym():
            raise self._hostile(member.name, "a setuid or setgid bit")
        self._parents(number, posixpath.dirname(path), member.name)
        self._layer_of[path] = number
        before = self.result.tree.get(path)
        # A file that is writable by everybody would let everybody run code as root.
        mode = member.mode & 0o775
        if member.isdir():
            if before is None or before["type"] != "directory":
                self._replace(path)
                self._directory(path)
            self.result.tree[path] = {"type": "directory", "mode": mode}
            if self._destination is not None:
                os.chmod(self._on_disk(path), mode)
            return
        self._replace(path)
        if member.issym():
            self._check_link(layout, path, member)
            self.result.tree[path] = {"type": "link", "target": member.linkname}
            if self._destination is not None:
                os.symlink(member.linkname, self._on_disk(path))
        elif member.islnk():
            located = _layouts.locate(posixpath.normpath(member.linkname))
            target = located[1] if located and located[0] is layout else ""
            if self.result.tree.get(target, {}).get("type") != "file":
                raise self._hostile(member.name, f"a hard link to {member.linkname!r}, which is no artifact")
            self.result.tree[path] = dict(self.result.tree[target])
            if self._destination is not None:
                os.link(self._on_disk(target), self._on_disk(path))
        else:
            if posixpath.basename(posixpath.dirname(path)) == "bin":
                mode |= 0o111
            stream = t.cast(t.IO[bytes], tar.extractfile(member))
            digest = self._file(path, mode, member, stream)
            self.result.tree[path] = {"type": "file", "mode": mode, "size": member.size, "digest": digest}

    def _parents(self, number: int, path: str, name: str) -> None:
        """Make sure that every parent is a directory of the tree: nothing is ever written through a link."""
        if not path:
            return
        entry = self.result.tree.get(path)
        if entry is None:
            self._parents(number, posixpath.dirname(path), name)
            self.result.tree[path] = {"type": "directory", "mode": 0o755}
            self._layer_of[path] = number
            self._directory(path)
        elif entry["type"] != "directory":
            raise self._hostile(name, f"it lies below {path!r}, which is no directory")
        else:
            self._parents(number, posixpath.dirname(path), name)
            self._layer_of[path] = number

    def _replace(self, path: str) -> None:
        """Make room for an entry of a higher layer."""
        if path in self.result.tree:
            for entry in sorted(self.result.tree, reverse=True):
                if _layouts.inside(entry, path) is not None:
                    self._remove(entry)

    def _directory(self, path: str) -> None:
        if self._destination is not None:
            os.mkdir(self._on_disk(path))
            os.chmod(self._on_disk(path), 0o755)

    def _check_link(self, layout: _layouts.Layout, path: str, member: tarfile.TarInfo) -> None:
        target = member.linkname
        if target.startswith("/"):
            allowed = _layouts.inside(target, layout.prefix) is not None and ".." not in target.split("/")
        else:
            resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            allowed = target != "" and resolved != ".." and not resolved.startswith("../")
            # Only leading steps up are sure: one behind a name could start where a link leads to.
            allowed = allowed and ".." not in target.lstrip("./").split("/")
        if not allowed:
            raise self._hostile(member.name, f"a link to {target!r}, outside of the artifacts")

    def _file(self, path: str, mode: int, member: tarfile.TarInfo, stream: t.IO[bytes]) -> str:
        digest = hashlib.sha256()
        if self._destination is None:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
            return "sha256:" + digest.hexdigest()
        descriptor = os.open(self._on_disk(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as target:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
                _write_with_holes(target, block)
            target.truncate(member.size)
            os.fchmod(target.fileno(), mode)
            os.utime(target.fileno(), (member.mtime, member.mtime))
        return "sha256:" + digest.hexdigest()

    def _on_disk(self, path: str) -> str:
        return os.path.join(t.cast(str, self._destination), path)


def _write_with_holes(target: io.FileIO, block: bytes) -> None:
    """Write a block, leaving holes for long runs of zeros: guest images are sparse."""
    if _ZEROS not in block:
        _write_all(target, block)
        return
    for start in range(0, len(block), _HOLE):
        part = block[start : start + _HOLE]
        if part == _ZEROS[: len(part)]:
            target.seek(len(part), io.SEEK_CUR)
        else:
            _write_all(target, part)


def _write_all(target: io.FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[target.write(view) :]


class _Checked(io.RawIOBase):
    """A stream that remembers the digest of all that was read from it."""

    def __init__(self, stream: t.IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        return data

    def digest(self) -> str:
        return "sha256:" + self._digest.hexdigest()
