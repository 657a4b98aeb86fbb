# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample payload images: small, and yet with a runtime that really starts sandboxed pods."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
import typing as t
from pathlib import Path

import engine
import golang
from host import HERE, cache, cache_dir, fingerprint, lock, log, need, run

PREFIX = "/opt/confidential-containers"
EPOCH = 1767225600  # the age of everything in a payload, so that the same inputs give the same layers

SHIMS = {
    "v1": ("qemu", "clh", "qemu-snp", "qemu-tdx"),
    "v2": ("qemu", "clh", "qemu-snp", "qemu-nvidia-cpu"),
    "big": ("qemu", "clh", "qemu-snp", "qemu-tdx"),
}

# A shim reads this where Kata's would read about its hypervisor.
CONFIGURATION = """\
# {shim}: gVisor in the place of a virtual machine
binary_name = "{prefix}/bin/runsc"

[runsc_config]
platform = "systrap"
ignore-cgroups = "true"
network = "host"
"""

BASE = (
    "mmdebstrap", "--quiet", "--variant=essential", "--include=systemd",  # for systemctl
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "trixie",
)  # fmt: skip


def ensure(variant: str) -> dict[str, str]:
    """Build a variant if need be; say where it is and what it is called."""
    made_of = fingerprint(Path(__file__), HERE / "shim", HERE / "payload", " ".join(BASE), variant)
    home = cache("payloads", f"{variant}-{made_of}")
    facts = home / f"payload-{variant}.json"
    engine.ensure()
    with lock(f"payload-{variant}"):
        if not facts.exists():
            _build(variant, home, f"coco-test-payload:{variant}-{made_of}")
        known: dict[str, str] = json.loads(facts.read_text())
        if engine.image_id(known["image"]) != known["docker_config_digest"]:
            # The engine forgot it, or got it from another cache. The archive is what counts.
            run("docker", "load", f"--input={known['docker_archive']}")
        return known


def _build(variant: str, home: Path, tag: str) -> None:
    base, programs = _base(), _programs()
    shutil.rmtree(home, ignore_errors=True)  # half of an earlier attempt
    home.mkdir(parents=True)
    docker, oci = home / f"payload-{variant}.docker.tar", home / f"payload-{variant}.oci.tar"
    log(f"building payload {variant}")
    with tempfile.TemporaryDirectory(dir=home) as work:
        context, tree = Path(work, "context"), Path(work, "tree")
        context.mkdir()
        os.link(base, context / "base.tar")
        _stage(variant, tree / PREFIX.lstrip("/"), programs)
        run(
            "tar", "--create", f"--file={context / 'artifacts.tar'}", f"--directory={tree}",
            "--sort=name", f"--mtime=@{EPOCH}", "--owner=0", "--group=0", "--numeric-owner", "opt",
        )  # fmt: skip
        installer = shutil.copy(HERE / "payload" / "kata-deploy.sh", context)
        os.utime(installer, (EPOCH, EPOCH))
        engine.build(tag, context, HERE / "payload" / "Dockerfile")
    run("docker", "save", f"--output={docker}", tag)
    need("skopeo", "skopeo")
    run("skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{docker}", f"oci-archive:{oci}:{variant}")
    facts = {
        "variant": variant,
        "image": tag,
        "docker_archive": str(docker),
        "docker_config_digest": engine.image_id(tag),
        "oci_archive": str(oci),
        "oci_manifest_digest": _manifest_digest(oci),
    }
    (home / f"payload-{variant}.json").write_text(json.dumps(facts, indent=2) + "\n")


def _manifest_digest(oci: Path) -> str:
    with tarfile.open(oci) as archive:
        index = archive.extractfile("index.json")
        assert index
        return str(json.load(index)["manifests"][0]["digest"])


def _base() -> Path:
    """A small distribution, like the one below every published payload."""
    made = cache("payloads", f"base-{fingerprint(' '.join(BASE))}.tar")
    with lock("payload-base"):
        if not made.exists():
            need("mmdebstrap", "mmdebstrap", "debian-archive-keyring")
            log("bootstrapping the payload's base layer")
            partial = made.with_suffix(".part.tar")
            run(*BASE, partial, env={"SOURCE_DATE_EPOCH": str(EPOCH)})
            partial.rename(made)
    return made


def _programs() -> dict[str, Path]:
    """The shim and runsc."""
    source = HERE / "shim"
    out = cache_dir("programs", fingerprint(source))
    packages = {"containerd-shim-kata-v2": ".", "runsc": "gvisor.dev/gvisor/runsc"}
    golang.build(source, out, packages)
    return {name: out / name for name in packages}


def _stage(variant: str, prefix: Path, programs: t.Mapping[str, Path]) -> None:
    """The artifacts, laid out as Kata's are."""

    def file(path: str, content: str | bytes, mode: int = 0o644) -> None:
        target = prefix / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(mode)

    def link(path: str, to: str) -> None:
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).symlink_to(to)

    script = "#!/bin/sh\necho '{name}, sample payload {variant}'\n"
    for name, program in programs.items():
        file(f"bin/{name}", program.read_bytes(), 0o755)
    for name in ("kata-monitor", "kata-runtime"):  # kata-runtime is the file that v2 changes
        said = script.format(name=name, variant="v2" if (name, variant) == ("kata-runtime", "v2") else "v1")
        file(f"bin/{name}", said, 0o755)
    file("libexec/virtiofsd", script.format(name="virtiofsd", variant="v1"), 0o755)
    file("libexec/build-leftover", "A later layer removes this.\n")

    defaults = "share/defaults/kata-containers"
    for shim in SHIMS[variant]:
        file(f"{defaults}/configuration-{shim}.toml", CONFIGURATION.format(shim=shim, prefix=PREFIX))
    link(f"{defaults}/configuration.toml", "configuration-qemu.toml")

    guest = "share/kata-containers"
    file(f"{guest}/vmlinux-6.12.47-173", b"\x7fELF not really a kernel\n" * 1000)
    link(f"{guest}/vmlinux.container", "vmlinux-6.12.47-173")
    file(f"{guest}/kata-alpine-3.22.initrd", b"not really an initrd\n" * 1000, 0o640)
    link(f"{guest}/kata-containers-initrd.img", f"{PREFIX}/{guest}/kata-alpine-3.22.initrd")  # absolute, as some are
    file(f"{guest}/kata-ubuntu-noble.image", b"")
    os.truncate(prefix / guest / "kata-ubuntu-noble.image", 4 << 20)  # disk images are mostly holes
    link(f"{guest}/kata-containers.img", "kata-ubuntu-noble.image")
    file("share/ovmf/OVMF_CODE.fd", b"\xff" * 4096)
    os.link(prefix / "share/ovmf/OVMF_CODE.fd", prefix / "share/ovmf/OVMF.fd")
    (prefix / "share/kata-qemu/qemu").mkdir(parents=True)  # an empty directory
    file("share/doc/NEWS", "A later layer replaces this directory.\n")

    if variant == "v2":
        file("libexec/nydusd", script.format(name="nydusd", variant="v2"), 0o755)
    else:
        file("share/bash-completion/completions/kata-runtime", "complete -W 'check env version' kata-runtime\n")
    if variant == "big":
        _fill(file, prefix, b"".join(program.read_bytes() for program in programs.values()))


def _fill(file: t.Callable[[str, bytes], None], prefix: Path, code: bytes) -> None:
    """Two gigabytes in more than two thousand files, which shrink as programs do, and disk images with holes, which do not."""
    size = 1 << 20
    for number in range(2048):
        start = number * 5077 * 4096 % (len(code) - size)
        file(f"share/kata-qemu/qemu/firmware/{number // 64:02}/blob-{number:04}.bin", code[start : start + size])
    for name in ("confidential", "mariner", "nvidia-gpu", "ubuntu"):
        path = f"share/kata-containers/kata-{name}.image"
        file(path, os.urandom(64 << 20))
        os.truncate(prefix / path, 256 << 20)
