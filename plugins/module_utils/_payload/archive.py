# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Images in a tar file or a directory: an OCI layout, or what ``docker save`` writes. Everything read is checked by digest.

``_payload.blobs`` has the files that an image consists of, ``_payload.layers`` reads the layers.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import posixpath
import re
import shutil
import tarfile
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import sha256
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts, streams
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.blobs import (
    DirectoryFiles,
    Files,
    TarFiles,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import (
    DIGEST,
    PATHS,
    REGISTRY,
    Reference,
)

#: Manifests and configurations have a few KiB. A document larger than this is an attack, or no manifest.
_LARGEST_DOCUMENT = 4 << 20
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
#: The name of an image's configuration in what ``docker save`` and other tools write.
_DIGEST_AS_NAME = re.compile(r"(sha256:)?(?P<digest>[0-9a-f]{64})(\.|$)")
#: Maps endings of media types to compressions; '' is plain tar.
_COMPRESSIONS = {"tar": "", "tar+gzip": "gzip", "tar.gzip": "gzip", "tar+zstd": "zstd"}


#: Remedies. An archive may have been cut, changed later, or made like that: only what was found gives a hint.
_AGAIN = "Fetch or make it again."
_ANOTHER = "It was made like that: use another image, or another tool to make it."
_MAKE = (
    "Make one with 'skopeo copy docker://… oci-archive:FILE' or 'docker save --output FILE IMAGE', uncompressed and with one image "
    "in it."
)
_CONVERT = "Convert the image: skopeo copy --format oci --dest-compress-format gzip --dest-force-compress-format."
_DECRYPT = "Decrypt the image: skopeo copy --decryption-key KEY."


@dataclass(frozen=True)
class Layer:
    """One layer: the archive's member that holds it, and the digest of that member's bytes.

    ``found`` is '' for a whole layer, else it says what is there instead. That is only an error if the layer is needed: engines
    and skopeo keep the manifests of other platforms without their layers. ``unpacked_from`` is set where only the digest of the
    decompressed content is known: it is the member's compression, and the layer is opened decompressed.
    """

    member: str
    digest: str
    size: int | None
    compression: str
    found: str = ""
    unpacked_from: str = ""


@dataclass(frozen=True)
class Image:
    """One image of an archive.

    ``digest`` identifies the payload. It is the digest of the platform's manifest, or of the configuration where an archive has
    no registry manifest (``docker save`` before Docker 25); ``digest_kind`` says which. ``chain`` maps every digest that names
    this image (index, manifest, config) to its kind. ``architecture`` is '' where only the unpacked payload can tell it.
    """

    digest: str
    digest_kind: str
    chain: t.Mapping[str, str]
    architecture: str
    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    #: Directories in which the artifacts can be.
    bases: tuple[str, ...] = (layouts.ARTIFACTS,)
    #: Whether its layers are equals (tarballs of one release), so that none may replace what another one brings.
    side_by_side: bool = False
    #: How a program of the image runs: its environment (``NAME=value``) and its working directory.
    environment: tuple[str, ...] = ()
    directory: str = "/"

    @property
    def config(self) -> str:
        return next(digest for digest, kind in self.chain.items() if kind == "config")

    def identity(self) -> dict[str, t.Any]:
        """Return what a controller tells a node about an archive before sending it."""
        return {
            "digest": self.digest,
            "digest_kind": self.digest_kind,
            "chain": dict(self.chain),
            "architecture": self.architecture,
            **({"parts": [layer.digest for layer in self.layers]} if self.side_by_side else {}),
        }


class Archive:
    """A payload's image or images, opened for reading; a context manager.

    ``index`` is the digest to start from where there is no index.json: the one of an image in a registry. ``plain`` is about
    layers that were decompressed on their way here: it maps the digest that the manifest has to the digest of the plain layer.
    """

    def __init__(
        self, reference: Reference, path: str = "", index: str = "", plain: t.Mapping[str, str] | None = None
    ) -> None:
        """Open what ``reference`` names, or a copy of it at ``path``."""
        self.path = path or reference.path
        #: The archive's name in messages.
        self.title = str(reference) if index else self.path
        self._copied = bool(path)
        self._plain = plain or {}
        self._transport = reference.transport
        self._kind = PATHS.get(reference.transport, "an image")
        self._reference = reference.image if reference.transport != REGISTRY else ""
        self._index = index
        try:
            self._files = self._opened()
        except FileNotFoundError:
            raise Refusal(
                f"{self._kind} at {self.path}",
                "no such file",
                "Check the path in coco_payload and coco_payload_on.",
            ) from None
        except OSError as error:
            remedy = (
                "Make it readable." if isinstance(error, PermissionError) else "Check the path, and the disk it is on."
            )
            raise Refusal(f"{self._kind} that can be read at {self.path}", str(error.strerror), remedy) from error

    def _opened(self) -> Files:
        os.stat(self.path)
        wanted = os.path.isdir(self.path) if self._copied else self._transport == "oci"
        if os.path.isdir(self.path) != wanted:
            raise Refusal(
                f"{self._kind} at {self.path}",
                "a file" if wanted else "a directory",
                "Name a directory that skopeo copied to oci:."
                if wanted
                else "Name a file that skopeo, podman or docker save wrote.",
            )
        return DirectoryFiles(self.path) if wanted else TarFiles(self.path)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self._files.close()

    def images(self) -> list[Image]:
        """Return the images of the archive: one for each platform."""
        if self._index:
            read = self._registry_images
        elif None not in (self._files.size("index.json"), self._files.size("oci-layout")):
            read = self._oci_images
        elif self._files.size("manifest.json") is not None:
            read = self._docker_images
        else:
            raise self._no_archive("neither index.json nor manifest.json in it", _MAKE)
        try:
            found = read()
            images = [image for image in found if not self._reference or self._reference in image.names]
            names = sorted({name for image in images or found for name in image.names})
            repeated = len({image.architecture for image in images}) != len(images)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            # Nobody has checked the documents before: a field that is missing or has another type raises one of these.
            what = f"a manifest that does not follow its specification ({error!r})"
            raise self._no_archive(what, _ANOTHER) from error
        if not found:
            raise self._no_archive("no image in it", _ANOTHER if self._index else _MAKE)
        named = f"Name one of them behind the path: {', '.join(names)}." if names else _MAKE
        if not images:
            none = "Leave the name out: no image in it has one."
            raise self._no_archive(f"no image named {self._reference} in it", named if names else none)
        if repeated:
            raise self._no_archive(f"several images in it ({', '.join(names)})", named)
        return images

    def open_layer(self, layer: Layer) -> t.IO[bytes]:
        """Return the bytes that a layer's digest stands for. The caller compares the digest."""
        if layer.found:
            raise self._damaged(f"layer {layer.digest}", f"of {layer.size} bytes", layer.found)
        stored = self._files.open(layer.member)
        return t.cast("t.IO[bytes]", _Opened(stored, layer.unpacked_from)) if layer.unpacked_from else stored

    def documents(self, image: Image) -> list[str]:
        """Return the names of the files that describe an image."""
        if image.digest_kind == "config":
            entries = self._document("manifest.json")
            return ["manifest.json", *(posixpath.normpath(entry["Config"]) for entry in entries)]
        return ["index.json", "oci-layout", *(f"blobs/sha256/{digest[7:]}" for digest in image.chain)]

    def copy(self, name: str, directory: str) -> str:
        """Copy a file of the archive to a directory, and return its path there."""
        path = os.path.join(directory, name.replace("/", "_"))
        with self._files.open(name) as stream, open(path, "wb") as target:
            shutil.copyfileobj(stream, target)
        return path

    def _no_archive(self, found: str, remedy: str) -> Refusal:
        return Refusal(f"{self._kind} at {self.title}", found, remedy)

    def _damaged(self, what: str, expected: str, found: str, remedy: str = _AGAIN) -> Refusal:
        return Refusal(f"{what} {expected} in {self.title}", found, remedy)

    def _document(self, member: str, digest: str = "") -> t.Any:
        size = self._files.size(member)
        if size is None:
            raise self._damaged(member, "as a file", "none")
        if size > _LARGEST_DOCUMENT:
            raise self._damaged(member, f"of at most {_LARGEST_DOCUMENT} bytes", f"{size} bytes", _ANOTHER)
        try:
            with self._files.open(member) as stream:
                data = stream.read()
            if digest and sha256(data) != digest:
                raise self._damaged(member, f"with digest {digest}", f"digest {sha256(data)}")
            return json.loads(data)
        except (ValueError, RecursionError, tarfile.TarError, OSError) as error:
            # Its digest is right, so it was like that from the beginning: to fetch it again would not help.
            remedy = _ANOTHER if digest and isinstance(error, (ValueError, RecursionError)) else _AGAIN
            raise self._damaged(member, "that is valid JSON", str(error), remedy) from error

    def _blob(self, descriptor: t.Mapping[str, t.Any]) -> str:
        digest = str(descriptor.get("digest", ""))
        algorithm, _colon, encoded = digest.partition(":")
        if algorithm != "sha256" or len(encoded) != 64 or not encoded.isalnum():
            raise self._damaged("a blob", "named by a sha256 digest", repr(digest), _ANOTHER)
        return f"blobs/sha256/{encoded}"

    def _oci_images(self) -> list[Image]:
        images: list[Image] = []
        self._collect(self._document("index.json"), {}, (), images, depth=0)
        # Docker 25 and later write both formats: the OCI layout has the tags, manifest.json the whole names.
        both = self._files.size("manifest.json") is not None
        tags = {
            posixpath.basename(entry["Config"]): tuple(map(str, entry.get("RepoTags") or ()))
            for entry in (self._document("manifest.json") if both else ())
        }
        return [replace(image, names=image.names + tags.get(image.config.partition(":")[2], ())) for image in images]

    def _registry_images(self) -> list[Image]:
        images: list[Image] = []
        self._add({"digest": self._index}, {}, (), images, depth=0)
        return images

    def _collect(
        self, index: t.Any, chain: dict[str, str], names: tuple[str, ...], images: list[Image], depth: int
    ) -> None:
        """Add the images below an index to ``images``. An index inside an index is a multi-platform image."""
        for descriptor in index.get("manifests", []):
            if descriptor.get("platform", {}).get("architecture", "") != "unknown":  # BuildKit's attestations
                name = descriptor.get("annotations", {}).get("org.opencontainers.image.ref.name")
                self._add(descriptor, chain, names + ((name,) if name else ()), images, depth)

    def _add(
        self, descriptor: t.Any, chain: dict[str, str], names: tuple[str, ...], images: list[Image], depth: int
    ) -> None:
        """Add the images that one descriptor stands for.

        Nothing is added for a member that is not there: engines and skopeo keep only their own platform's part of an index.
        """
        member, digest = self._blob(descriptor), descriptor["digest"]
        if depth and self._files.size(member) is None:
            return
        kind = descriptor.get("mediaType")
        if kind not in (None, *_INDEX_TYPES, *_MANIFEST_TYPES):
            raise self._damaged(member, "that is an image manifest or an index", f"media type {kind}", _CONVERT)
        document = self._document(member, digest)
        # OCI manifests need not say what they are.
        kind = kind or document.get("mediaType")
        kind = kind or (_INDEX_TYPES if "manifests" in document else _MANIFEST_TYPES)[0]
        if kind in _INDEX_TYPES and depth < 3:
            self._collect(document, {**chain, digest: "index"}, names, images, depth + 1)
        elif kind in _MANIFEST_TYPES:
            images.append(self._oci_image(document, digest, chain, names))
        else:
            raise self._damaged(member, "that is an image manifest or an index", f"media type {kind}", _CONVERT)

    def _oci_image(self, manifest: t.Any, digest: str, chain: t.Mapping[str, str], names: tuple[str, ...]) -> Image:
        config = manifest["config"]
        configuration = self._document(self._blob(config), config["digest"])
        return Image(
            digest=digest,
            digest_kind="manifest",
            chain={**chain, digest: "manifest", config["digest"]: "config"},
            architecture=configuration.get("architecture", ""),
            names=names,
            layers=tuple(self._oci_layer(descriptor) for descriptor in manifest["layers"]),
            **_how_it_runs(configuration),
        )

    def _oci_layer(self, descriptor: t.Mapping[str, t.Any]) -> Layer:
        member = self._blob(descriptor)
        size = int(descriptor["size"])
        stored = self._files.size(member)
        if stored is not None and descriptor["digest"] in self._plain:
            return Layer(member, self._plain[descriptor["digest"]], stored, "")
        found = "" if stored == size else "none" if stored is None else f"{stored} bytes"
        kind = str(descriptor.get("mediaType", ""))
        ending = kind.rpartition(".layer.v1.")[2].rpartition("rootfs.diff.")[2]
        if ending not in _COMPRESSIONS:
            remedy = _DECRYPT if ending.endswith("+encrypted") else _CONVERT
            raise self._damaged(f"layer {descriptor['digest']}", "of a known type", kind or "no type", remedy)
        return Layer(member, descriptor["digest"], size, _COMPRESSIONS[ending], found)

    def _docker_images(self) -> list[Image]:
        images = []
        for entry in self._document("manifest.json"):
            member = posixpath.normpath(entry["Config"])
            configuration = self._document(member)
            with self._files.open(member) as stream:
                digest = sha256(stream.read())
            # Names of a configuration: <digest>.json (Docker), sha256:<digest> (crane), blobs/sha256/<digest> (Bazel's rules),
            # config.json (Jib).
            named = _DIGEST_AS_NAME.match(posixpath.basename(member))
            if named and named.group("digest") != digest.partition(":")[2]:
                raise self._damaged(member, "named by its own digest", f"digest {digest}")
            diff_ids = configuration.get("rootfs", {}).get("diff_ids", [])
            members = [posixpath.normpath(name) for name in entry["Layers"]]
            if len(diff_ids) != len(members):
                raise self._damaged(member, f"with {len(members)} layers", f"{len(diff_ids)} layers", _ANOTHER)
            images.append(
                Image(
                    digest=digest,
                    digest_kind="config",
                    chain={digest: "config"},
                    architecture=configuration.get("architecture", ""),
                    names=tuple(entry.get("RepoTags") or ()),
                    layers=tuple(self._docker_layer(name, diff) for name, diff in zip(members, diff_ids)),
                    **_how_it_runs(configuration),
                )
            )
        return images

    def _docker_layer(self, member: str, diff_id: str) -> Layer:
        size = self._files.size(member)
        if size is None:
            raise self._damaged(f"layer {member}", "as a file", "none")
        try:
            with self._files.open(member) as stream:
                compression = streams.compression_of(stream.read(8))
        except (tarfile.TarError, OSError) as error:
            raise self._damaged(f"layer {member}", "that can be read", str(error)) from error
        # These archives name only the digest of the decompressed content. docker load checks that one, too.
        diff_id = self._plain.get(diff_id, diff_id)
        return Layer(member, diff_id, None if compression else size, "", unpacked_from=compression)


class _Opened(io.RawIOBase):
    """A layer that is decompressed while it is read."""

    def __init__(self, stored: t.IO[bytes], compression: str) -> None:
        super().__init__()
        self._closing = contextlib.ExitStack()
        self._stream = self._closing.enter_context(
            streams.decompressed(self._closing.enter_context(stored), compression)
        )

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def close(self) -> None:
        self._closing.close()
        super().close()


def _how_it_runs(configuration: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what an image's configuration says about the programs in it."""
    settings = configuration.get("config") or {}
    return {
        "environment": tuple(str(variable) for variable in settings.get("Env") or ()),
        "directory": str(settings.get("WorkingDir") or "/"),
    }


def require_digest(expected: str) -> None:
    """Refuse a ``coco_payload_digest`` that no payload can have, because it is no sha256 digest. '' is none."""
    if expected and not DIGEST.fullmatch(expected):
        raise Refusal(
            "a digest in coco_payload_digest, sha256: and 64 hexadecimal digits",
            repr(expected),
            "Write the digest that skopeo inspect, docker inspect or sha256sum prints, with sha256: before it.",
        )


def select(
    identities: t.Sequence[t.Mapping[str, t.Any]], architecture: str, expected: str = ""
) -> t.Mapping[str, t.Any]:
    """Return the image for a node's ``architecture``. Refuse one without the digest that the user ``expected`` ('': any)."""
    for identity in identities:
        if identity["architecture"] in (architecture, ""):  # a tarball does not say
            break
    else:
        raise Refusal(
            f"a payload for {architecture}, this node's architecture",
            "a payload for " + ", ".join(sorted(str(identity["architecture"]) for identity in identities)),
            "Use the payload of the node's architecture, or a multi-platform one.",
        )
    require_digest(expected)
    if expected and expected in identity.get("parts", ()):
        raise Refusal(
            f"the digest of all tarballs together in coco_payload_digest ({identity['digest']})",
            f"{expected}, which is the digest of one of them",
            "Check each file's own digest, and write the one of all.",
        )
    if expected and expected not in identity["chain"]:
        have = ", ".join(f"{kind} {digest}" for digest, kind in identity["chain"].items())
        raise Refusal(
            f"a payload with digest {expected} (coco_payload_digest)",
            f"a payload with {have}",
            "Check where the payload comes from; nothing of it was used.",
        )
    return identity
