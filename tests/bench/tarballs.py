# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A payload in components, as large as one of Kata 4.1: 8 zstd tarballs of 863 MiB in 1,516 files, cut out of this machine's programs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import tarfile
import typing as t
from pathlib import Path

PLACE = "opt/kata-artifacts"
DEFAULTS = "opt/kata/share/defaults/kata-containers"
#: By component: its large files' sizes in MiB, and how many small ones it has.
COMPONENTS = {
    "shim-v2-go": ((58, 61, 42), 90),
    "shim-v2-rust": ((66,), 3),
    "qemu": ((72, 9), 420),
    "kernel": ((44, 13, 16), 9),
    "rootfs-image": ((128,), 2),
    "virtiofsd": ((6,), 1),
    "ovmf": ((4, 4, 12), 6),
    "tools": ((88, 74, 51, 49), 964),
}
TOTAL, FILES = 863 << 20, 1516


def make(directory: Path) -> Path:
    """Return the payload as an OCI archive; beside it are the tarballs. It is made once."""
    archive = directory / "components.tar"
    if not archive.exists():
        packed = {f"{PLACE}/tarballs/{path.name}": path.read_bytes() for path in _tarballs(directory)}
        machine = os.uname().machine
        shims = {"shims": {"qemu": {machine: list(COMPONENTS)}}}
        manifest = {f"{PLACE}/shim-components.json": json.dumps(shims).encode()}
        new = directory / "new"
        new.write_bytes(_image([_tar(packed), _tar(manifest)], {"x86_64": "amd64", "aarch64": "arm64"}[machine]))
        new.rename(archive)
    return archive


def _image(layers: t.Sequence[bytes], architecture: str) -> bytes:
    """Return an OCI archive of plain layers."""
    kind = "application/vnd.oci.image"
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(data: bytes, media: str) -> dict[str, t.Any]:
        digest = hashlib.sha256(data).hexdigest()
        files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"{kind}.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    manifest = {
        "schemaVersion": 2,
        "config": blob(json.dumps({"architecture": architecture, "os": "linux"}).encode(), "config.v1+json"),
        "layers": [blob(layer, "layer.v1.tar") for layer in layers],
    }
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
    return _tar({**files, "index.json": json.dumps(index).encode()})


def _tar(files: t.Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def _tarballs(directory: Path) -> list[Path]:
    chance, content = random.Random(1), _programs(300 << 20)
    large = sum(sum(sizes) for sizes, _small in COMPONENTS.values()) << 20
    small = FILES - sum(len(sizes) for sizes, _small in COMPONENTS.values()) - 3
    mean = (TOTAL - large) // small
    tarballs = []
    for name, (sizes, count) in COMPONENTS.items():
        files = [
            *((f"opt/kata/libexec/{name}/large-{number}", size << 20) for number, size in enumerate(sizes)),
            *(
                (f"opt/kata/share/{name}/{number // 50}/small-{number}", chance.randrange(mean // 4, mean * 7 // 4))
                for number in range(count)
            ),
        ]
        if name == "shim-v2-go":
            files += [(f"{DEFAULTS}/configuration-{shim}.toml", 0) for shim in ("qemu", "clh")]
        tarballs.append(_tarball(directory / f"kata-static-{name}.tar.zst", files, content, chance))
    return tarballs


def _tarball(path: Path, files: t.Sequence[tuple[str, int]], content: bytes, chance: random.Random) -> Path:
    with path.open("wb") as target:
        zstd = subprocess.Popen(["zstd", "-q", "-3", "--stdout"], stdin=subprocess.PIPE, stdout=target)
        with tarfile.open(fileobj=zstd.stdin, mode="w|", format=tarfile.GNU_FORMAT) as archive:
            for name, size in files:
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = size, 0o755, 1767225600
                start = chance.randrange(len(content) - size)
                archive.addfile(info, io.BytesIO(memoryview(content)[start : start + size]))
            if "shim-v2-go" in path.name:
                archive.add("/usr/bin/true", "opt/kata/bin/containerd-shim-kata-v2")  # it can be started, and no more
        t.cast("t.IO[bytes]", zstd.stdin).close()
        if zstd.wait() != 0:
            raise RuntimeError("zstd failed")
    return path


def _programs(size: int) -> bytes:
    """Return that many bytes of what this machine has in programs and libraries."""
    pieces, left = [], size
    for path in sorted(Path("/usr").rglob("*")):
        if left > 0 and path.is_file() and not path.is_symlink() and path.stat().st_size > 100_000:
            pieces.append(path.read_bytes()[:left])
            left -= len(pieces[-1])
    whole = b"".join(pieces)
    return whole * (size // len(whole) + 1) if left > 0 else whole
