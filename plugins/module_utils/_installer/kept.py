# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Whole images that stay on the node as long as their installer may be needed.

Their layers stay as they were stored, verified while they are written. Each command gets a fresh root file system made of them
(``_installer.rootfs``).
"""

from __future__ import annotations

import os
import posixpath
import tarfile
import typing as t
from dataclasses import asdict

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image, Layer
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Layers, Limits
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tarball import Source
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State


class Kept:
    """A kept image. It is a source of layers: see ``_payload.tarball.Source``."""

    def __init__(self, directory: str, record: t.Mapping[str, t.Any]) -> None:
        self.path = directory
        self.title = record["reference"]
        self._record = record

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def images(self) -> list[Image]:
        record = self._record
        whole = {
            **{key: record[key] for key in ("digest", "digest_kind", "chain", "architecture", "directory")},
            "names": (),
            "environment": tuple(record["environment"]),
            "layers": tuple(Layer(**layer) for layer in record["layers"]),
        }
        return [Image(**whole)]

    def open_layer(self, layer: Layer) -> t.IO[bytes]:
        try:
            return open(os.path.join(self.path, layer.member), "rb")
        except FileNotFoundError:
            raise Refusal(
                f"the layers of {self.title} in {self.path}", f"no {layer.member}", "Install the payload again."
            ) from None

    @property
    def contract_name(self) -> str:
        """Return the name of its installer's contract; '' for an installer that nobody here knows."""
        return str(self._record["contract"])

    @property
    def contract(self) -> contracts.Contract | None:
        """Return its installer's contract; None for an installer that nobody here knows."""
        return contracts.by_name(self.contract_name)


def directory_of(state: State, digest: str) -> str:
    """Return where an image is kept. The staged artifacts of the same payload are recorded elsewhere."""
    return f"{state.payload(digest)}-image"


def find(state: State, digest: str) -> Kept | None:
    """Return the kept image that has this digest among its own; None where there is none."""
    for name in os.listdir(state.payloads) if os.path.isdir(state.payloads) else ():
        directory = os.path.join(state.payloads, name)
        record = files.read_json(os.path.join(directory, "payload.json"))
        if record and "layers" in record and digest in record["chain"]:
            return Kept(directory, record)
    return None


def keep(
    state: State, source: Source, image: Image, reference: str, limits: Limits, progress: t.Callable[[int], None]
) -> Kept:
    """Keep an image. It is recorded once all its layers are verified. The caller removes what a failure leaves."""
    directory = directory_of(state, image.digest)
    state.create()
    files.make_directories(directory, mode=0o700)
    found: set[str] = set()

    def visit(member: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
        del tar
        found.add(contracts.tells(posixpath.normpath(member.name.lstrip("/"))))

    copying = _Copying(source, directory)
    layers = Layers(t.cast("Source", copying), image, limits, progress)
    for layer in image.layers:
        layers.read(layer, visit)
    files.sync_filesystem(directory)
    record = {
        "digest": image.digest,
        "digest_kind": image.digest_kind,
        "chain": dict(image.chain),
        "architecture": image.architecture,
        "reference": reference,
        "environment": list(image.environment),
        "directory": image.directory,
        "layers": [asdict(layer) for layer in copying.layers],
        "contract": contracts.recognise(found),
        # _run.staged reads these two of every record: nothing is staged here, and an installation does not remove the image.
        "staged": "",
        "keep": True,
    }
    files.write_json(os.path.join(directory, "payload.json"), record)
    return Kept(directory, record)


class _Copying:
    """A source that writes its layers to a directory while they are read."""

    def __init__(self, source: Source, directory: str) -> None:
        self.title = source.title
        self._source = source
        self._directory = directory
        self.layers: list[Layer] = []

    def open_layer(self, layer: Layer) -> t.IO[bytes]:
        member = str(len(self.layers))
        self.layers.append(Layer(member, layer.digest, layer.size, layer.compression))
        target = open(  # noqa: SIM115  (closed with the layer)
            os.open(os.path.join(self._directory, member), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        )
        return t.cast("t.IO[bytes]", _Copied(self._source.open_layer(layer), target))


class _Copied:
    """A stream that writes to a file what is read from it."""

    def __init__(self, stream: t.IO[bytes], target: t.IO[bytes]) -> None:
        self._stream = stream
        self._target = target

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._target.write(data)
        return data

    def __enter__(self) -> _Copied:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()
        self._target.close()
