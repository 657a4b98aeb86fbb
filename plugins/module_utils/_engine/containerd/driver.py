# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The driver of containerd: it implements ``_engine.api.Driver`` with containerd's files, client, unit and CRI."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, log, probe, toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Access,
    Apply,
    Engine,
    Facts,
    Flavour,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    client,
    detect,
    dump,
    imports,
    k0s,
    pull,
    schemas,
    watched,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

#: A directory of this name is containerd's own, wherever it lies.
_OWN = "containerd"


class Containerd:
    """One containerd on its node."""

    #: The properties of its unit that detection reads.
    PROPERTIES: t.ClassVar[tuple[str, ...]] = detect.PROPERTIES

    def __init__(self, engine: Engine, flavour: Flavour) -> None:
        self.engine = engine
        self._flavour = flavour

    @classmethod
    def find(
        cls, flavour: Flavour, unit: str, shown: systemd.Properties, overrides: Overrides
    ) -> tuple[Containerd, list[Refusal]]:
        """Return the engine that a unit runs, and all that makes a restart of it a risk."""
        engine, doubts = detect.find(flavour, unit, shown, overrides)
        return cls(engine, flavour), doubts

    def facts(self, mode: str) -> Facts:
        config = self._flavour.source(self.engine.config)
        try:
            with open(config, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except FileNotFoundError:
            text = ""  # without a file, the engine takes its defaults
        return Facts(
            self.engine.version,
            config,
            toml_text.schema_of(text),
            mode,
            not toml_text.sets_plugins(text) and not toml_text.declares_version(text),
            text,
            self.engine.release,
            [path for path in self.places() if os.path.exists(path)],
        )

    def files(self) -> dict[str, bytes]:
        return imports.read(self.engine.config)

    def places(self) -> list[str]:
        return self._flavour.places(self.engine.config)

    def territory(self) -> list[str]:
        found: list[str] = []
        for path in (self.engine.config, os.path.realpath(self.engine.config)):
            directory = os.path.dirname(path)
            if os.path.basename(directory) == _OWN:
                found.append(directory)
            else:
                found += [path, f"{path}.bak", os.path.dirname(schemas.drop_in_path(path)), *imports.read(path)]
        return list(dict.fromkeys(found))

    def configured(self, config: str = "") -> Dump:
        return dump.take(self.engine, config or self.engine.config)

    def status(self) -> cri.Status:
        return cri.status(self.engine.socket)

    def served(self) -> list[str]:
        try:
            return list(self.status().handlers)
        except cri.CriError as error:
            if not client.has_cri(self.engine):
                return []
            raise self.no_answer(error) from error

    def start(self) -> str:
        return watched.start(self.engine) if self._watched() else systemd.invocation(self.engine.unit)

    def apply(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        directory = self._watched()
        timeout = max(timeout, watched.LEAST) if directory else timeout
        deadline = time.monotonic() + timeout
        if directory:
            watched.await_restart(self.engine, directory, timeout)
        else:
            systemd.restart(self.engine.unit, timeout, self._flavour.restart)
        return self.serving(handlers, deadline - time.monotonic())

    def _watched(self) -> str:
        """Return the directory whose changes make the distribution restart the engine. '' if we have to do that."""
        return k0s.watched(self.engine) if self._flavour.apply is Apply.WATCHED else ""

    def serving(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        return probe.wait(self, handlers, timeout)

    def is_up(self) -> bool:
        """Tell whether the daemon answers, with or without a CRI."""
        return client.is_up(self.engine)

    def broken(self) -> dict[str, str]:
        """Return the plugins of the CRI that failed, each with its state. An active daemon never recovers from that by itself."""
        return {name: state for name, state in (client.cri_plugins(self.engine) or {}).items() if state != "ok"}

    def last_words(self, since: float) -> str:
        said = log.telling(log.entries(systemd.logged(self.engine.unit, since)), since)
        path = os.path.join(self.engine.root, self._flavour.log) if self._flavour.log else ""
        return "\n".join(filter(None, (log.telling_of_file(path, since), said))) if path else said

    def snapshotters(self) -> list[str]:
        return client.snapshotters(self.engine)

    def pods(self) -> list[cri.Sandbox]:
        try:
            return cri.sandboxes(self.engine.socket)
        except cri.CriError as error:
            raise self.no_answer(error) from error

    def no_answer(self, error: Exception) -> Refusal:
        return probe.no_answer(self.engine, error, client=self._flavour.client)

    def registry(self, image: str, access: Access) -> pull.Registry:
        return pull.Registry(self.engine, self.configured(), image, access)

    def clean(self) -> None:
        pull.clean(self.engine)
