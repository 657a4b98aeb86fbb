# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What one run changes in an engine. The controller plans it (see plugin_utils' ``_engine``), the unit carries it out."""

from __future__ import annotations

import base64
import typing as t
from dataclasses import dataclass, field

Tables = t.Mapping[str, t.Mapping[str, t.Any]]


@dataclass(frozen=True)
class FileChange:
    """A configuration file as it shall be. A ``content`` of None removes it.

    ``expected`` is the digest that the file had when the controller read it. ``before`` is the file's content without anything
    of ours; None: no file. ``builtin`` are the engine's own handlers that we write out beside ours. ``disabled`` are the
    plugins that we take out of the file's list of disabled ones, for our handlers.
    """

    path: str
    expected: str
    content: bytes | None
    before: bytes | None
    builtin: Tables = field(default_factory=dict)
    disabled: t.Sequence[str] = ()


@dataclass(frozen=True)
class Change:
    """All that one run changes in an engine. The controller makes it, because it can parse TOML."""

    files: t.Sequence[FileChange] = ()
    #: File name → content, for a trial by the engine: ``config.toml`` and the changed files that it imports.
    trial: t.Mapping[str, bytes] = field(default_factory=dict)
    #: Our handlers as they shall be: name → table.
    handlers: Tables = field(default_factory=dict)
    #: Our proxy plugins: name → table.
    proxies: Tables = field(default_factory=dict)
    #: Links to shims, for engines that look for a shim in their PATH: path → target.
    links: t.Mapping[str, str] = field(default_factory=dict)
    #: Handlers of the user's that come back when ours of the same name are removed.
    returned: t.Sequence[str] = ()

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Change:
        """Return the change that a module's arguments describe: JSON, with the bytes of files in base64."""
        return cls(
            files=[
                FileChange(
                    file["path"],
                    file["expected"],
                    decoded(file["content"]),
                    decoded(file["before"]),
                    file["builtin"],
                    file["disabled"],
                )
                for file in plain["files"]
            ],
            trial={name: base64.b64decode(content) for name, content in plain["trial"].items()},
            handlers=plain["handlers"],
            proxies=plain["proxy_plugins"],
            links=plain["links"],
            returned=plain.get("returned", ()),
        )


def configuration_of(table: t.Mapping[str, t.Any]) -> str:
    """Return the path of Kata's configuration in a handler's table, '' without one: each family has it in another key."""
    return str(table.get("runtime_config_path") or table.get("options", {}).get("ConfigPath") or "")


def encoded(content: bytes | None) -> str | None:
    """Return bytes as JSON can hold them; None stays None."""
    return None if content is None else base64.b64encode(content).decode()


def decoded(text: str | None) -> bytes | None:
    """Return the bytes that :func:`encoded` was given."""
    return None if text is None else base64.b64decode(text)
