# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's view of an engine's configuration: what a node has (Found), what we want (Wanted), what to do (Plan).

A planner turns the first two into the third. It is pure: texts in, texts out. ``planners`` picks the planner of an engine.
"""

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
    """What a node has.

    ``flavour`` names its engine, ``version`` is the engine's and ``release`` the distribution's, ``kubelet`` is the kubelet's
    directory. ``dump`` is what the engine makes of its configuration, ``main`` the main file's path.
    ``files`` has the text of every file concerned: what the engine reads, our drop-in, and all that we have edited.

    ``before`` has the text to go back to, for each file that is still as we left it. A file that is not in it was edited since,
    or was never ours. ``edited`` are the paths of the files that we have edited. ``ours`` and ``proxies`` are our handlers and
    proxy plugins that are in the files now, name → table as we wrote it. ``written`` (the built-in handlers that we wrote out)
    and ``disabled`` are as in :class:`Edit`.
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
    flavour: str = "containerd"
    release: str = ""
    kubelet: str = ""
    #: The directory whose files the engine reads after its main file, if its command line names one.
    drop_ins: str = ""

    @classmethod
    def read(cls, found: t.Mapping[str, t.Any]) -> Found:
        """Return the result of the module engine_config, which reads a node, as a :class:`Found`."""
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
            flavour=found["engine"]["name"],
            release=found["engine"]["release"],
            kubelet=found["kubelet"],
            drop_ins=found["engine"]["drop_ins"],
        )


def _texts(files: t.Mapping[str, str | None]) -> Texts:
    """Return the texts of files, given their bytes in base64."""
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
    """What the engine shall serve: our handlers and proxy plugins, name → table. And what the user allows us to do for that."""

    handlers: Tables = field(default_factory=dict)
    proxies: Tables = field(default_factory=dict)
    mode: str = "auto"
    keep_aside: bool = False
    enable_cri: bool = False


@dataclass(frozen=True)
class Edit:
    """The edit of one file: its text now, its new text, and its text without anything of ours. None: no such file.

    ``builtin`` are handlers of the engine's own defaults that we write out beside ours. ``disabled`` are the plugins that we
    take out of the file's ``disabled_plugins``.
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
    """What to do on the node.

    The edits in a safe order, the files for a trial (see ``_native.checks``), the mode in which handlers are written ('' if there
    are none), and the names of the user's handlers that come back in place of ours.
    """

    edits: tuple[Edit, ...]
    trial: t.Mapping[str, str] = field(default_factory=dict)
    mode: str = ""
    returned: tuple[str, ...] = ()


class Planner(t.Protocol):
    """Plans the configuration of one family of engines: texts in, texts out. There is a class for each family."""

    @property
    def keys(self) -> t.Collection[str]:
        """The known keys of a handler's table."""

    def tables(
        self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version
    ) -> dict[str, dict[str, t.Any]]:
        """Return each handler's table in the engine's dialect.

        ``handlers`` are as the payload offers them (see ``_payload.shims``). ``overrides`` are by handler name: they have the
        same keys, further keys of a handler's table, and ``options``, which are merged.
        """

    def links(self, handlers: t.Sequence[t.Mapping[str, t.Any]], overrides: Tables, version: Version) -> dict[str, str]:
        """Return the links that shims need, path → target.

        For an engine that finds a shim only by its name, these include links to shims.
        """

    def plan(self, found: Found, wanted: Wanted, trial: str) -> Plan:
        """Plan the edits that bring the engine's files to exactly what is wanted. ``trial`` is the directory of the trial."""

    def served(self, dump: str) -> list[str]:
        """Return the handlers that an engine with this dump serves."""
