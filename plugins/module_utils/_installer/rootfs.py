# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From an image's layers to a root file system, in which the payload's own installer runs.

The result is what a container runtime makes of the layers: a link or a name that would lead out of the root leads back into it.
Devices, FIFOs, sockets, setuid and setgid bits and extended attributes are left out, because an installer that runs as root does
not need them. ``_payload.extract`` checks artifacts name by name; here nearly every name is allowed, because nothing can get out.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import tarfile
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Layers, Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tar import content
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source

_EXPECTED = "an image that is an ordinary root file system"
_BLOCK = streams.BLOCK
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

#: The most steps from the root to a path, with those that links add. A longer path is a loop of links, or meant to do harm.
_STEPS = 256
#: The most bytes of a path: the kernel's PATH_MAX.
_LONGEST = 4096
#: The ids of users and groups. The last 32-bit number is none: it tells chown to leave the id as it is.
_IDS = range((1 << 32) - 1)

#: Errors of the kernel for a member that no file system could take.
_IMPOSSIBLE = {
    errno.ENAMETOOLONG: "a name or a link's target that is too long",
    errno.ELOOP: f"more than {_STEPS} directories and links to its place",
    errno.EEXIST: "it lies below what is no directory",
    errno.ENOTDIR: "it lies below what is no directory",
    errno.EMLINK: "more hard links to one file than the file system allows",
}


def unpack(
    source: Source,
    image: Image,
    destination: str,
    limits: Limits | None = None,
    progress: t.Callable[[int], None] = lambda done: None,
) -> None:
    """Read every layer of ``image``, check it, and write the whole to the empty directory ``destination``.

    Nobody else may have access to the destination meanwhile, so it must be in a directory that only root can enter. The caller
    removes it when this raises. ``progress`` gets the number of bytes read so far of the layers, as they are stored.
    """
    limits = limits or Limits()
    layers = Layers(source, image, limits, progress, _EXPECTED)
    unpacker = _Unpacker(layers, destination, limits.members)
    for layer in image.layers:
        unpacker.begin()
        layers.read(layer, unpacker.member)


def resolve(root: str, path: str) -> str:
    """Return the node's path for a path in a root file system. Links are followed as a process in that root follows them.

    The path need not exist.
    """
    try:
        return _on_node(root, _follow(root, path))
    except OSError as error:
        raise Refusal(
            f"{path} to lead somewhere in the payload's root file system",
            _IMPOSSIBLE[errno.ELOOP],
            "Name another path, or use another payload.",
        ) from error


def make_mount_point(root: str, path: str, directory: bool) -> str:
    """Make sure that a directory or a file is there to mount something over it, and return its path on the node."""
    place = resolve(root, path)
    try:
        files.make_directories(place if directory else os.path.dirname(place))
        if not directory and not os.path.lexists(place):
            descriptor = _new_file(place)
            os.fchmod(descriptor, 0o644)
            os.close(descriptor)
    except (FileExistsError, NotADirectoryError):
        pass  # there is a file where a directory should be
    if not os.path.lexists(place) or os.path.isdir(place) != directory:
        raise Refusal(
            f"{path} in the payload's root file system to be a {'directory' if directory else 'file'} to mount over",
            "a directory" if os.path.isdir(place) else "a file there, or above it",
            "Correct coco_installer_volume_mounts: a directory is mounted over a directory, anything else over a file.",
        )
    return place


def _on_node(root: str, path: str) -> str:
    return os.path.join(root, path) if path else root


def _follow(root: str, path: str) -> str:
    """Return where a path in the root leads, relative to the root and without links. It need not exist.

    As in a container, an absolute link starts at the root again, and there is nothing above the root.
    """
    done: list[str] = []
    rest = path.split("/")[::-1]
    for _step in range(_STEPS):
        while rest and rest[-1] in ("", "."):
            rest.pop()
        if not rest:
            return "/".join(done)
        part = rest.pop()
        if part == "..":
            del done[-1:]
            continue
        try:
            target = os.readlink("/".join([root, *done, part]))
        except OSError:
            done.append(part)  # no link, or nothing
            continue
        if target.startswith("/"):
            done = []
        rest += target.split("/")[::-1]
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _is_directory(place: str) -> bool:
    return os.path.isdir(place) and not os.path.islink(place)


def _new_file(place: str) -> int:
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


class _Unpacker:
    def __init__(self, layers: Layers, root: str, directories: int) -> None:
        self._layers = layers
        self._root = root
        #: How many directories may still be made for members that come without their parents.
        self._directories = directories
        #: The real paths that the current layer has brought, and all their parents.
        self._brought: set[str] = set()
        #: Maps a directory's name in members to its real path. These directories exist, and the current layer has brought them.
        self._places: dict[str, str] = {}
        self._owners = os.geteuid() == 0

    def begin(self) -> None:
        """Get ready for the members of the next layer."""
        self._brought.clear()
        self._places.clear()

    def member(self, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Take a member over."""
        path = self._inside(member, member.name)
        if not path:
            # This is the root itself. Its mode stays the one that we gave it.
            if not member.isdir():
                raise self._layers.hostile(member.name, "no name")
            return
        directory, name = posixpath.split(path)
        try:
            if name.startswith(_WHITEOUT):
                self._whiteout(directory, name, member)
            else:
                self._entry(posixpath.join(self._directory(directory, member), name), member, tar)
        except OSError as error:
            if error.errno in _IMPOSSIBLE:
                raise self._layers.hostile(member.name, _IMPOSSIBLE[error.errno]) from error
            raise

    def _inside(self, member: tarfile.TarInfo, name: str) -> str:
        """Return a name as a path relative to the root, '' for the root itself. Its links are not followed yet."""
        for text in (member.name, member.linkname):
            if len(text) >= _LONGEST:
                short = member.name[:100] + "…" * (len(member.name) > 100)
                raise self._layers.hostile(short, f"a name or a link's target of {len(text)} characters")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise self._layers.hostile(member.name, "a name or a link's target that is not UTF-8") from error
            if "\0" in text:
                raise self._layers.hostile(member.name, "a NUL in its name or its link's target")
        # As in container runtimes, an absolute name starts at the root, and a name may climb if it stays inside.
        path = posixpath.normpath(name.lstrip("/"))
        if path == ".." or path.startswith("../"):
            raise self._layers.hostile(member.name, "a name that climbs out of the root")
        return "" if path == "." else path

    def _directory(self, name: str, member: tarfile.TarInfo) -> str:
        """Return the real path of a member's directory, which is made if it is missing."""
        place = self._places.get(name)
        if place is None:
            place = _follow(self._root, name)
            # One name can need many directories, which the limit on the archive's members does not count.
            self._directories -= len(files.missing_directories(_on_node(self._root, place)))
            if self._directories < 0:
                raise self._layers.too_large(member.name, "more directories than members are allowed")
            files.make_directories(_on_node(self._root, place))
            above = place
            while above:
                self._brought.add(above)
                above = posixpath.dirname(above)
            self._places[name] = place
        return place

    def _whiteout(self, directory: str, name: str, member: tarfile.TarInfo) -> None:
        """Remove what lower layers brought: one entry, or the whole content of an opaque directory."""
        place = _follow(self._root, directory)
        hidden = name[len(_WHITEOUT) :]
        if name == _OPAQUE:
            if os.path.isdir(_on_node(self._root, place)):
                for child in os.listdir(_on_node(self._root, place)):
                    self._hide(posixpath.join(place, child))
        elif hidden in ("", ".", ".."):
            raise self._layers.hostile(member.name, "a whiteout of no file")
        else:
            self._hide(posixpath.join(place, hidden))

    def _hide(self, path: str) -> None:
        """Remove what lower layers brought to a path. What this layer brought stays, in whatever order its members come."""
        place = _on_node(self._root, path)
        if path not in self._brought:
            self._remove(place)
        elif _is_directory(place):
            for name in os.listdir(place):
                self._hide(posixpath.join(path, name))

    def _remove(self, place: str) -> None:
        """Remove whatever is at a place, if there is anything."""
        try:
            found = os.lstat(place).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(found):
            files.remove_tree(place)
        else:
            os.unlink(place)
        if not stat.S_ISREG(found):
            # It may have been one of these directories, or a link to one.
            self._places.clear()

    def _entry(self, path: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        if member.uid not in _IDS or member.gid not in _IDS:
            raise self._layers.hostile(member.name, f"an impossible owner ({member.uid}:{member.gid})")
        place = _on_node(self._root, path)
        self._brought.add(path)
        if not (member.isdir() and _is_directory(place)):
            self._remove(place)
            if member.isdir():
                os.mkdir(place)
        if member.isdir():
            self._own_directory(place, member)
        elif member.isreg():
            self._layers.unfold(member)
            self._write(place, member, content(member, tar))
        elif member.issym():
            self._link(place, member)
        elif member.islnk():
            self._hard_link(place, member)
        elif not member.isdev():  # a device or a FIFO replaces what was there, but is not made
            raise self._layers.hostile(member.name, f"a member of type {member.type!r}, which nobody knows")

    def _own_directory(self, place: str, member: tarfile.TarInfo) -> None:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._own(descriptor, member, member.mode & 0o1777)
        finally:
            os.close(descriptor)

    def _write(self, place: str, member: tarfile.TarInfo, stream: t.IO[bytes]) -> None:
        with os.fdopen(_new_file(place), "wb", buffering=0) as target:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                files.write_with_holes(target, block)
            target.truncate()
            self._own(target.fileno(), member, member.mode & 0o777)
            try:
                os.utime(target.fileno(), (member.mtime, member.mtime))
            except (ValueError, OverflowError) as error:
                raise self._layers.hostile(member.name, f"an impossible time ({member.mtime})") from error

    def _own(self, descriptor: int, member: tarfile.TarInfo, mode: int) -> None:
        if self._owners:
            os.fchown(descriptor, member.uid, member.gid)
        os.fchmod(descriptor, mode)

    def _link(self, place: str, member: tarfile.TarInfo) -> None:
        if not member.linkname:
            raise self._layers.hostile(member.name, "a link to nothing")
        os.symlink(member.linkname, place)
        if self._owners:
            os.chown(place, member.uid, member.gid, follow_symlinks=False)

    def _hard_link(self, place: str, member: tarfile.TarInfo) -> None:
        directory, name = posixpath.split(self._inside(member, member.linkname))
        target = _on_node(self._root, posixpath.join(_follow(self._root, directory), name))
        if not os.path.lexists(target) or _is_directory(target):
            raise self._layers.hostile(member.name, f"a hard link to {member.linkname!r}, which is no other file in it")
        os.link(target, place, follow_symlinks=False)
