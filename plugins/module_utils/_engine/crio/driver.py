# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The driver of CRI-O: it implements ``_engine.api.Driver`` with CRI-O's files, program, unit and CRI."""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, log, probe
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    Access,
    Engine,
    Facts,
    Flavour,
    Overrides,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import (
    detect,
    dump,
    files,
    keys,
    pull,
    running,
    sandboxes,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

#: A directory of this name is CRI-O's own, wherever it lies.
_OWN = "crio"


class Crio:
    """One CRI-O on its node."""

    #: The properties of its unit that detection reads.
    PROPERTIES: t.ClassVar[tuple[str, ...]] = detect.PROPERTIES

    def __init__(self, engine: Engine, flavour: Flavour) -> None:
        self.engine = engine
        self._client = flavour.client

    @classmethod
    def find(
        cls, flavour: Flavour, unit: str, shown: systemd.Properties, overrides: Overrides
    ) -> tuple[Crio, list[Refusal]]:
        """Return the engine that a unit runs, and all that makes a restart of it a risk."""
        engine, doubts = detect.find(flavour, unit, shown, overrides)
        return cls(engine, flavour), doubts

    @property
    def _drop_ins(self) -> str:
        return keys.directory(self.engine.config, self.engine.drop_ins)

    def facts(self, mode: str) -> Facts:
        return Facts(self.engine.version, self.engine.config, 0, mode)

    def files(self) -> dict[str, bytes]:
        return files.read(self.engine.config, self._drop_ins)

    def places(self) -> list[str]:
        # The main file is never written, but the planner wants to know that there is none.
        return [self.engine.config, keys.drop_in_path(self.engine.config, self.engine.drop_ins)]

    def territory(self) -> list[str]:
        found: list[str] = []
        for path in (self.engine.config, os.path.realpath(self.engine.config)):
            directory = os.path.dirname(path)
            found.append(directory if os.path.basename(directory) == _OWN else path)
        found += [self._drop_ins, os.path.realpath(self._drop_ins)]
        return list(dict.fromkeys(found))

    def configured(self, config: str = "") -> Dump:
        if config:  # a trial has its directory of drop-ins beside the main file
            return dump.take(self.engine, config, keys.directory(config))
        return dump.take(self.engine, self.engine.config, self._drop_ins)

    def status(self) -> cri.Status:
        status = cri.status(self.engine.socket)
        if self.engine.version >= keys.STATUS_HAS_HANDLERS:
            return status
        return replace(status, handlers=tuple(running.configuration(self.engine.socket).served()))

    def served(self) -> list[str]:
        try:
            return list(self.status().handlers)
        except cri.CriError as error:
            raise self.no_answer(error) from error

    def start(self) -> str:
        return systemd.invocation(self.engine.unit)

    def apply(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        # After a mere reload, CRI-O lists a new handler, but cannot start its pods.
        deadline = time.monotonic() + timeout
        systemd.restart(self.engine.unit, timeout)
        return self.serving(handlers, deadline - time.monotonic())

    def serving(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        # What CRI-O lacks for a handler it looks for only once, when it starts.
        return probe.wait(self, handlers, timeout, patient=False)

    def is_up(self) -> bool:
        """Without its CRI, there is no CRI-O."""
        return False

    def broken(self) -> dict[str, str]:
        """CRI-O has no parts that can fail alone."""
        return {}

    def last_words(self, since: float) -> str:
        return log.telling(log.entries(systemd.logged(self.engine.unit, since)), since)

    def snapshotters(self) -> list[str]:
        return []

    def pods(self) -> list[cri.Sandbox]:
        try:
            return sandboxes.all_of(self.engine.socket, self._store())
        except cri.CriError as error:
            raise self.no_answer(error) from error

    def _store(self) -> str:
        return self.engine.root or running.configuration(self.engine.socket).value("crio", "root")

    def no_answer(self, error: Exception) -> Refusal:
        return probe.no_answer(self.engine, error, client=self._client)

    def registry(self, image: str, access: Access) -> pull.Registry:
        return pull.Registry(self.engine, self.configured(), image, access)

    def clean(self) -> None:
        pull.clean()
