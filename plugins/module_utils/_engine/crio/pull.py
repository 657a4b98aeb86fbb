# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Pull images from a registry with skopeo, which reads the same configuration of registries as CRI-O.

CRI-O has no client for that, and its store has no original blobs. skopeo copies them, and the manifests, as the registry has
them: so their digests can be verified. podman cannot do that. The password goes into a file, because everybody on the node can
read arguments.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.proxies import proxies
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, places
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.process import search_path

#: Where the blobs of a pull lie until they are unpacked.
STORE = f"{places.STATE}/pull"
_PROGRAM = "skopeo"
#: Seconds without a single new byte after which a pull has failed, and between two looks.
_PATIENCE = 300.0
_PERIOD = 0.5
#: Files of skopeo's directory that are no blobs have names that are no digests.
_BLOB = re.compile(r"[0-9a-f]{64}")
_MANIFEST = "manifest.json"
#: What an error says, and what to do about it. The first match counts. A cause that we do not know gets no remedy.
_HINTS = (
    ("has expired or is not yet valid", "Renew the registry's certificate, or set the node's clock."),
    (
        "unknown authority",
        "Name the registry's CA in coco_registry_ca, or put it into /etc/containers/certs.d on the node.",
    ),
    (
        "server gave HTTP response",
        "Say 'insecure = true' for this registry in /etc/containers/registries.conf on the node.",
    ),
    ("policy", "Let /etc/containers/policy.json on the node accept images of this registry."),
    (
        r"\b(401|403)\b|authoriz|authentication|access denied|denied:",
        "Check coco_registry_auth: the registry wants other credentials, or some.",
    ),
    (
        "no image found in (?:image index|manifest list)",
        "Use the payload of the node's architecture, or a multi-platform one.",
    ),
    (r"\b429\b|too many ?requests", "Wait, or use credentials: this registry limits how often it is asked."),
    ("no space left", f"Make room in {places.STATE}."),
    (
        "no such host|refused|unreachable|no route|time ?out|reset by peer|unexpected EOF|no byte for",
        "Check that the node reaches it, and its proxy in the engine's unit.",
    ),
    ("manifest unknown|not found", "Check the repository and the tag in coco_payload."),
)
_NO_HINT = "These are the words of skopeo."


class Registry:
    """One image of a registry, as this node gets it."""

    def __init__(self, engine: Engine, configuration: Dump, image: str, access: Access) -> None:
        self._image = image
        self._access = access
        self._environment = {**os.environ, **proxies(engine), "LC_ALL": "C.UTF-8", "PATH": search_path()}
        #: The credentials that CRI-O itself uses.
        self._own = configuration.value("crio", "image", "global_auth_file")

    def resolve(self) -> str:
        """Return the digest that the image's name stands for now."""
        return files.sha256(self._run(("inspect", "--raw", f"docker://{self._image}"), ""))

    @contextlib.contextmanager
    def pulled(self, architecture: str, pulling: t.Callable[[int], None]) -> t.Iterator[str]:
        """Pull the image's blobs for an architecture. Yields the directory that has them below ``blobs``. Nothing of them stays.

        ``pulling`` is called with the number of bytes that have arrived.
        """
        clean()
        made = files.make_directories(places.STATE, mode=0o700)
        try:
            copied, blobs = os.path.join(STORE, "copied"), os.path.join(STORE, "blobs", "sha256")
            files.make_directories(blobs, mode=0o700)
            source = f"docker://{self._image}"
            top = self._run(("inspect", "--raw", source), "")
            platform = ("--override-os", "linux", "--override-arch", architecture)
            self._run((*platform, "copy", "--quiet", source, f"dir:{copied}"), copied, pulling)
            with open(os.path.join(copied, _MANIFEST), "rb") as stream:
                manifest = stream.read()
            for document in (top, manifest):
                files.write_atomically(
                    os.path.join(blobs, files.sha256(document).partition(":")[2]), document, mode=0o600
                )
            for name in filter(_BLOB.fullmatch, os.listdir(copied)):
                os.rename(os.path.join(copied, name), os.path.join(blobs, name))
            yield STORE
        finally:
            clean()
            files.remove_empty_directories(made)

    @contextlib.contextmanager
    def _options(self, command: str) -> t.Iterator[list[str]]:
        """Yield skopeo's options for reaching the registry. They name files that only root can read, gone afterwards."""
        source = "src-" if command == "copy" else ""
        with tempfile.TemporaryDirectory(dir="/run", prefix="confidential-containers.") as directory:
            options = []
            if self._access.username:
                pair = base64.b64encode(f"{self._access.username}:{self._access.password}".encode()).decode()
                path = os.path.join(directory, "auth.json")
                document = {"auths": {self._image.partition("/")[0]: {"auth": pair}}}
                files.write_atomically(path, json.dumps(document).encode(), mode=0o600)
                options += [f"--{source}authfile", path]
            elif self._own and os.path.isfile(self._own):
                options += [f"--{source}authfile", self._own]
            if self._access.ca:
                certificates = os.path.join(directory, "certificates")
                os.mkdir(certificates, 0o700)
                files.write_atomically(os.path.join(certificates, "ca.crt"), self._access.ca.encode(), mode=0o600)
                options += [f"--{source}cert-dir", certificates]
            yield options

    def _run(self, words: t.Sequence[str], arriving: str, pulling: t.Callable[[int], None] | None = None) -> bytes:
        """Run skopeo. Return what it prints. ``arriving``: the directory whose files grow meanwhile."""
        program = shutil.which(_PROGRAM, path=search_path())
        if not program:
            raise Refusal(
                f"skopeo on the node, to pull docker://{self._image}: CRI-O has no client that could",
                "no such program",
                "Install it on the node (the package skopeo), or have the controller read the payload: set coco_payload to a file "
                "(oci-archive:PATH), or to docker-daemon:NAME if the controller's Docker has the image.",
            )
        command = next(word for word in words if word in ("copy", "inspect"))
        at = list(words).index(command) + 1
        with self._options(command) as options, subprocess.Popen(
            [program, *words[:at], *options, *words[at:]],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        ) as process:
            said, errors, ended = _watched(process, arriving, pulling)
        if process.returncode != 0:
            raise self._failed(ended, errors.decode(errors="replace"))
        return said

    def _failed(self, ended: str, errors: str) -> Refusal:
        line = (errors.strip().splitlines() or ["no answer"])[-1]
        message = re.search(r'msg="((?:[^"\\]|\\.)*)"', line)
        found = ended or (message.group(1).replace('\\"', '"') if message else line)
        if self._access.password:
            found = found.replace(self._access.password, "…")
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, found, re.IGNORECASE)), _NO_HINT)
        return Refusal(f"docker://{self._image} from its registry", found, f"{hint} Nothing of it stays on the node.")


def clean() -> None:
    """Remove all that a pull, even a killed one, has left."""
    files.remove_tree(STORE)


def _watched(
    process: subprocess.Popen[bytes], arriving: str, pulling: t.Callable[[int], None] | None
) -> tuple[bytes, bytes, str]:
    """Wait for the end of a process, as long as bytes arrive. Return its output, its errors, and why we ended it or ''."""
    said: list[tuple[bytes, bytes]] = []
    reader = threading.Thread(target=lambda: said.append(process.communicate()), daemon=True)
    reader.start()
    seen, ended, changed = 0, "", time.monotonic()
    while reader.is_alive():
        reader.join(_PERIOD)
        arrived = files.disk_usage(arriving) if arriving else 0
        if arrived != seen:
            seen, changed = arrived, time.monotonic()
            if pulling is not None:
                pulling(seen)
        elif time.monotonic() - changed > _PATIENCE and not ended:
            ended = f"no byte for {_PATIENCE:.0f} s"
            process.kill()
    output, errors = said[0] if said else (b"", b"")
    return output, errors, ended
