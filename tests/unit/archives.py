# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image archives for tests, made member by member: honest ones and hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import typing as t
from pathlib import Path

from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import rootfs
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.extract import (
    How,
    Unpacked,
    unpack,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import open_source

#: Where artifacts are in an image of the design document's layout.
ROOT = "opt/kata-artifacts/opt/confidential-containers"
MTIME = 1767225600

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

Entry = tuple[tarfile.TarInfo, bytes]
Descriptor = dict[str, t.Any]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name: str, kind: bytes, content: bytes = b"", **fields: t.Any) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(content), MTIME
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def file(name: str, content: bytes = b"", mode: int = 0o644, **fields: t.Any) -> Entry:
    return entry(name, tarfile.REGTYPE, content, mode=mode, **fields)


def directory(name: str, mode: int = 0o755, **fields: t.Any) -> Entry:
    return entry(name, tarfile.DIRTYPE, mode=mode, **fields)


def link(name: str, target: str, **fields: t.Any) -> Entry:
    return entry(name, tarfile.SYMTYPE, linkname=target, mode=0o777, **fields)


def hard_link(name: str, target: str) -> Entry:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def artifact(made: Entry) -> Entry:
    """Put an entry below the artifacts' place; a hard link's target, too."""
    info, content = made
    info.name = f"{ROOT}/{info.name}"
    if info.islnk():
        info.linkname = f"{ROOT}/{info.linkname}"
    return info, content


def members(*entries: Entry) -> bytes:
    """Return a tar archive without its end."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
        end = archive.offset
    return stream.getvalue()[:end]


def tar(*entries: Entry) -> bytes:
    return members(*entries) + bytes(2 * tarfile.BLOCKSIZE)


def raw(*entries: Entry) -> bytes:
    """Return a tar archive of names that tarfile would not write as they are."""
    blocks = b""
    for info, content in entries:
        blocks += info.tobuf(tarfile.PAX_FORMAT if info.pax_headers else tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        blocks += content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return blocks + bytes(2 * tarfile.BLOCKSIZE)


def unfinished_sparse(made: Entry) -> bytes:
    """Return an archive that ends where more of GNU's old header of a sparse member should follow."""
    info, _content = made
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482:495] = b"\x0100000001000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


class OciArchive:
    """An OCI layout in a tar file, under construction."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def blob(self, data: bytes, kind: str, **more: t.Any) -> Descriptor:
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"mediaType": kind, "digest": digest, "size": len(data), **more}

    def layer(self, content: bytes, compression: str = "gzip") -> Descriptor:
        if compression == "gzip":
            return self.blob(gzip.compress(content, mtime=0), LAYER + "+gzip")
        return self.blob(content, LAYER + (f"+{compression}" if compression else ""))

    def image(self, *layers: Descriptor, architecture: t.Any = "amd64", **more: t.Any) -> Descriptor:
        config = self.blob(json.dumps({"architecture": architecture, "os": "linux"}).encode(), CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        return self.blob(json.dumps(manifest).encode(), MANIFEST, **more)

    def index(self, *manifests: Descriptor, **more: t.Any) -> Descriptor:
        return self.blob(json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(), INDEX, **more)

    def entries(self, *manifests: Descriptor) -> list[Entry]:
        index = {"schemaVersion": 2, "manifests": manifests}
        return [
            file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
            file("index.json", json.dumps(index).encode()),
            *(file(f"blobs/sha256/{digest[7:]}", data) for digest, data in self.blobs.items()),
        ]

    def write(self, path: Path, *manifests: Descriptor) -> Path:
        path.write_bytes(tar(*self.entries(*manifests)))
        return path


def named(name: str) -> dict[str, dict[str, str]]:
    return {"annotations": {"org.opencontainers.image.ref.name": name}}


def simple(path: Path, *layers: t.Sequence[Entry], compression: str = "gzip") -> Path:
    """Write an OCI archive of one image with these layers."""
    archive = OciArchive()
    made = [archive.layer(tar(*entries), compression) for entries in layers]
    return archive.write(path, archive.image(*made))


def docker_entries(
    *layers: bytes, tags: t.Sequence[str] | None = ("coco-test:v1",), architecture: str = "amd64"
) -> list[Entry]:
    """Return what ``docker save`` wrote before Docker 25: configuration, layers in directories of their own."""
    config = json.dumps(
        {"architecture": architecture, "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in layers]}}
    ).encode()
    name = digest_of(config)[7:] + ".json"
    places = [f"{number:064x}" for number in range(len(layers))]
    manifest = [{"Config": name, "RepoTags": tags, "Layers": [f"{place}/layer.tar" for place in places]}]
    made = [file(name, config), file("manifest.json", json.dumps(manifest).encode())]
    for place, content in zip(places, layers, strict=True):
        made += [directory(place), file(f"{place}/VERSION", b"1.0"), file(f"{place}/layer.tar", content)]
    return made


def extract(
    path: Path, destination: Path | None = None, transport: str = "oci-archive", how: How | None = None
) -> Unpacked:
    """Do what payload_extract does with a payload of one image."""
    with open_source(Reference(transport, str(path))) as source:
        [image] = source.images()
        return unpack(source, image, None if destination is None else lambda layout: str(destination), how or How())


def extract_root(path: Path, destination: Path, transport: str = "oci-archive", limits: Limits | None = None) -> None:
    """Unpack the whole of an image as a root file system."""
    with open_source(Reference(transport, str(path))) as source:
        [image] = source.images()
        rootfs.unpack(source, image, str(destination), limits)


def tree_of(root: Path) -> dict[str, dict[str, t.Any]]:
    """Look at a directory on disk and describe it as an extraction does."""
    found: dict[str, dict[str, t.Any]] = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        name, mode = str(path.relative_to(root)), state.st_mode & 0o7777
        if path.is_symlink():
            found[name] = {"type": "link", "target": os.readlink(path)}
        elif path.is_dir():
            found[name] = {"type": "directory", "mode": mode}
        else:
            content = path.read_bytes()
            found[name] = {"type": "file", "mode": mode, "size": len(content), "digest": digest_of(content)}
    return found


def surroundings(directory: Path) -> dict[str, tuple[t.Any, ...]]:
    """Return all that is around the directory ``destination`` somewhere below a directory."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        if "destination" not in path.parts:
            state = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (state.st_mode, state.st_nlink, state.st_ino, state.st_uid, content)
    return found
