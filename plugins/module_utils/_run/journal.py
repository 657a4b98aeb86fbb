# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The journal of the run that is open on a node. It says how to undo the run, or how to finish it.

A run opens with the artifacts (or with the handlers, if the artifacts stay). It ends when the handlers are committed. Every
step is written to the journal, durably, before it is done. A run that finds a journal when it starts has found an interrupted
run: see ``_handover.recover``.
"""

from __future__ import annotations

import enum
import os
import time
import typing as t
import uuid
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import (
    fsync_directory,
    make_directories,
    remove_file,
    write_json,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import documents
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import (
    COLLECTION_VERSION,
    State,
)

SCHEMA = 1
#: Journals of the version before have neither schema nor kind.
_UNDERSTOOD = (SCHEMA, None)


class Kind(enum.Enum):
    """Which transaction finishes a run or rolls it back: ``_native.transaction`` or ``_installer.transaction``."""

    #: We put artifacts in place, write handlers into the engine's configuration, or both.
    NATIVE = "native"
    #: A payload's own command changes the node, or we undo what such commands have left behind.
    INSTALLER = "installer"


class Stage(enum.Enum):
    """How far a run has come."""

    OPENED = "nothing was changed"
    ARTIFACTS = "artifacts are being swapped"
    CONFIGURATION = "the engine's files are being written"
    RESTARTING = "the engine is being restarted"
    COMMAND = "a payload's command is at work"
    ROLLING_BACK = "all that was changed is being put back"
    COMMITTED = "what the node no longer needs is being removed"


@dataclass(frozen=True)
class Swap:
    """The artifacts that a run adds to the prefix, replaces and removes.

    All paths are relative to ``prefix``, but for ``directories``: those that the swap makes. ``staged`` is where the new files
    are, ``aside`` where links to replaced files go ('': there are none). ``editable`` has the entries of configuration files
    among the artifacts. ``kept`` are the user's files that are kept aside, ``give_back`` those that come back.
    """

    prefix: str
    staged: str = ""
    aside: str = ""
    add: t.Sequence[str] = ()
    replace: t.Sequence[str] = ()
    remove: t.Sequence[str] = ()
    editable: Tree = field(default_factory=dict)
    directories: t.Sequence[str] = ()
    kept: t.Sequence[str] = ()
    give_back: t.Sequence[str] = ()

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Swap:
        return cls(**plain)

    def plain(self) -> dict[str, t.Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class ConfigUndo:
    """What a rollback of the engine's configuration needs.

    By path: ``files`` has the old bytes (base64), ``modified`` the times of the old files (nanoseconds), ``written`` the digests of
    what the run writes, ``links`` the old targets and ``linked`` the targets that the run sets. ``directories`` are those that the
    run makes. ``served`` are the handlers that the engine served before. ``invocation`` names the start of the engine that had
    read the old files. ``back`` names the start that we found when the old files were back (None: they are not back).
    ``restarting``: the files are written, and the engine is being restarted; a watched engine from before its files are written
    on. ``timeout``: seconds that a restart may take.

    The oldest journals have neither ``written``, ``linked`` nor ``invocation``.
    """

    files: t.Mapping[str, str | None]
    links: t.Mapping[str, str | None]
    directories: t.Sequence[str]
    engine: Engine
    served: t.Sequence[str]
    timeout: float
    written: t.Mapping[str, str] = field(default_factory=dict)
    linked: t.Mapping[str, str | None] = field(default_factory=dict)
    modified: t.Mapping[str, int] = field(default_factory=dict)
    invocation: str = ""
    restarting: bool = False
    back: str | None = None

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> ConfigUndo:
        return cls(**{**plain, "engine": Engine.from_plain(plain["engine"])})

    def plain(self) -> dict[str, t.Any]:
        return {**vars(self), "engine": self.engine.plain()}


@dataclass(frozen=True)
class CommandUndo:
    """What a rollback of a payload's command needs, beside the record of what the command may change (``_installer.record``).

    ``created`` are the volumes that were made for the command (see ``_installer.volumes``). ``served``, ``invocation``,
    ``timeout`` and ``back`` are as in :class:`ConfigUndo`. ``seen`` is what stood on the node when the rollback began (None: it
    has not begun).
    """

    created: list[dict[str, t.Any]]
    engine: Engine
    served: t.Sequence[str]
    invocation: str
    timeout: float
    seen: t.Mapping[str, dict[str, t.Any] | None] | None = None
    back: str | None = None

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> CommandUndo:
        return cls(**{**plain, "engine": Engine.from_plain(plain["engine"])})

    def plain(self) -> dict[str, t.Any]:
        return {**vars(self), "engine": self.engine.plain()}


def stage(
    committed: bool, artifacts: Swap | None = None, config: ConfigUndo | None = None, command: CommandUndo | None = None
) -> Stage:
    """Return how far a run has come, judged by the parts in its journal."""
    if committed:
        return Stage.COMMITTED
    if command is not None:
        return Stage.COMMAND if command.seen is None else Stage.ROLLING_BACK
    if config is not None:
        if config.back is not None:
            return Stage.ROLLING_BACK
        return Stage.RESTARTING if config.restarting else Stage.CONFIGURATION
    return Stage.OPENED if artifacts is None else Stage.ARTIFACTS


class Journal:
    """An open run: its ``kind``, the parts that a rollback needs, and the future ``receipt``.

    A run that is ``committed`` will be finished, any other will be undone.
    """

    def __init__(self, state: State, kind: Kind = Kind.NATIVE) -> None:
        self._state = state
        self.kind = kind
        self.run = uuid.uuid4().hex
        self.committed = False
        self.artifacts: Swap | None = None
        self.config: ConfigUndo | None = None
        self.command: CommandUndo | None = None
        self.receipt: Receipt | None = None

    @classmethod
    def find(cls, state: State) -> Journal | None:
        """Return the journal of the run that is open, if any."""
        return documents.read(_path(state), "journal", _UNDERSTOOD, lambda plain: cls.from_plain(state, plain))

    @classmethod
    def from_plain(cls, state: State, plain: t.Mapping[str, t.Any]) -> Journal:
        """Return the journal that a document describes."""
        native = "installer" not in plain
        journal = cls(state, Kind(plain["kind"]) if "kind" in plain else Kind.NATIVE if native else Kind.INSTALLER)
        journal.run, journal.committed = plain["run"], plain["committed"]
        journal.artifacts = Swap.from_plain(plain["artifacts"]) if "artifacts" in plain else None
        journal.config = ConfigUndo.from_plain(plain["config"]) if "config" in plain else None
        journal.command = CommandUndo.from_plain(plain["installer"]) if "installer" in plain else None
        journal.receipt = Receipt.from_plain(plain["receipt"]) if "receipt" in plain else None
        return journal

    def plain(self) -> dict[str, t.Any]:
        """Return the document. Parts that the run has not reached are not in it."""
        parts = {
            "artifacts": self.artifacts,
            "config": self.config,
            "installer": self.command,
            "receipt": self.receipt,
        }
        return {
            "schema": SCHEMA,
            "kind": self.kind.value,
            "collection": COLLECTION_VERSION,
            "run": self.run,
            "committed": self.committed,
            **{name: part.plain() for name, part in parts.items() if part is not None},
        }

    @property
    def stage(self) -> Stage:
        return stage(self.committed, self.artifacts, self.config, self.command)

    @property
    def age(self) -> float:
        """The seconds since the last step was written. If the clock was set back, the journal counts as old."""
        age = time.time() - os.stat(_path(self._state)).st_mtime
        return age if age >= 0 else float("inf")

    def record(
        self,
        artifacts: Swap | None = None,
        config: ConfigUndo | None = None,
        command: CommandUndo | None = None,
        receipt: Receipt | None = None,
        committed: bool | None = None,
    ) -> None:
        """Set these parts. They are durable when this returns."""
        self.artifacts = artifacts or self.artifacts
        self.config = config or self.config
        self.command = command or self.command
        self.receipt = receipt or self.receipt
        self.committed = self.committed if committed is None else committed
        self._state.create()
        make_directories(self._state.journal, mode=0o700)
        write_json(_path(self._state), self.plain())

    def close(self) -> None:
        """End the run. Afterwards ``_run.begin.tidy`` removes what lies beside the journal."""
        remove_file(_path(self._state))
        if os.path.isdir(self._state.journal):
            fsync_directory(self._state.journal)


def _path(state: State) -> str:
    return os.path.join(state.journal, "journal.json")
