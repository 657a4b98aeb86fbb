# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The receipt: what this collection has put on a node, and what was there before.

Receipts of older versions lack some parts. Each part has a default that means the same as its absence. ``tree`` and ``left``,
tables with thousands of rows, stay plain data as in the document.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree

SCHEMA = 1

Tables = t.Mapping[str, t.Mapping[str, t.Any]]


class Difference(t.TypedDict):
    """How one path differs from its state before the first command of a payload.

    ``before`` and ``after`` are entries of a record (see ``_installer.record``), None for nothing. ``edited``: somebody has
    changed the path since.
    """

    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None
    edited: bool


#: By path.
Left = t.Dict[str, Difference]


@dataclass(frozen=True)
class Payload:
    """The payload that something came from. Without a ``digest``, it came from none.

    ``chain`` maps every digest that names the payload to the kind of that digest. ``parts`` are the digests of its tarballs, if
    it comes in several. ``components`` is {needed, unpacked}, or None. ``source`` is the state of a tarball or directory on the
    node, or ''.
    """

    digest: str = ""
    digest_kind: str = ""
    chain: t.Mapping[str, str] = field(default_factory=dict)
    parts: t.Sequence[str] = ()
    architecture: str = ""
    reference: str = ""
    layout: str = ""
    components: t.Mapping[str, t.Any] | None = None
    source: str = ""

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Payload:
        """Return the payload of a document. Other keys in the document do not matter."""
        digest = plain.get("digest") or ""
        return cls(
            digest=digest,
            digest_kind=plain.get("digest_kind") or "",
            chain=plain.get("chain") or ({digest: ""} if digest else {}),
            parts=plain.get("parts") or (),
            architecture=plain.get("architecture") or "",
            reference=plain.get("reference") or "",
            layout=plain.get("layout") or "",
            components=plain.get("components"),
            source=plain.get("source") or "",
        )

    def plain(self) -> dict[str, t.Any]:
        return {**vars(self), "chain": dict(self.chain), "parts": list(self.parts)}


@dataclass(frozen=True)
class Edit:
    """A file of the engine that we have edited.

    ``before`` is its content without anything of ours (base64), None for no file. ``after`` is the digest of what we wrote.
    ``builtin`` and ``disabled`` are as in ``_engine.change.FileChange``.
    """

    before: str | None
    after: str
    builtin: Tables = field(default_factory=dict)
    disabled: t.Sequence[str] = ()

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Edit:
        return cls(plain["before"], plain["after"], plain.get("builtin", {}), plain.get("disabled", ()))

    def plain(self) -> dict[str, t.Any]:
        return {**vars(self), "builtin": dict(self.builtin), "disabled": list(self.disabled)}


@dataclass(frozen=True)
class CommandDone:
    """A command of a payload that has run.

    ``digest`` names the payload. ``fingerprint`` tells whether another run of the command would be the same. The rest is what
    the user said about the command.
    """

    digest: str
    fingerprint: str = ""
    commands: t.Mapping[str, t.Any] = field(default_factory=dict)
    volumes: t.Sequence[t.Mapping[str, t.Any]] | None = None
    mounts: t.Sequence[t.Mapping[str, t.Any]] | None = None
    environment: t.Mapping[str, t.Any] | None = None
    kubectl: str = ""

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> CommandDone:
        return cls(**plain)

    def plain(self) -> dict[str, t.Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Installer:
    """What the commands of payloads have done.

    ``done`` has the last run of each command, ``left`` how the node still differs from its state before them.
    """

    done: t.Mapping[str, CommandDone] = field(default_factory=dict)
    left: Left = field(default_factory=dict)

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Installer:
        done = {command: CommandDone.from_plain(run) for command, run in plain.get("done", {}).items()}
        return cls(done, plain.get("left", {}))

    def plain(self) -> dict[str, t.Any]:
        return {"done": {command: run.plain() for command, run in self.done.items()}, "left": self.left}


@dataclass(frozen=True)
class EngineIdentity:
    """The engine that the installation was made for."""

    name: str
    version: str
    unit: str
    config: str


@dataclass(frozen=True)
class Receipt:
    """What is installed. The empty receipt stands for a node on which nothing was ever installed.

    ``tree`` has the artifacts below ``prefix`` (see ``_payload.tree``). ``left`` has the entries of edited files that stay when
    the payload is removed. ``kept`` are the user's files that are kept aside, as paths below the prefix. ``directories``
    are ours to remove. ``edits`` are by path. ``links`` maps paths to targets, ``handlers`` and ``proxy_plugins`` map names to
    tables.
    """

    payload: Payload = field(default_factory=Payload)
    prefix: str = ""
    tree: Tree = field(default_factory=dict)
    left: Tree = field(default_factory=dict)
    kept: t.Sequence[str] = ()
    directories: t.Sequence[str] = ()
    edits: t.Mapping[str, Edit] = field(default_factory=dict)
    links: t.Mapping[str, str] = field(default_factory=dict)
    installer: Installer = field(default_factory=Installer)
    handlers: Tables = field(default_factory=dict)
    proxy_plugins: Tables = field(default_factory=dict)
    engine: EngineIdentity | None = None
    collection: str = ""
    installed_at: str = ""
    changed_at: str = ""

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Receipt:
        """Return the receipt that a document describes. Raises KeyError, TypeError or AttributeError for anything else."""
        engine = plain.get("engine")
        return cls(
            payload=Payload.from_plain(plain.get("payload", {})),
            prefix=plain.get("prefix", ""),
            tree=plain.get("tree", {}),
            left=plain.get("left", {}),
            kept=tuple(plain.get("kept", ())),
            directories=tuple(plain.get("directories", ())),
            edits={path: Edit.from_plain(edit) for path, edit in plain.get("edits", {}).items()},
            links=plain.get("links", {}),
            installer=Installer.from_plain(plain.get("installer", {})),
            handlers=plain.get("handlers", {}),
            proxy_plugins=plain.get("proxy_plugins", {}),
            engine=EngineIdentity(**engine) if engine else None,
            **{key: plain.get(key, "") for key in ("collection", "installed_at", "changed_at")},
        )

    def plain(self) -> dict[str, t.Any]:
        """Return the document. Facts that are not known yet are not in it."""
        known = {
            "payload": self.payload.plain() if self.payload.digest else None,
            "prefix": self.prefix,
            "engine": asdict(self.engine) if self.engine else None,
            **{key: getattr(self, key) for key in ("collection", "installed_at", "changed_at")},
        }
        return {
            "schema": SCHEMA,
            **{key: value for key, value in known.items() if value},
            **{key: getattr(self, key) for key in ("tree", "left", "links", "handlers", "proxy_plugins")},
            "kept": list(self.kept),
            "directories": list(self.directories),
            "edits": {path: edit.plain() for path, edit in self.edits.items()},
            "installer": self.installer.plain(),
        }

    @property
    def is_installed(self) -> bool:
        """Tell whether the node has anything of ours that ``uninstall`` would remove."""
        return bool(self.tree or self.edits or self.links or self.handlers) or "install" in self.installer.done

    @property
    def digests(self) -> set[str]:
        """Return the digests of all known payloads: the one installed now or last, and those whose commands have run."""
        return {self.payload.digest, *(run.digest for run in self.installer.done.values())}
