# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The receipt: what of ours is on a node, and what was there before.

Receipts of older versions lack some of its parts: each part has a default that says the same as its absence. The tables with
thousands of rows (``tree``, ``left``) stay as they are in the document.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree

SCHEMA = 1

Tables = t.Mapping[str, t.Mapping[str, t.Any]]


class Difference(t.TypedDict):
    """How one path differs from what it was before the first command of a payload. ``before`` and ``after`` are entries of a record
    (see ``_installer.record``), None for nothing; ``edited``: somebody has changed it since.
    """

    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None
    edited: bool


#: By path.
Left = t.Dict[str, Difference]


@dataclass(frozen=True)
class Payload:
    """Which payload something is of; without a digest, of none.

    ``chain`` maps every digest that names it to its kind, ``parts`` are the digests of its tarballs, if it comes in several;
    ``components`` is {needed, unpacked}, or None; ``source`` the state of a tarball or directory on the node, or ''.
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
        """Return the payload of a document; keys of other things in it do not count."""
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
    """An edited file of the engine's. ``before`` (base64) is what it is to be again when nothing of ours is in it, None for no file;
    ``after`` the digest that we gave it; ``builtin`` and ``disabled`` as in ``_engine.change.FileChange``.
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
    """A command of a payload that was run: of which payload, what makes another run of it the same, and what the user said of it."""

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
    """What commands that payloads bring have done: the last run of each, and how the node still differs from what it was before."""

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
    """What is installed. The empty one stands for a node on which nothing ever was.

    ``tree`` has the artifacts below ``prefix`` (see ``_native.artifacts``), ``left`` those of edited files that stay when the payload goes,
    ``kept`` the paths below the prefix of the user's files that are kept aside; ``directories`` are ours to remove; ``edits`` are by
    path; ``links`` map paths to targets; ``handlers`` and ``proxy_plugins`` names to tables.
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
        """Return the receipt that a document describes. Raises KeyError, TypeError or AttributeError for what is none."""
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
        """Return the document. What a node does not have yet is not in it."""
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
        """Tell whether anything of ours is on the node that ``uninstall`` would remove."""
        return bool(self.tree or self.edits or self.links or self.handlers) or "install" in self.installer.done

    @property
    def digests(self) -> set[str]:
        """Return the digests of all payloads that are known: what is installed or was last, and those that commands ran of."""
        return {self.payload.digest, *(run.digest for run in self.installer.done.values())}
