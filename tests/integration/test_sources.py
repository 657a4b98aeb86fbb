# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every source of payloads and every era of them, on real nodes, with pods."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import lzma
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml
import zstandard

from ansible_collections.confidential_containers.runtime.tests.integration.harness import ROOT, Node
from ansible_collections.confidential_containers.runtime.tests.integration.payloads import (
    BUILT_FOR,
    KATA,
    packed,
    rebuild_for_kata,
    unpacked,
)
from ansible_collections.confidential_containers.runtime.tests.integration.refusals import Wrong, refuse_all
from ansible_collections.confidential_containers.runtime.tests.integration.registry import sh
from ansible_collections.confidential_containers.runtime.tests.unit.archives import (
    OciArchive,
    extract,
    file,
    link,
    tar,
)

ARTIFACTS = "opt/kata-artifacts"
COMPRESS: dict[str, t.Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": zstandard.compress,
}


@pytest.fixture(scope="module")
def root(payload: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample payload, extracted."""
    root, _artifacts = unpacked(payload, tmp_path_factory.mktemp("root"))
    return root


@pytest.fixture(scope="module")
def kata(payload: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of the sample payload as Kata builds them, for /opt/kata."""
    root, _artifacts = unpacked(payload, tmp_path_factory.mktemp("kata"))
    return rebuild_for_kata(root)


def release(root: Path) -> bytes:
    """Return a release tarball of an extracted payload, not yet compressed."""
    return packed(root / ARTIFACTS / BUILT_FOR, name=f"./{BUILT_FOR}")


def halves(root: Path) -> dict[str, bytes]:
    """Return a release in two tarballs, which have the configurations in common."""
    artifacts = root / ARTIFACTS / BUILT_FOR
    parts = {"kata-static.tar": ("libexec", "share"), "kata-go-static.tar": ("bin", "share/defaults")}
    return {name: packed(artifacts, *of, name=f"./{BUILT_FOR}") for name, of in parts.items()}


def test_every_source_from_the_controller(node: Node, root: Path, payload: dict[str, str], tmp_path: Path) -> None:
    """One after the other: each is an upgrade of the one before."""
    archive = f"oci-archive:{payload['oci_archive']}"
    copy = ("skopeo", "--insecure-policy", "copy", "--quiet")
    sh(*copy, archive, f"oci:{tmp_path}/layout:v1")
    sh(*copy, "--dest-compress", "--dest-compress-format=zstd", f"oci:{tmp_path}/layout:v1", f"oci:{tmp_path}/zstd:v1")
    sh(*copy, f"oci:{tmp_path}/zstd:v1", f"oci-archive:{tmp_path}/zstd.tar:v1")
    for ending, compress in COMPRESS.items():
        (tmp_path / f"kata-static.tar.{ending}").write_bytes(compress(release(root)))
    for name, content in halves(root).items():
        (tmp_path / name).write_bytes(zstandard.compress(content))
    sources: list[str | list[str]] = [
        f"oci:{tmp_path}/layout:v1",
        f"docker-archive:{payload['docker_archive']}",
        f"oci-archive:{tmp_path}/zstd.tar",
        f"tarball:{tmp_path}/kata-static.tar.gz",
        f"tarball:{tmp_path}/kata-static.tar.xz",
        f"tarball:{tmp_path}/kata-static.tar.zst",
        [f"tarball:{tmp_path}/{name}" for name in halves(root)],
        f"dir:{root}",
        f"docker-daemon:{payload['image']}",
    ]
    assert not node.found("which zstd")  # libzstd.so.1 does, and is everywhere
    for source in sources:
        assert "serves kata-clh, kata-qemu" in node.install(source)
    assert node.play("install", coco_payload=sources[-1]).recap(node.name, "changed") == 0
    assert "Starting gVisor" in node.pod("kata-qemu")


def test_a_user_who_needs_sudo_sends_a_directory(node: Node, payload: dict[str, str], tmp_path: Path) -> None:
    sh(
        "skopeo",
        "--insecure-policy",
        "copy",
        "--quiet",
        f"oci-archive:{payload['oci_archive']}",
        f"oci:{tmp_path}/layout:v1",
    )
    inventory = node.inventory_as("admin")
    place = {"ansible_remote_tmp": "$HOME/.ansible/elsewhere"}
    run = node.play("install", inventory=inventory, coco_payload=f"oci:{tmp_path}/layout:v1", **place)
    assert run.status == 0, run.output
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert not node.sh("ls -A ~admin/.ansible/elsewhere")


def test_payload_archive(payload: dict[str, str], tmp_path: Path) -> None:
    """What a Docker engine has, in a file: once, and again only when the file holds something else."""
    path = tmp_path / "payload.tar"

    def run(**arguments: str) -> dict[str, t.Any]:
        module = ("-m", "confidential_containers.runtime.payload_archive", "-a")
        given = json.dumps({"image": payload["image"], "path": str(path), "pull": "never", **arguments})
        words = ["ansible", "localhost", *module, given]
        printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        return t.cast("dict[str, t.Any]", yaml.safe_load(printed.partition("=>")[2]))

    assert run()["changed"]
    assert not run()["changed"]
    assert set(extract(path, transport="docker-archive").tree) == set(extract(Path(payload["oci_archive"])).tree)
    path.write_bytes(path.read_bytes()[:1000])
    assert run()["changed"]
    assert "none" in run(image="no-such-image/x")["msg"]
    assert "Docker engine that answers" in run(docker_host="unix:///no/such.sock")["msg"]
    assert list(tmp_path.iterdir()) == [path]


def test_sources_on_the_node(nodes: list[Node], root: Path) -> None:
    """A tarball and a directory that are there already; this node's Python reads zstd."""
    node = nodes[1]
    parts = " ".join(f"/root/payload/{BUILT_FOR}/{name}" for name in ("bin", "share"))
    release = {f"/root/{name}.zst": content for name, content in halves(root).items()}
    tarballs = [f"tarball:{place}" for place in release]
    run = node.play("install", coco_payload=tarballs, coco_payload_on="node")
    assert "nothing there" in run.output, run.output
    for place, content in release.items():
        send(node, zstandard.compress(content), place)
    node.install(tarballs, coco_payload_on="node")
    run = node.play("install", coco_payload=tarballs[::-1], coco_payload_on="node")
    assert run.recap(node.name, "changed") == 0, run.output
    node.sh(
        f"mkdir -p /root/payload/{BUILT_FOR} && cp -a /opt/confidential-containers/. /root/payload/{BUILT_FOR} && ls {parts}"
    )
    node.install("dir:/root/payload", coco_payload_on="node")
    # Read when it was installed, and again only on request: a read file has a new time of access here.
    node.sh("mount --bind /root/payload /root/payload && mount -o remount,bind,strictatime /root/payload")
    touched = "find /root/payload -type f -exec chmod u+r {} +"  # as it was, but for the time of its last change
    for change, verify, were_read in (
        ("true", False, False),
        ("true", True, True),
        (touched, False, True),
        ("true", False, False),
    ):
        node.sh(f"{change} && touch /root/looked")
        run = node.play("install", coco_payload="dir:/root/payload", coco_payload_on="node", coco_verify=verify)
        assert run.recap(node.name, "changed") == 0, run.output
        assert bool(node.sh("find /root/payload -type f -anewer /root/looked")) == were_read
    node.sh("umount /root/payload")
    assert "Starting gVisor" in node.pod("kata-clh")
    node.sh(f"rm -r /root/payload {' '.join(release)}")


def send(node: Node, content: bytes, path: str) -> None:
    """Put a file on a node."""
    encoded = base64.b64encode(content).decode()
    size = 90_000
    for start in range(0, len(encoded), size):
        node.sh(f"echo {encoded[start : start + size]} | base64 -d >> {path}")


def test_another_prefix(each: Node, archive: str) -> None:
    node = each
    before = node.snapshot()
    node.install(archive, coco_prefix="/srv/coco/v1")
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert not node.paths("/opt/confidential-containers")
    assert not node.found("grep -r /opt/conf /srv/coco/v1/share /etc/containerd")
    run = node.play("install", coco_payload=archive, coco_prefix="/srv/coco/v1")
    assert run.recap(node.name, "changed") == 0
    run = node.play("install", coco_payload=archive)
    assert "one below /srv/coco/v1" in run.output
    node.remove()
    assert node.snapshot() == before


INSTALLER = [file(f"{ARTIFACTS}/scripts/kata-deploy.sh", b"#!/bin/sh\n", 0o755)]
#: What only some releases of an era have beside the artifacts.
MORE = {
    "runtimeclasses/kata-qemu.yaml": b"kind: RuntimeClass\n",
    "nydus-snapshotter/nydus-snapshotter.service": b"[Service]\n",
    "node-feature-rules/x86_64-tee-keys.yaml": b"kind: NodeFeatureRule\n",
}
BESIDE = [file(f"{ARTIFACTS}/{name}", content) for name, content in MORE.items()]
#: What an image of kata-deploy has beside /opt/kata-artifacts/opt/kata.
ERAS = {
    "Confidential Containers 0.8": [*INSTALLER, BESIDE[0]],
    "Kata 3.2 to 3.25": [*INSTALLER, *BESIDE],
    "Kata 3.26 to 3.31": [],
}


def test_the_eras_of_opt_kata(nodes: list[Node], kata: Path, tmp_path: Path) -> None:
    """Images with and without an installer, and a release tarball; each is an upgrade of the one before.

    Their prefix is a bind mount of the same file system, to which nothing can be renamed from beside it.
    """
    node = nodes[1]
    node.sh("mkdir /opt/kata /srv/disk && mount --bind /srv/disk /opt/kata")
    before = node.snapshot()
    image = OciArchive()
    artifacts = image.layer(packed(kata, name=f"{ARTIFACTS}/{KATA}"), compression="")
    base = image.layer(tar(file("usr/bin/sh", b"a distribution's", 0o755), link("etc/mtab", "/proc/mounts")))
    payloads = {}
    for era, beside in ERAS.items():
        layers = [base, artifacts, *([image.layer(tar(*beside))] if beside else [])]
        payloads[era] = f"oci-archive:{image.write(tmp_path / f'{era}.tar', image.image(*layers))}"
    path = tmp_path / "kata-static-3.20.0-amd64.tar.zst"
    path.write_bytes(zstandard.compress(packed(kata, name=f"./{KATA}")))
    payloads["a release"] = f"tarball:{path}"

    for era, payload in payloads.items():
        output = node.install(payload)
        assert "serves kata-clh, kata-qemu" in output, (era, output)
        assert "below /opt/kata" in output, (era, output)
        assert "Starting gVisor" in node.pod("kata-qemu"), era
    assert node.play("install", coco_payload=payload).recap(node.name, "changed") == 0
    assert not node.paths("/opt/confidential-containers")
    assert sorted(node.sh("ls -A /opt/kata").split()) == ["bin", "libexec", "share"]
    node.remove()
    assert node.snapshot() == before


def test_components(node: Node, kata: Path, tmp_path: Path) -> None:
    """As kata-deploy has them since 3.32: only what the handlers need is unpacked, and more when they need more."""
    components = {
        "shim": ["bin/containerd-shim-kata-v2", "share/defaults"],
        "runsc": ["bin/runsc"],
        "other": ["libexec"],
    }
    manifest = {
        "shims": {
            "qemu": {"x86_64": ["shim", "runsc"]},
            "clh": {"x86_64": ["shim", "runsc", "other"]},
            "qemu-se": {"s390x": ["shim"]},
        }
    }
    tarballs = [
        file(
            f"{ARTIFACTS}/tarballs/kata-static-{name}.tar.zst",
            zstandard.compress(packed(kata, *parts, name=f"./{KATA}")),
        )
        for name, parts in components.items()
    ]
    image = OciArchive()
    layers = [
        image.layer(tar(*tarballs)),
        image.layer(tar(file(f"{ARTIFACTS}/shim-components.json", json.dumps(manifest).encode()))),
    ]
    payload = f"oci-archive:{image.write(tmp_path / 'components.tar', image.image(*layers))}"
    assert not node.found("which zstd")
    node.install(payload, coco_handlers=["kata-qemu"])
    assert "Starting gVisor" in node.pod("kata-qemu")
    assert not node.paths("/opt/kata/libexec")
    # A Python that somebody has built without the libraries for them: the controller decompresses for it.
    node.sh(
        "mkdir /root/without && cd /root/without && for name in _ctypes _lzma _bz2; do echo 'raise ImportError' > $name.py; done"
        " && printf '#!/bin/sh\nPYTHONPATH=/root/without exec /usr/bin/python3 \"$@\"\n' > python && chmod 755 python"
    )
    output = node.install(
        payload, coco_handlers=["kata-qemu", "kata-clh"], ansible_python_interpreter="/root/without/python"
    )
    assert "serves kata-clh, kata-qemu" in output
    assert node.sh("ls /opt/kata/libexec")
    assert node.play("install", coco_payload=payload).recap(node.name, "changed") == 0


def test_a_configuration_that_the_admin_edited(node: Node, archive: str) -> None:
    path = "/opt/confidential-containers/share/defaults/kata-containers/configuration-qemu.toml"
    node.install(archive)
    node.sh(f"echo '# mine' >> {path}")
    assert f"kept as you edited them: {path}" in node.install(archive)
    assert "# mine" in node.sh(f"cat {path}")
    assert "kept as" not in node.install(archive, coco_edited_config="replace")
    assert "# mine" not in node.sh(f"cat {path}")


def test_no_place_for_the_artifacts(node: Node, archive: str) -> None:
    """A read-only file system, one that is too small, and one in the middle of them: said before anything is written."""
    wrong: Wrong = {}
    for options, mounted, prefix, says in (
        ("ro", "/srv/closed", "/srv/closed/coco", "/srv/closed/.confidential-containers: Read-only file system"),
        ("size=20m", "/srv/small", "/srv/small/coco", "room for the payload"),
        ("size=500m", "/srv/coco/share", "/srv/coco", "something else mounted at /srv/coco/share"),
    ):
        node.sh(f"mkdir -p {mounted} && mount -t tmpfs -o {options} tmpfs {mounted}")
        wrong[f"mounted at {mounted}"] = ({"coco_prefix": prefix}, [says])
    refuse_all(node, {"coco_payload": archive}, wrong)
    assert {*node.sh("find /srv").split()} == {"/srv", "/srv/closed", "/srv/small", "/srv/coco", "/srv/coco/share"}
    assert not node.remembers()


def test_damage_that_only_a_digest_tells_and_a_payload_that_is_kept(
    node: Node, payload: dict[str, str], tmp_path: Path
) -> None:
    """A program whose bytes changed, and nothing else; and the repair, without the archive."""
    before = node.snapshot()
    archive = tmp_path / "payload.tar"
    shutil.copyfile(payload["oci_archive"], archive)
    source: dict[str, t.Any] = {"coco_payload": f"oci-archive:{archive}", "coco_keep_payload": True}
    node.install(source["coco_payload"], coco_keep_payload=True)
    path = "/opt/confidential-containers/bin/kata-monitor"
    node.sh(
        f"cp -p {path} /root/kept; printf '#!/bin/SH' | dd of={path} conv=notrunc status=none; touch -r /root/kept {path}"
    )
    assert "changed: bin" not in node.status()
    assert "changed: bin/kata-monitor" in node.status(coco_verify=True)
    assert node.play("install", **source).recap(node.name, "changed") == 0

    # The node has it all: what the archive still has to tell is its name.
    with archive.open("r+b") as stream:
        stream.seek(20 << 20)
        stream.write(bytes(1 << 20))
    received = int(node.sh("cat /sys/class/net/eth0/statistics/rx_bytes"))
    run = node.play("install", coco_verify=True, **source)
    assert (run.status, run.recap(node.name, "changed") > 0) == (0, True), run.output
    assert int(node.sh("cat /sys/class/net/eth0/statistics/rx_bytes")) - received < 5 << 20
    assert node.sh(f"cmp {path} /root/kept; rm /root/kept") == ""
    assert node.play("install", coco_verify=True, **source).recap(node.name, "changed") == 0
    assert node.play("uninstall").status == 0
    node.install(source["coco_payload"], coco_keep_payload=True)
    assert "Starting gVisor" in node.pod("kata-qemu")
    node.remove()
    assert node.snapshot() == before


def test_enclave_cc(each: Node, root: Path, tmp_path: Path) -> None:
    """Natively, where SGX is; the shim finds its configuration by a link outside of the prefix."""
    node = each
    before = node.snapshot()
    place = "opt/enclave-cc-artifacts"
    shim = (root / ARTIFACTS / BUILT_FOR / "bin/containerd-shim-kata-v2").read_bytes()
    system = tar(file("usr/bin/agent", b"agent"), link("bin", "usr/bin"))
    image = OciArchive()
    layer = image.layer(
        tar(
            file(f"{place}/containerd-shim-rune-v2", shim),
            file(f"{place}/shim-rune-config.toml", b"log_level = 'info'\n"),
            *(file(f"{place}/{name}-instance.tar", system) for name in ("agent", "boot")),
        )
    )
    payload = f"oci-archive:{image.write(tmp_path / 'enclave.tar', image.image(layer))}"
    run = node.play("install", coco_payload=payload)
    assert "needs Intel SGX" in run.output
    node.sh("mknod /dev/sgx_enclave c 10 125")
    try:
        assert "serves enclave-cc of payload" in node.install(payload)
        assert "log_level" in node.sh("cat /etc/enclave-cc/config.toml")
        assert "io.containerd.rune.v2" in node.sh("containerd config dump")
        assert node.play("install", coco_payload=payload).recap(node.name, "changed") == 0
    finally:
        node.sh("rm /dev/sgx_enclave")
    node.remove()
    assert node.snapshot() == before


PROTECT = """\
import fcntl, os, sys
GET, SET, IMMUTABLE = 0x80086601, 0x40086602, 0x10
file = os.open(sys.argv[1], os.O_RDONLY)
flags = int.from_bytes(fcntl.ioctl(file, GET, bytes(8)), sys.byteorder)
fcntl.ioctl(file, SET, (flags ^ IMMUTABLE).to_bytes(8, sys.byteorder))
"""


@contextlib.contextmanager
def immutable(node: Node, path: str) -> t.Iterator[None]:
    """``chattr +i``, which nodes do not have."""
    toggle = f"python3 - {path} <<'END'\n{PROTECT}END"
    node.sh(toggle)
    try:
        yield
    finally:
        node.sh(toggle)


def test_artifacts_that_the_file_system_keeps_as_they_are(node: Node, archive: str, payload_v2: dict[str, str]) -> None:
    """A file or a directory is immutable, and the upgrade changes it: said before anything else changes."""
    prefix = "/opt/confidential-containers"

    def installed() -> dict[str, t.Any]:
        """Return all but what is staged, and stays so for the next run."""
        staged = ("/opt/.confidential-containers", "/var/lib/confidential-containers/payload")
        return {path: entry for path, entry in node.snapshot().items() if not path.startswith(staged)}

    node.install(archive)
    before, engine = installed(), node.engine()
    upgrade: dict[str, t.Any] = {"coco_payload": f"oci-archive:{payload_v2['oci_archive']}"}
    for place, words in (
        ("bin/kata-runtime", []),  # replaced
        ("share/bash-completion/completions/kata-runtime", []),  # removed
        ("libexec", []),  # something is added there
        ("libexec", ["--check"]),
    ):
        with immutable(node, f"{prefix}/{place}"):
            run = node.play("install", *words, **upgrade)
        assert run.status != 0
        assert f"Found {prefix}/{place}, immutable" in run.output, run.output
        assert "chattr -i" in run.output
        assert (installed(), node.engine()) == (before, engine)
    with immutable(node, f"{prefix}/bin/runsc"):
        node.install(upgrade["coco_payload"])  # what stays may be immutable
        engine = node.engine()
        run = node.play("uninstall")
        assert run.status != 0
        assert f"Found {prefix}/bin/runsc, immutable" in run.output
        assert node.engine() == engine
    assert node.play("uninstall").status == 0
    assert not node.paths(prefix)


def test_nothing_is_asked_or_sent_twice(node: Node, archive: str) -> None:
    """A payload is not sent to a node whose engine could not take it; one that is in its place costs two questions."""

    def asked(status: int) -> list[str]:
        began = node.sh("date +@%s.%N").strip()
        run = node.play("install", coco_payload=archive)
        assert run.status == status, run.output
        log = node.sh(f"journalctl --since={began} --output=short-unix --no-hostname --no-pager")
        return re.findall(r" ansible-confidential_containers\.runtime\.(\w+)\[\d+\]: Invoked", log)

    node.sh("systemctl stop containerd")
    assert asked(status=2) == ["payload_extract"]
    node.sh("systemctl start containerd")
    node.install(archive)
    assert asked(status=0) == ["payload_extract", "engine_config"]
