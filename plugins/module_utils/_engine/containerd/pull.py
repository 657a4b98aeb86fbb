# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Pull images from a registry with the node's own containerd.

The blobs go into its content store, in a namespace of our own. containerd unpacks nothing, and nothing stays.

``ctr`` resolves and downloads in its own process. So we have to tell it what the daemon knows: mirrors, certificates and the
proxy of the daemon's unit. ``ctr`` asks for a password on its terminal. We never pass the password as an argument, because
everybody on the node can read arguments.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pty
import re
import shutil
import subprocess
import tempfile
import threading
import time
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    client,
    registries,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.arrivals import (
    Arrivals,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import (
    Dump,
    sections,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.proxies import proxies
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, process

_NAMESPACE = "confidential-containers-payload"
#: Seconds without a single new byte after which a pull has failed.
_PATIENCE = 300.0
#: The most bytes of a line that a terminal passes on, and the characters that it takes for keys with a meaning.
_LINE = 4095
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: Seconds between two looks at the arrivals.
_PERIOD = 0.5
#: What an error says, and what to do about it. The first match counts. A cause that we do not know gets no remedy.
_HINTS = (
    ("has expired or is not yet valid", "Renew the registry's certificate, or set the node's clock."),
    (
        "certificate is valid for|is not valid for any names|contain any IP SANs",
        "Use a name of the registry that its certificate has.",
    ),
    ("certificate required|bad certificate", "Configure the client's certificate for the node's engine (hosts.toml)."),
    ("unknown authority", "Name the registry's CA in coco_registry_ca, or configure it for the node's engine."),
    ("server gave HTTP response", "Tell the node's engine that this registry speaks plain HTTP (hosts.toml)."),
    (
        r"\b(401|403)\b|authoriz|authentication|basic auth|access denied|denied:",
        "Check coco_registry_auth: the registry wants other credentials, or some.",
    ),
    ("no match for platform", "Use the payload of the node's architecture, or a multi-platform one."),
    (r"\b429\b|too many requests", "Wait, or use credentials: this registry limits how often it is asked."),
    ("no space left", "Make room in the engine's content store."),
    (
        "no such host|refused|unreachable|no route|time ?out|reset by peer|unexpected EOF|no byte for",
        "Check that the node reaches it, and its proxy in the engine's unit.",
    ),
    (": not found|manifest unknown", "Check the repository and the tag in coco_payload."),
)
_NO_HINT = "These are the words of containerd's ctr."
#: What ctr prints when it asks for the password.
_PROMPT = b"Password: \n"
_TEXT = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'")


def check(access: Access) -> None:
    """Refuse a password that cannot be typed. Of a password longer than a line, a terminal passes on only the beginning."""
    long = len(access.password.encode()) > _LINE
    if long or _CONTROL.search(access.password):
        raise Refusal(
            f"a password of one line with at most {_LINE} bytes and no control characters in coco_registry_auth",
            f"one of {len(access.password.encode())} bytes"
            if long
            else "one with line breaks or other control characters",
            "A block of YAML that begins with | ends with a line break: write |- instead. A password that is really like that is given "
            "to the node's engine, as a header in the registry's hosts.toml, and coco_registry_auth left out.",
        )


class Registry:
    """One image of a registry, as this node's engine would get it."""

    def __init__(self, engine: Engine, configuration: Dump, image: str, access: Access) -> None:
        check(access)
        self._engine = engine
        self._image = image
        self._host = image.partition("/")[0]
        self._access = access
        self._settings = Settings(configuration.text)
        self.store = os.path.join(engine.root or self._settings.root, "io.containerd.content.v1.content")

    def resolve(self) -> str:
        """Return the digest that the image's name stands for now."""
        return files.sha256(self._ask("content", "fetch-object"))

    @contextlib.contextmanager
    def pulled(self, architecture: str, pulling: t.Callable[[int], None]) -> t.Iterator[str]:
        """Pull the image's blobs for an architecture into the content store. Yields that directory. Nothing of them stays.

        ``pulling`` is called with the number of bytes that have arrived.
        """
        clean(self._engine)
        try:
            # As in any pull by an engine, blobs that the store already has are not fetched again.
            self._ask("content", "fetch", "--platform", f"linux/{architecture}", pulling=pulling)
            yield self.store
        finally:
            clean(self._engine)

    def _ask(self, *words: str, pulling: t.Callable[[int], None] | None = None) -> bytes:
        """Let ctr fetch from the registry. Return what it prints.

        The credentials of the engine's own configuration come second: a mirror may need none, and must not see them.
        """
        own = None if self._access.username else self._settings.credentials(self._host)
        try:
            return self._run(self._access, words, pulling)
        except Refusal:
            if own is None:
                raise
        return self._run(replace(own, ca=self._access.ca), words, pulling)

    @contextlib.contextmanager
    def _options(self, access: Access) -> t.Iterator[list[str]]:
        """Yield ctr's options for reaching the registry. They name files that only root can read, gone afterwards."""
        with tempfile.TemporaryDirectory(dir="/run", prefix="confidential-containers.") as directory:
            # ctr would also send the password to mirrors. So with a password we ask only the registry itself.
            options = self._settings.hosts(self._host, directory, mirrors=not access.username)
            if access.username:
                options += ["--user", access.username]
            if access.ca:
                path = os.path.join(directory, "ca.crt")
                files.write_atomically(path, access.ca.encode(), mode=0o600)
                options += ["--tlscacert", path]
            yield options

    def _run(self, access: Access, words: t.Sequence[str], pulling: t.Callable[[int], None] | None) -> bytes:
        """Run ctr with these credentials. Return what it prints."""
        if not shutil.which(client.command(self._engine)[0]):
            raise Refusal(
                f"containerd's client ctr beside {self._engine.binary} or in PATH, to pull docker://{self._image}",
                "no such program",
                "Put ctr there, or use a file as coco_payload (see payload_archive).",
            )
        with contextlib.ExitStack() as closing:
            options = closing.enter_context(self._options(access))
            argv = client.command(self._engine, "--namespace", _NAMESPACE, *words, *options, self._image)
            terminal = subprocess.DEVNULL
            if access.username:
                keyboard, terminal = pty.openpty()
                closing.callback(os.close, keyboard)
                closing.callback(os.close, terminal)
                os.write(keyboard, access.password.encode() + b"\n")
            process = closing.enter_context(
                subprocess.Popen(
                    argv,
                    cwd="/",
                    stdin=terminal,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**os.environ, **proxies(self._engine), "LC_ALL": "C.UTF-8"},
                    start_new_session=True,
                )
            )
            output, errors, ended = self._watched(process, pulling)
        if process.returncode != 0:
            raise self._failed(access, ended, errors.decode(errors="replace"))
        return output[len(_PROMPT) :] if access.username and output.startswith(_PROMPT) else output

    def _watched(
        self, process: subprocess.Popen[bytes], pulling: t.Callable[[int], None] | None
    ) -> tuple[bytes, bytes, str]:
        """Wait for the end of a process, as long as bytes arrive. Return its output, its errors, and why we ended it or ''."""
        said: list[bytes] = [b"", b""]

        def collect(number: int, stream: t.IO[bytes]) -> None:
            for block in iter(lambda: stream.read(1 << 16), b""):
                # During a pull, ctr draws its progress all the time: nothing of that is kept.
                said[number] = said[number] + block if pulling is None or number else b""

        pipes = [t.cast("t.IO[bytes]", process.stdout), t.cast("t.IO[bytes]", process.stderr)]
        readers = [threading.Thread(target=collect, args=pair, daemon=True) for pair in enumerate(pipes)]
        for reader in readers:
            reader.start()
        arrivals, seen, ended = Arrivals(self.store, _NAMESPACE), 0, ""
        looked = changed = time.monotonic()
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - looked < _PERIOD:
                continue
            looked = time.monotonic()
            arrived = arrivals.look()
            if arrived != seen:
                seen, changed = arrived, time.monotonic()
                if pulling is not None:
                    pulling(seen)
            elif time.monotonic() - changed > _PATIENCE:
                ended = f"no byte for {_PATIENCE:.0f} s"
                process.kill()
        for reader in readers:
            reader.join()
        return said[0], said[1], ended

    def _failed(self, access: Access, ended: str, errors: str) -> Refusal:
        lines = [line for line in errors.splitlines() if line.startswith("ctr: ")] or errors.splitlines()[-1:]
        found = ended or re.sub("^ctr: ", "", " ".join(lines)) or "no answer"
        if access.password:
            found = found.replace(access.password, "…")
        hint = next((hint for pattern, hint in _HINTS if re.search(pattern, found, re.IGNORECASE)), _NO_HINT)
        return Refusal(f"docker://{self._image} from its registry", found, f"{hint} Nothing of it stays on the node.")


def clean(engine: Engine) -> None:
    """Remove all that a pull, even a killed one, has left in an engine's content store."""
    ctr = client.command(engine, "--namespace", _NAMESPACE)
    if _NAMESPACE not in process.run([*ctr, "namespaces", "ls", "--quiet"]).stdout.split():
        return
    for kind, remove in (("leases", ("--sync",)), ("images", ("--sync",)), ("content", ())):
        for name in process.run([*ctr, kind, "ls", "--quiet"]).stdout.split():
            process.run([*ctr, kind, "rm", *remove, name])
    process.run([*ctr, "namespaces", "rm", _NAMESPACE])


class Settings:
    """What containerd's configuration says about registries, read from its dump."""

    def __init__(self, dump: str) -> None:
        self._sections = sections(dump)
        self.root = self._text((), "root") or "/var/lib/containerd"

    def hosts(self, host: str, directory: str, mirrors: bool = True) -> list[str]:
        """Return ctr's options for a registry. ``directory`` is for the files that these options name."""
        registry = next((header for header in self._sections if header[2:] == ("registry",)), ())
        root = os.path.join(directory, "hosts")
        for path in self._text(registry, "config_path").split(":") if registry else []:
            source = registries.directory_of(path, host) if path else ""
            if source and mirrors:
                return ["--hosts-dir", path]
            if source:
                registries.copy(source, root, host)
                return ["--hosts-dir", root]
        made = self._translated(host, mirrors)
        if not made:
            return []
        registries.write(root, host, made)
        return ["--hosts-dir", root]

    def credentials(self, host: str) -> Access | None:
        """Return the credentials that the old tables have for a registry: a name and a password, or both in one key."""
        for header in self._sections:
            if header[3:] in [("configs", name, "auth") for name in (host, registries.server(host))]:
                pair = (self._text(header, "username"), self._text(header, "password"))
                if not pair[0]:
                    with contextlib.suppress(ValueError):  # the key is not base64
                        name, _colon, password = base64.b64decode(self._text(header, "auth")).decode().partition(":")
                        pair = (name, password.rstrip("\0"))
                if pair[0]:
                    return Access(*pair)
        return None

    def _translated(self, host: str, mirrors: bool) -> str:
        """Return the old tables about mirrors and certificates as a hosts.toml, '' without any. ctr does not read the tables."""
        server = f"https://{registries.server(host)}"
        endpoints = next(
            (self._texts(header, "endpoint") for header in self._sections if header[3:] == ("mirrors", host)), []
        )
        if not mirrors:
            endpoints = [endpoint for endpoint in endpoints if registries.is_own(endpoint, host)]
            server = next(iter(endpoints), server)
        text = ""
        for endpoint in [*endpoints, *([] if server in endpoints else [server])]:
            options = self._tls(endpoint.partition("://")[2].partition("/")[0])
            if options or endpoint != server:
                text += f'[host."{endpoint}"]\n  capabilities = ["pull", "resolve"]\n{options}'
        return f'server = "{server}"\n{text}' if text else ""

    def _tls(self, host: str) -> str:
        header = next((header for header in self._sections if header[3:] == ("configs", host, "tls")), None)
        if header is None:
            return ""
        ca, cert, key = (self._text(header, name) for name in ("ca_file", "cert_file", "key_file"))
        text = f'  ca = "{ca}"\n' if ca else ""
        text += f'  client = [["{cert}", "{key}"]]\n' if cert else ""
        return text + ("  skip_verify = true\n" if "insecure_skip_verify = true" in self._sections[header] else "")

    def _text(self, header: tuple[str, ...], key: str) -> str:
        return next(iter(self._texts(header, key)), "")

    def _texts(self, header: tuple[str, ...], key: str) -> list[str]:
        """Return the text of a key, or the texts of its list."""
        line = next((line for line in self._sections.get(header, ()) if line.startswith(f"{key} = ")), "")
        return [_plain(double) or single for double, single in _TEXT.findall(line.partition(" = ")[2])]


def _plain(quoted: str) -> str:
    """Return the value of a text in double quotes. TOML and JSON have the same escapes, but for the rarest."""
    try:
        return t.cast(str, json.loads(f'"{quoted}"', strict=False))
    except ValueError:
        return quoted
