# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""From an image's layers to a tree of artifacts: verified while they are read, confined to one directory.

``unpack`` is the way in. ``_extraction.staging`` calls it on a node, ``plugin_utils/_payload/foresee`` on the controller.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tarfile
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import (
    Components,
    Needed,
    component_of,
    parse,
    wanted,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import (
    Layers,
    Limits,
    Visit,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.relocate import Relocation
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tar import content
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree, TreeEntry

#: A caller's function that makes and returns the directory for the artifacts. The directory depends on the prefix, so it is
#: called once the payload's layout is known.
Begin = t.Callable[[layouts.Layout], str]

_BLOCK = streams.BLOCK
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
#: The kernel is told at once to write files of this size and more, so that the sync at the end has less to wait for.
_LARGE = 256 << 10
#: Configuration files are some KiB; they are read whole.
_LARGEST_TEXT = 4 << 20
_PLACEHOLDER = b"PLACEHOLDER_FOR_DISTRO_"
#: A tar archive's key for the only extended attribute that artifacts have.
_IN_TAR = f"SCHILY.xattr.{files.CAPABILITY}"
#: ELF's e_machine, in the spelling of image manifests.
_MACHINES = {21: "ppc64le", 22: "s390x", 62: "amd64", 183: "arm64"}


@dataclass(frozen=True)
class How:
    """How to unpack a payload: for which ``prefix`` (None: its own), and for a node of which ``architecture``.

    ``choose`` gets the shims that a payload in components offers, and returns those that are wanted. ``progress`` gets the
    number of bytes read so far of the layers, as they are stored.
    """

    prefix: str | None = None
    architecture: str = ""
    limits: Limits = field(default_factory=Limits)
    choose: t.Callable[[t.Collection[str]], t.Collection[str]] = list
    progress: t.Callable[[int], None] = lambda done: None


@dataclass
class Unpacked:
    """What was found in an image: its layout, the tree of its artifacts, and its components if it comes in components.

    ``digests`` are those of its layers as they are stored. They do not count when two results are compared, because the same
    artifacts can be packed in different ways.
    """

    layout: layouts.Layout | None = None
    tree: Tree = field(default_factory=dict)
    components: Components | None = None
    digests: t.Sequence[str] = field(default=(), compare=False)


def unpack(source: Source, image: Image, begin: Begin | None, how: How = How()) -> Unpacked:
    """Read every layer of ``image``, check it, and write the artifacts to the empty directory that ``begin`` returns.

    Without ``begin`` nothing is written, and the result is the plan. With it, the caller removes the directory when this raises.
    """
    unpacker = _Unpacker(source, image, begin, how)
    unpacker.layers()
    result = unpacker.finish()
    unpacker.compare()
    return result


class _Unpacker:
    def __init__(self, source: Source, image: Image, begin: Begin | None, how: How) -> None:
        self._source = source
        self._image = image
        self._begin = begin
        self._destination: str | None = None
        self._how = how
        self._prefix = posixpath.normpath(how.prefix) if how.prefix else None
        #: Maps each path to the number of the archive that brought it. Each layer is an archive, and each component's tarball.
        self._archive_of: dict[str, int] = {}
        self._archives = 0
        self._layers = Layers(source, image, how.limits, how.progress)
        self._relocation: Relocation | None = None
        self.result = Unpacked()
        #: The paths that a further tarball of the same release has again, each with the entry there.
        self._again: list[tuple[str, TreeEntry]] = []
        #: The components whose tarballs were unpacked.
        self._components: set[str] = set()
        #: Directories beside the artifacts that no layout knows: for the refusal.
        self._elsewhere: set[str] = set()

    def layers(self) -> None:
        for layer in self._image.layers:
            self._layers.read(layer, self._visitor(self._image.bases))
        self.result.digests = self._layers.digests

    def _visitor(self, bases: t.Sequence[str]) -> Visit:
        """Return the function that takes over the members of the next archive."""
        self._archives += 1
        number = self._archives
        return lambda member, tar: self._member(number, member, tar, bases)

    def finish(self) -> Unpacked:
        """Refuse an image that holds no whole payload, and add the wrappers, which need the whole tree."""
        result = self.result
        absent = sorted(set(result.components.unpacked) - self._components) if result.components else []
        if absent:
            raise Refusal(
                f"the tarball of every component that /{layouts.COMPONENTS_MANIFEST} says a shim needs",
                f"none of {', '.join(absent)} in {self._source.title}",
                "Use another payload image: this one was built without them.",
            )
        if result.layout is None:
            known = ", ".join("/" + layout.root for layout in layouts.LAYOUTS)
            raise Refusal(
                f"a payload with the artifacts of the runtime ({known})",
                f"another layout ({', '.join(sorted(self._elsewhere))}) in {self._source.title}"
                if self._elsewhere
                else f"other files only in {self._source.title}",
                "Check that coco_payload names a runtime payload, of a layout that this version supports.",
            )
        if self._relocation:
            for path, text in self._relocation.wrappers(list(result.tree)).items():
                self._replace(path)
                result.tree[path] = self._file(path, 0o755, tarfile.TarInfo(path), io.BytesIO(text))
        return result

    def compare(self) -> None:
        """Refuse tarballs of one payload that have different things at the same path."""
        for path, entry in self._again:
            if entry != self.result.tree[path]:
                raise Refusal(
                    f"the same {path} in all tarballs that have it",
                    f"different ones in {self._source.title}",
                    "Name tarballs of one release, for one architecture.",
                )

    def _member(self, number: int, member: tarfile.TarInfo, tar: tarfile.TarFile, bases: t.Sequence[str]) -> None:
        path = posixpath.normpath(member.name.lstrip("/"))
        directory, name = posixpath.split(path)
        if name.startswith(_WHITEOUT):
            self._whiteout(number, directory, name)
            return
        if directory == layouts.COMPONENTS and member.isreg() and bases == self._image.bases:
            self._component(component_of(name), member, tar)
            return
        located = layouts.locate(path, bases)
        if located is None:
            self._note_elsewhere(path)
            if ".." in member.name.split("/") and (layouts.ARTIFACTS in member.name or "" in bases):
                raise self._layers.hostile(member.name, "a name that climbs out of its directory")
            return
        layout, relative = located
        if self.result.layout is not None and self.result.layout is not layout:
            raise self._layers.hostile(member.name, f"a second layout beside /{self.result.layout.root}")
        if self.result.layout is None and self._prefix not in (None, layout.prefix):
            self._relocation = Relocation(layout.prefix, self._prefix)
        if self.result.layout is None and self._begin:
            self._destination = self._begin(layout)
        self.result.layout = layout
        if ".." in member.name.split("/") or member.name.startswith("/"):
            raise self._layers.hostile(member.name, "an absolute name or one that climbs out of its directory")
        try:
            (path + member.linkname).encode()
        except UnicodeEncodeError as error:
            raise self._layers.hostile(member.name, "a name that is not UTF-8") from error
        if "\0" in path + member.linkname:
            raise self._layers.hostile(member.name, "a NUL in its name")
        if relative in layout.systems and member.isreg():
            self._system(layout.systems[relative], member, tar)
        place = layout.place(relative)
        if place:
            self._artifact(number, layout, place, member, tar, bases)

    def _system(self, directory: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Unpack the archive of a root file system, which a shim makes the root of a process.

        As in other images, devices and setuid bits are left out. Links stay as they are: they lead to places in that root.
        """
        self._archives += 1
        number = self._archives

        def visit(inner: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
            name = posixpath.normpath(inner.name.lstrip("/"))
            if ".." in name.split("/"):
                raise self._layers.hostile(inner.name, "a name that climbs out of its directory")
            if name != "." and (inner.isdir() or inner.isreg() or inner.issym() or inner.islnk()):
                inner.mode &= 0o1777
                target = posixpath.normpath(inner.linkname.lstrip("/")) if inner.islnk() else inner.linkname
                if inner.islnk() and ".." in target.split("/"):
                    raise self._layers.hostile(
                        inner.name, f"a hard link to {inner.linkname!r}, outside of its directory"
                    )
                target = posixpath.join(directory, target) if inner.islnk() else target
                self._entry(number, posixpath.join(directory, name), inner, archive, target)

        stored = io.BufferedReader(t.cast("io.RawIOBase", content(member, tar)))
        compression = streams.compression_of(stored.peek(8))
        self._layers.archive(t.cast("t.IO[bytes]", stored), compression, visit)

    def _component(self, component: str, member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        """Unpack the tarball of a component if one of the chosen shims needs it."""
        if self.result.components is None:
            needed = self._needed()
            chosen = wanted(needed, self._how.choose(needed))
            self.result.components = Components(needed, tuple(chosen))
        if component in self.result.components.unpacked:
            self._components.add(component)
            stored = io.BufferedReader(t.cast("io.RawIOBase", content(member, tar)))
            compression = streams.compression_of(stored.peek(8))
            self._layers.archive(t.cast("t.IO[bytes]", stored), compression, self._visitor(("",)))

    def _needed(self) -> Needed:
        """Look ahead for the manifest of components. It is in one of the last layers, which are small."""
        found: list[bytes] = []

        def look(member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
            if posixpath.normpath(member.name.lstrip("/")) == layouts.COMPONENTS_MANIFEST and member.isreg():
                found.append(t.cast("t.IO[bytes]", tar.extractfile(member)).read(_LARGEST_TEXT))
                raise StopIteration

        self._layers.ahead(look)
        if found:
            return parse(found[0], self._how.architecture)
        raise Refusal(
            f"/{layouts.COMPONENTS_MANIFEST} in a payload of components",
            f"none in {self._source.title}",
            "Check that coco_payload names a runtime payload image.",
        )

    def _note_elsewhere(self, path: str) -> None:
        relative = layouts.inside(path, layouts.ARTIFACTS)
        if relative and relative != "opt" and not relative.startswith(("scripts", "tarballs", "shim-components.json")):
            # A name that is not UTF-8 could not be printed.
            self._elsewhere.add("/".join(relative.split("/")[:2]).encode("utf-8", "replace").decode())

    def _whiteout(self, number: int, directory: str, name: str) -> None:
        """Remove what a lower layer brought: one entry, or the whole content of an opaque directory."""
        if self.result.layout is None or name == _WHITEOUT:
            return
        layout = self.result.layout
        root = layout.roots(self._image.bases)[0]
        hidden = directory if name == _OPAQUE else posixpath.join(directory, name[len(_WHITEOUT) :])
        below = "" if f"{root}/".startswith(f"{hidden}/") else layouts.inside(hidden, root)
        if below:
            below = layout.systems.get(below) or layout.place(below)
        if below is None:
            return
        for entry in sorted(self.result.tree, reverse=True):
            covered = not below or layouts.inside(entry, below) is not None
            # A whiteout hides lower layers only: what its own layer brought stays, in whatever order the members come.
            keep = self._archive_of[entry] == number or (name == _OPAQUE and entry == below)
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
        self,
        number: int,
        layout: layouts.Layout,
        path: str,
        member: tarfile.TarInfo,
        tar: tarfile.TarFile,
        bases: t.Sequence[str],
    ) -> None:
        if not (member.isdir() or member.isreg() or member.issym() or member.islnk()):
            raise self._layers.hostile(member.name, "a device, a FIFO or another special file")
        if member.mode & 0o6000 and not member.issym():
            raise self._layers.hostile(member.name, "a setuid or setgid bit")
        target = ""
        if member.issym():
            self._check_link(layout, path, member)
            target = self._relocation.link(member.linkname) if self._relocation else member.linkname
        elif member.islnk():
            located = layouts.locate(posixpath.normpath(member.linkname), bases)
            target = (layout.place(located[1]) or "") if located and located[0] is layout else ""
        self._entry(number, path, member, tar, target)

    def _entry(self, number: int, path: str, member: tarfile.TarInfo, tar: tarfile.TarFile, target: str) -> None:
        """Take a member over. ``target`` is where a symbolic link leads; for a hard link, it is the path below the prefix."""
        self._parents(number, posixpath.dirname(path), member.name)
        before = self.result.tree.get(path)
        if before and self._archive_of[path] == number and not (member.isdir() and before["type"] == "directory"):
            raise self._layers.hostile(member.name, "twice in the same archive")
        # If everybody could write to a file, everybody could run code as root.
        mode = member.mode & 0o775
        if before and self._image.side_by_side and not (member.isdir() and before["type"] == "directory"):
            self._repeated(path, mode, member, tar, target)
            return
        self._archive_of[path] = number
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
            self.result.tree[path] = {"type": "link", "target": target}
            if self._destination is not None:
                os.symlink(target, self._on_disk(path))
        elif member.islnk():
            if self.result.tree.get(target, {}).get("type") != "file":
                raise self._layers.hostile(member.name, f"a hard link to {member.linkname!r}, which is no artifact")
            self.result.tree[path] = self.result.tree[target]
            if self._destination is not None:
                os.link(self._on_disk(target), self._on_disk(path))
        else:
            self.result.tree[path] = self._regular(path, mode, member, tar)

    def _repeated(self, path: str, mode: int, member: tarfile.TarInfo, tar: tarfile.TarFile, target: str) -> None:
        """Remember what a further tarball has at the path of an entry, for :meth:`compare`. Nothing is written."""
        if member.isreg():
            entry = self._regular(path, mode, member, tar, write=False)
        elif member.issym():
            entry = {"type": "link", "target": target}
        else:
            entry = {"type": "directory"} if member.isdir() else self.result.tree.get(target, {})
        self._again.append((path, entry))

    def _regular(
        self, path: str, mode: int, member: tarfile.TarInfo, tar: tarfile.TarFile, write: bool = True
    ) -> TreeEntry:
        self._layers.unfold(member)
        if posixpath.basename(posixpath.dirname(path)) == "bin":
            mode |= 0o111
        stream = content(member, tar)
        shims = t.cast(layouts.Layout, self.result.layout).configurations.values()
        if path in shims and not self._image.architecture:
            stream = self._of_this_machine(member, stream)
        return self._file(path, mode, member, stream, write)

    def _of_this_machine(self, member: tarfile.TarInfo, stream: t.IO[bytes]) -> t.IO[bytes]:
        """Refuse a shim for another architecture: nothing else in a tarball tells its architecture."""
        buffered = io.BufferedReader(t.cast("io.RawIOBase", stream), 64)
        start = buffered.peek(20)[:20]
        order: t.Any = "big" if start[5:6] == b"\2" else "little"
        machine = _MACHINES.get(int.from_bytes(start[18:20], order)) if start.startswith(b"\x7fELF") else None
        if machine and self._how.architecture and machine != self._how.architecture:
            raise Refusal(
                f"a payload for {self._how.architecture}, this node's architecture",
                f"{member.name} for {machine} in {self._source.title}",
                "Use the payload of the node's architecture.",
            )
        return t.cast("t.IO[bytes]", buffered)

    def _parents(self, number: int, path: str, name: str) -> None:
        """Make sure that every parent is a directory of the tree, so that nothing is ever written through a link."""
        if not path:
            return
        entry = self.result.tree.get(path)
        if entry is None:
            self._parents(number, posixpath.dirname(path), name)
            self.result.tree[path] = {"type": "directory", "mode": 0o755}
            self._archive_of[path] = number
            self._directory(path)
        elif entry["type"] != "directory":
            raise self._layers.hostile(name, f"it lies below {path!r}, which is no directory")
        else:
            self._parents(number, posixpath.dirname(path), name)
            self._archive_of[path] = number

    def _replace(self, path: str) -> None:
        """Make room for an entry of a higher layer."""
        if path in self.result.tree:
            for entry in sorted(self.result.tree, reverse=True):
                if layouts.inside(entry, path) is not None:
                    self._remove(entry)

    def _directory(self, path: str) -> None:
        if self._destination is not None:
            os.mkdir(self._on_disk(path))
            os.chmod(self._on_disk(path), 0o755)

    def _check_link(self, layout: layouts.Layout, path: str, member: tarfile.TarInfo) -> None:
        target = member.linkname
        if target.startswith("/"):
            allowed = layouts.inside(target, layout.prefix) is not None and ".." not in target.split("/")
        else:
            resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
            allowed = target != "" and resolved != ".." and not resolved.startswith("../")
            # Steps up are safe only at the start: after a name, a step up could begin where a link leads to.
            allowed = allowed and ".." not in target.lstrip("./").split("/")
        if not allowed:
            raise self._layers.hostile(member.name, f"a link to {target!r}, outside of the artifacts")

    def _file(
        self, path: str, mode: int, member: tarfile.TarInfo, stream: t.IO[bytes], write: bool = True
    ) -> TreeEntry:
        """Take a file over, write it if ``write`` says so, and return its entry."""
        entry: TreeEntry = {"type": "file", "mode": mode}
        if layouts.is_configuration(path) and member.size <= _LARGEST_TEXT:
            text = stream.read()
            if _PLACEHOLDER in text:
                entry["placeholder"] = True
            stream = io.BytesIO(self._relocation.text(text) if self._relocation else text)
        value = member.pax_headers.get(_IN_TAR)
        if value is not None:
            entry["capability"] = value.encode("utf-8", "surrogateescape").hex()
        digest, size = hashlib.sha256(), 0
        if self._destination is None or not write:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
                size += len(block)
        else:
            descriptor = os.open(self._on_disk(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as target:
                for block in iter(lambda: stream.read(_BLOCK), b""):
                    digest.update(block)
                    size += len(block)
                    files.write_with_holes(target, block)
                target.truncate(size)
                os.fchmod(target.fileno(), mode)
                if "capability" in entry:
                    os.setxattr(target.fileno(), files.CAPABILITY, bytes.fromhex(entry["capability"]))
                os.utime(target.fileno(), (member.mtime, member.mtime))
                if size >= _LARGE:
                    files.begin_writing(target)
        entry.update(size=size, digest=f"sha256:{digest.hexdigest()}")
        return entry

    def _on_disk(self, path: str) -> str:
        return os.path.join(t.cast(str, self._destination), path)
