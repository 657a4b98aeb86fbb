# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller knows of an engine's configuration, and what it wants to become of it. Pure: text in, text out."""

from __future__ import annotations

import base64
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Tables = t.Mapping[str, t.Mapping[str, t.Any]]


Texts = t.Mapping[str, str | None]


Version = tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """What a node has: the version of its engine, what that makes of its configuration (``dump``), the main file's path, and
    every file concerned: what the engine reads, our drop-in, and all that we have edited.

    ``before`` is the text to go back to of each file that is as we left it (absent from it: edited since, or never ours),
    ``edited`` the paths of the files that we have edited. ``ours`` and ``proxies`` are our handlers and proxy plugins in the
    files now, name → table as we wrote it, ``written`` and ``disabled`` as in :class:`Edit`.
    """

    version: Version
    main: str
    files: Texts
    dump: str
    before: Texts = field(default_factory=dict)
    edited: t.Collection[str] = ()
    ours: Tables = field(default_factory=dict)
    proxies: Tables = field(default_factory=dict)
    written: Tables = field(default_factory=dict)
    disabled: t.Mapping[str, t.Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, found: t.Mapping[str, t.Any]) -> Found:
        """Return what the module engine_config has read on a node."""
        return cls(
            version=tuple(map(int, found["engine"]["version"].split("."))),
            main=found["engine"]["config"],
            files=_texts(found["files"]),
            dump=found["dump"],
            before=_texts(found["before"]),
            edited=found["edited"],
            ours=found["owned"],
            proxies=found["proxy_plugins"],
            written=found["builtin"],
            disabled=found["disabled"],
        )


def _texts(files: t.Mapping[str, str | None]) -> Texts:
    """Return the texts of files whose bytes are in base64."""
    texts: dict[str, str | None] = {}
    for path, content in files.items():
        try:
            texts[path] = None if content is None else base64.b64decode(content).decode()
        except UnicodeDecodeError:
            raise Refusal(
                f"{path} to be UTF-8 text", "other bytes", "Save the file as UTF-8, which TOML requires."
            ) from None
    return texts


@dataclass(frozen=True)
class Wanted:
    """What the engine is to serve: our handlers and proxy plugins, name → table; and what the user allows for that."""

    handlers: Tables = field(default_factory=dict)
    proxies: Tables = field(default_factory=dict)
    mode: str = "auto"
    keep_aside: bool = False
    enable_cri: bool = False


@dataclass(frozen=True)
class Edit:
    """One file: its text now, as it shall be, and as it is without anything of ours. None: no such file.

    ``builtin`` are handlers of the engine's own defaults that were written out beside ours, ``disabled`` the plugins that
    were taken out of its ``disabled_plugins``.
    """

    path: str
    now: str | None
    wanted: str | None
    without: str | None
    builtin: Tables = field(default_factory=dict)
    disabled: t.Sequence[str] = ()

    @property
    def changes(self) -> bool:
        return self.now != self.wanted


@dataclass(frozen=True)
class Plan:
    """The edits in the order in which they are safe, the files for a trial (see ``_native.transaction``), the mode in which
    handlers are written ('' when none are), and the names of handlers of the user's that come back in the place of ours."""

    edits: tuple[Edit, ...]
    trial: t.Mapping[str, str] = field(default_factory=dict)
    mode: str = ""
    returned: tuple[str, ...] = ()


class Planner(t.Protocol):
    """How one family of engines is configured: texts in, texts out. There is a class for each family."""

    @property
    def keys(self) -> t.Collection[str]:
        """The keys of a handler's table that are known."""

    def tables(
        self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version
    ) -> dict[str, dict[str, t.Any]]:
        """Return each handler's table in the engine's dialect. ``handlers`` as the payload offers them (see ``_payload.shims``), ``overrides``
        by handler name, with the same keys and further ones of a handler's table, and ``options``, which are merged."""

    def links(self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version) -> dict[str, str]:
        """Return the links (path → target) that shims need, and those to shims, for an engine that finds a shim only by its name."""

    def plan(self, found: Found, wanted: Wanted, trial: str) -> Plan:
        """Plan the edits that bring the engine's files to exactly what is wanted. ``trial`` is the directory for a dry run."""

    def served(self, dump: str) -> list[str]:
        """Return the handlers that an engine serves that makes this of its configuration."""
