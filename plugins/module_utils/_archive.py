# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Image archives: an OCI layout in a tar file, or what ``docker save`` writes. Everything read is checked by digest."""

from __future__ import annotations

import json
import posixpath
import re
import tarfile
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._files import sha256

#: Manifests and configurations are a few KiB; more than this is an attack or no manifest.
_LARGEST_DOCUMENT = 4 << 20
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: Endings of media types by compression; '' is plain tar.
_COMPRESSIONS = {"tar": "", "tar+gzip": "gzip", "tar.gzip": "gzip", "tar+zstd": "zstd"}


@dataclass(frozen=True)
class Layer:
    """One layer: the archive's member that holds it, and the digest of that member's bytes."""

    member: str
    digest: str
    size: int | None
    compression: str


@dataclass(frozen=True)
class Image:
    """One image of an archive.

    ``digest`` identifies the payload: the platform manifest's, or the configuration's where an archive has no registry
    manifest (``docker save`` before Docker 25); ``digest_kind`` says which. ``chain`` maps every digest that names this
    image (index, manifest, config) to its kind.
    """

    digest: str
    digest_kind: str
    chain: t.Mapping[str, str]
    architecture: str
    names: tuple[str, ...]
    layers: tuple[Layer, ...]

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
        }


class Archive:
    """An image archive opened for reading; a context manager."""

    def __init__(self, path: str, reference: str = "") -> None:
        """Open ``path``; ``reference`` selects among several images (an OCI ref name or a Docker repo tag)."""
        self.path = path
        self._reference = reference
        try:
            self._tar = tarfile.open(path, "r:")  # noqa: SIM115  (closed by __exit__)
            self._members = {posixpath.normpath(member.name): member for member in self._tar}
        except FileNotFoundError:
            raise Refusal(
                f"an image archive at {path}", "no such file", "Check the path in coco_payload and coco_payload_on."
            ) from None
        except IsADirectoryError:
            raise Refusal(
                f"an image archive at {path}", "a directory", "Name a file that skopeo, podman or docker save wrote."
            ) from None
        except OSError as error:
            raise Refusal(
                f"a readable image archive at {path}", str(error.strerror), "Make the file readable."
            ) from error
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            raise self._no_archive(f"a file that is no plain tar archive ({error})") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exc: object) -> None:
        self._tar.close()

    def images(self) -> list[Image]:
        """Return the images of the archive: one for each platform."""
        if "index.json" in self._members and "oci-layout" in self._members:
            read = self._oci_images
        elif "manifest.json" in self._members:
            read = self._docker_images
        else:
            raise self._no_archive("a tar archive with neither index.json nor manifest.json")
        try:
            images = [image for image in read() if not self._reference or self._reference in image.names]
            names = sorted({name for image in images for name in image.names})
            repeated = len({image.architecture for image in images}) != len(images)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            # Documents come from outside: a field that is missing or of another type ends up here.
            raise self._no_archive(f"a manifest that does not follow its specification ({error!r})") from error
        if not images:
            raise self._no_archive(f"no image named {self._reference} in it" if self._reference else "no image in it")
        if repeated:
            raise self._no_archive(f"several images in it ({', '.join(names)})")
        return images

    def open_layer(self, layer: Layer) -> t.IO[bytes]:
        """Return a layer's bytes as they are stored. The caller checks them against the layer's digest."""
        stream = self._tar.extractfile(self._members[layer.member])
        if stream is None:
            raise self._no_archive(f"{layer.member}, which is no file")
        return stream

    def _no_archive(self, found: str) -> Refusal:
        return Refusal(
            f"an image archive at {self.path}",
            found,
            "Make one with 'skopeo copy docker://… oci-archive:FILE' or 'docker save --output FILE IMAGE', "
            "uncompressed and with one image in it.",
        )

    def _damaged(self, what: str, expected: str, found: str) -> Refusal:
        return Refusal(
            f"{what} {expected} in {self.path}",
            found,
            "The archive is truncated or was changed: make or fetch it again.",
        )

    def _document(self, member: str, digest: str = "") -> t.Any:
        info = self._members.get(member)
        if info is None or not info.isfile() or info.size > _LARGEST_DOCUMENT:
            raise self._damaged(member, f"of at most {_LARGEST_DOCUMENT} bytes", "none")
        try:
            stream = self._tar.extractfile(info)
            data = stream.read() if stream else b""
            if digest and sha256(data) != digest:
                raise self._damaged(member, f"with digest {digest}", f"digest {sha256(data)}")
            return json.loads(data)
        except (ValueError, RecursionError, tarfile.TarError, OSError) as error:
            raise self._damaged(member, "that is valid JSON", str(error)) from error

    def _blob(self, descriptor: t.Mapping[str, t.Any]) -> str:
        digest = str(descriptor.get("digest", ""))
        algorithm, _colon, encoded = digest.partition(":")
        if algorithm != "sha256" or len(encoded) != 64 or not encoded.isalnum():
            raise self._damaged("a blob", "named by a sha256 digest", repr(digest))
        return f"blobs/sha256/{encoded}"

    def _oci_images(self) -> list[Image]:
        images: list[Image] = []
        self._collect(self._document("index.json"), {}, (), images, depth=0)
        # What Docker 25 and later write is both: the OCI layout has the tags, manifest.json the whole names.
        tags = {
            posixpath.basename(entry["Config"]): tuple(map(str, entry.get("RepoTags") or ()))
            for entry in (self._document("manifest.json") if "manifest.json" in self._members else ())
        }
        return [replace(image, names=image.names + tags.get(image.config.partition(":")[2], ())) for image in images]

    def _collect(
        self, index: t.Any, chain: dict[str, str], names: tuple[str, ...], images: list[Image], depth: int
    ) -> None:
        """Add the image manifests below an index to ``images``. Nested indexes are multi-platform images."""
        for descriptor in index.get("manifests", []):
            kind = descriptor.get("mediaType")
            platform = descriptor.get("platform", {}).get("architecture", "")
            if platform == "unknown":  # BuildKit's attestations
                continue
            member = self._blob(descriptor)
            name = descriptor.get("annotations", {}).get("org.opencontainers.image.ref.name")
            below = names + ((name,) if name else ())
            if kind in _INDEX_TYPES and depth < 3:
                document = self._document(member, descriptor["digest"])
                self._collect(document, {**chain, descriptor["digest"]: "index"}, below, images, depth + 1)
            elif kind in _MANIFEST_TYPES:
                document = self._document(member, descriptor["digest"])
                images.append(self._oci_image(document, descriptor["digest"], chain, below))
            else:
                raise self._damaged(member, "that is an image manifest or an index", f"media type {kind}")

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
        )

    def _oci_layer(self, descriptor: t.Mapping[str, t.Any]) -> Layer:
        member = self._blob(descriptor)
        size = int(descriptor["size"])
        info = self._members.get(member)
        if info is None or not info.isfile() or info.size != size:
            found = "none" if info is None or not info.isfile() else f"{info.size} bytes"
            raise self._damaged(f"layer {descriptor['digest']}", f"of {size} bytes", found)
        ending = str(descriptor.get("mediaType", "")).rpartition(".layer.v1.")[2].rpartition("rootfs.diff.")[2]
        if ending not in _COMPRESSIONS:
            raise self._damaged(f"layer {descriptor['digest']}", "of a known type", str(descriptor.get("mediaType")))
        return Layer(member, descriptor["digest"], size, _COMPRESSIONS[ending])

    def _docker_images(self) -> list[Image]:
        images = []
        for entry in self._document("manifest.json"):
            member = posixpath.normpath(entry["Config"])
            configuration = self._document(member)
            info = self._tar.extractfile(self._members[member])
            digest = sha256(info.read() if info else b"")
            if posixpath.basename(member).partition(".")[0] != digest.partition(":")[2]:
                raise self._damaged(member, "named by its own digest", f"digest {digest}")
            diff_ids = configuration.get("rootfs", {}).get("diff_ids", [])
            members = [posixpath.normpath(name) for name in entry["Layers"]]
            if len(diff_ids) != len(members):
                raise self._damaged(member, f"with {len(members)} layers", f"{len(diff_ids)} layers")
            images.append(
                Image(
                    digest=digest,
                    digest_kind="config",
                    chain={digest: "config"},
                    architecture=configuration.get("architecture", ""),
                    names=tuple(entry.get("RepoTags") or ()),
                    layers=tuple(self._docker_layer(name, diff) for name, diff in zip(members, diff_ids)),
                )
            )
        return images

    def _docker_layer(self, member: str, diff_id: str) -> Layer:
        info = self._members.get(member)
        if info is not None and info.issym():  # docker save links a layer that several images share
            member = posixpath.normpath(posixpath.join(posixpath.dirname(member), info.linkname))
            info = self._members.get(member)
        if info is None or not info.isfile():
            raise self._damaged(f"layer {member}", "as a file", "none")
        return Layer(member, diff_id, info.size, "")


def select(
    identities: t.Sequence[t.Mapping[str, t.Any]], architecture: str, expected: str = ""
) -> t.Mapping[str, t.Any]:
    """Choose the image for a node's ``architecture`` and hold it to the digest that the user ``expected``."""
    for identity in identities:
        if identity["architecture"] == architecture:
            break
    else:
        raise Refusal(
            f"a payload for {architecture}, this node's architecture",
            "a payload for " + ", ".join(sorted(str(identity["architecture"]) for identity in identities)),
            "Use the payload of the node's architecture, or a multi-platform one.",
        )
    if expected and not _DIGEST.fullmatch(expected):
        raise Refusal(
            "a digest in coco_payload_digest, sha256: and 64 hexadecimal digits", repr(expected), "Correct it."
        )
    if expected and expected not in identity["chain"]:
        have = ", ".join(f"{kind} {digest}" for digest, kind in identity["chain"].items())
        raise Refusal(
            f"a payload with digest {expected} (coco_payload_digest)",
            f"a payload with {have}",
            "Check where the payload comes from; nothing of it was used.",
        )
    return identity
