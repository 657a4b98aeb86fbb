# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layout of Kata 4.1's images with all of its shims, on nodes that have no program zstd. Takes about a minute."""

from __future__ import annotations

import json
import shutil
import typing as t
from pathlib import Path

import pytest
import zstandard

from ansible_collections.confidential_containers.runtime.tests.integration import registry as registries
from ansible_collections.confidential_containers.runtime.tests.integration.harness import Fleet, Node, inventory_of
from ansible_collections.confidential_containers.runtime.tests.integration.payloads import (
    KATA,
    packed,
    rebuild_for_kata,
    unpacked,
)
from ansible_collections.confidential_containers.runtime.tests.unit.archives import Entry, OciArchive, file, tar
from ansible_collections.confidential_containers.runtime.tests.unit.kata import KATA_4_1

ARTIFACTS = "opt/kata-artifacts"
DEFAULTS = "share/defaults/kata-containers"
SHIM = "containerd-shim-kata-v2"
#: What a node with KVM, and without a TEE or a GPU, can run of it.
OFFERED = "clh clh-runtime-rs dragonball qemu qemu-nvidia-cpu qemu-nvidia-cpu-runtime-rs qemu-runtime-rs"


def is_rust(shim: str) -> bool:
    return shim == "dragonball" or shim.endswith("-runtime-rs")


def components(artifacts: Path) -> tuple[dict[str, list[str]], dict[str, t.Any]]:
    """Give artifacts what Kata 4.1 has; return the parts of each component, and which of them a shim needs where."""
    configuration = (artifacts / DEFAULTS / "configuration-qemu.toml").read_text()
    shutil.rmtree(artifacts / DEFAULTS)
    (artifacts / "runtime-rs/bin").mkdir(parents=True)
    shutil.copy(artifacts / "bin" / SHIM, artifacts / "runtime-rs/bin")
    (artifacts / "share/kata-containers/kata-nvidia-gpu.image").write_bytes(b"large")
    parts = {
        "shim-v2-go": [f"bin/{SHIM}"],
        "shim-v2-rust": [f"runtime-rs/bin/{SHIM}"],
        "runsc": ["bin/runsc"],
        "rootfs-image-nvidia-gpu": ["share/kata-containers/kata-nvidia-gpu.image"],
    }
    needed: dict[str, t.Any] = {}
    for shim, machines in KATA_4_1.items():
        own = "shim-v2-rust" if is_rust(shim) else "shim-v2-go"
        path = f"{DEFAULTS}/{'runtime-rs/' if is_rust(shim) else ''}configuration-{shim}.toml"
        (artifacts / path).parent.mkdir(parents=True, exist_ok=True)
        (artifacts / path).write_text(configuration)
        parts[own].append(path)
        more = ["rootfs-image-nvidia-gpu"] if "nvidia-gpu" in shim else []
        needed[shim] = {machine: [own, "runsc", *more] for machine in machines.split()}
    return parts, {"shims": needed}


@pytest.fixture(scope="module")
def entries(payload: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """The members of the image."""
    root, _artifacts = unpacked(payload, tmp_path_factory.mktemp("kata-4.1"))
    artifacts = rebuild_for_kata(root)
    parts, manifest = components(artifacts)
    tarballs = {name: packed(artifacts, *paths, name=f"./{KATA}") for name, paths in parts.items()}
    return [
        *(
            file(f"{ARTIFACTS}/tarballs/kata-static-{name}.tar.zst", zstandard.compress(content))
            for name, content in tarballs.items()
        ),
        file(f"{ARTIFACTS}/shim-components.json", json.dumps(manifest).encode()),
    ]


def check(node: Node, output: str) -> None:
    """Check that a node serves what it can run, and has nothing that only others need."""
    served = ", ".join(sorted(f"kata-{shim}" for shim in OFFERED.split()))
    assert f"serves {served} of payload" in output
    for name in ("kata-qemu-runtime-rs", "kata-clh"):
        assert "Starting gVisor" in node.pod(name)
    assert node.sh("find /opt/kata -name '*nvidia-gpu*.image'") == ""


def test_every_source_on_debian_12_and_13(fleet: Fleet, entries: list[Entry], tmp_path: Path) -> None:
    both = fleet.get("1.7", "1.6")
    before = [one.snapshot() for one in both]
    for one in both:
        assert not one.found("which zstd")
    image = OciArchive()
    # Half of the layers are zstd themselves, as registries' are by now.
    layers = [
        image.blob(zstandard.compress(tar(*entries[:-1])), "application/vnd.oci.image.layer.v1.tar+zstd"),
        image.layer(tar(entries[-1])),
    ]
    archive = f"oci-archive:{image.write(tmp_path / 'kata-deploy.tar', image.image(*layers))}"
    run = both[0].play("install", inventory=inventory_of(both), coco_payload=archive, coco_serial="100%")
    assert run.status == 0, run.output
    for one in both:
        check(one, run.output)
        again = one.play("install", coco_payload=archive)
        assert again.recap(one.name, "changed") == 0, again.output

    root = tmp_path / "root"
    for info, content in entries:
        (root / info.name).parent.mkdir(parents=True, exist_ok=True)
        (root / info.name).write_bytes(content)
    check(both[0], both[0].install(f"dir:{root}"))
    with registries.serve(tmp_path / "registry", tls=True, password=True) as registry:
        registry.push(archive, "coco/kata-deploy:4.1.0")
        variables = {**registry.access, "coco_payload": f"docker://{registry.host}/coco/kata-deploy:4.1.0"}
        run = both[0].play("install", inventory=inventory_of(both), coco_serial="100%", **variables)
    assert run.status == 0, run.output
    for one in both:
        check(one, run.output)
    both[0].remove(inventory=inventory_of(both), coco_serial="100%")
    assert [one.snapshot() for one in both] == before
