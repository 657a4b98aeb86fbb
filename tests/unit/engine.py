# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine that is played, behind the interface of a driver: its files are real, and it serves what they had at its last start."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, flavours, probe
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Access,
    Engine,
    Facts,
    Registry,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: With this line among its files, the engine does not start.
BROKEN = "# broken\n"


def table(handler: str) -> str:
    """Return a handler as it stands in the engine's files."""
    return f'[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{handler}]\nx = 1\n'


class Played:
    """The engine that reads ``files``, of which the first is its main one. ``starts`` counts its starts."""

    def __init__(self, *files: Path, starts: int = 0) -> None:
        self.engine = Engine("containerd", (1, 7, 24), "containerd.service", "/x", str(files[0]), "/s", True)
        self.paths = files
        self.starts = starts
        #: Whether systemd refuses to start its unit.
        self.masked = False
        #: What registries have, by name.
        self.images: dict[str, Registry] = {}
        #: The handlers that it serves; None: it is down.
        self.loaded: list[str] | None = None
        self.load()

    def text(self) -> str:
        return "".join(path.read_text() for path in self.paths if path.exists())

    def load(self) -> None:
        """Start anew, or fail and be down."""
        self.starts += 1
        text = self.text()
        self.loaded = None if BROKEN in text else list(Dump(text).handlers())

    # The driver.

    def facts(self, mode: str) -> Facts:
        return Facts(self.engine.version, self.engine.config, 2, mode)

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.paths if path.exists()}

    def places(self) -> list[str]:
        return [str(path) for path in self.paths]

    def territory(self) -> list[str]:
        return self.places()

    def configured(self, config: str = "") -> Dump:
        return Dump(Path(config).read_text() if config else self.text())

    def status(self) -> cri.Status:
        if self.loaded is None:
            raise cri.CriError("/s: Connection refused")
        return cri.Status(True, "", tuple(self.loaded))

    def no_answer(self, error: Exception) -> Refusal:
        return probe.no_answer(self.engine, error, client="ctr plugins ls")

    def served(self) -> list[str]:
        try:
            return list(self.status().handlers)
        except cri.CriError as error:
            raise self.no_answer(error) from error

    def start(self) -> str:
        return str(self.starts)

    def apply(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        if self.masked:
            raise Refusal("containerd.service to restart", "Unit containerd.service is masked.", "")
        self.load()
        return self.serving(handlers, timeout)

    def serving(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        if self.loaded is None or not set(handlers) <= set(self.loaded):
            raise Refusal(f"the CRI to serve {sorted(handlers)}", str(self.loaded), "")
        return self.loaded

    def last_words(self, since: float) -> str:
        return ""

    def snapshotters(self) -> list[str]:
        return []

    def pods(self) -> list[cri.Sandbox]:
        self.served()
        return []

    def registry(self, image: str, access: Access) -> Registry:
        return self.images[image]

    def clean(self) -> None:
        pass

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the engine of the node, also of the one that a journal names."""
        monkeypatch.setattr(flavours, "driver", lambda engine: self)
