# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A node without a node: what it remembers between runs, and what its engine would print."""

from __future__ import annotations

import tomllib
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import (
    Found,
    Plan,
    Wanted,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import documents
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.planners import planner_of

PLANNER = planner_of("containerd")

MAIN = "/etc/containerd/config.toml"
DROP_IN = schemas.drop_in_path(MAIN)
GLOB = schemas.drop_in_glob(MAIN)
TRIAL = "/run/trial"

#: Files that configurations import by their plain names; they say nothing.
IMPORTED = dict.fromkeys(("/etc/a.toml", "/etc/containerd/b.toml", "/etc/[1]#.toml"), "")

BUILTIN = {"runc": {"runtime_type": "io.containerd.runc.v2", "options": {}}}

Tables = t.Mapping[str, t.Mapping[str, t.Any]]
Texts = dict[str, str | None]


def values(text: str | None) -> dict[str, t.Any]:
    """Parse a text with the standard library: a second opinion beside tomlkit's."""
    return tomllib.loads((text or "").removeprefix("\ufeff"))


class Node:
    def __init__(self, version: tuple[int, ...], main: str, mode: str) -> None:
        self.version, self.mode = version, mode
        self.files: Texts = {MAIN: main, DROP_IN: None}
        self.before: Texts = {}
        self.ours: Tables = {}
        self.written: Tables = {}

    @property
    def target(self) -> schemas.Target:
        document = toml.parse(self.files[MAIN] or "", MAIN)
        schema = documents.schema_of(document)
        return schemas.decide(self.version, schema, self.mode, plain="plugins" not in document)

    def handlers(self) -> dict[str, t.Any]:
        """Return the tables of handlers in the node's files."""
        found: dict[str, t.Any] = {}
        for text in self.files.values():
            found.update(toml.lookup(toml.parse(text or "", MAIN), self.target.table))
        return found

    def dump(self) -> str:
        """Print the handlers as the engine would, in the newest schema that it knows."""
        table = schemas.decide(self.version, 3 if self.version >= (2, 0) else 2).table
        prefix = ".".join(f"'{part}'" for part in table)
        lines = [f"version = {3 if self.version >= (2, 0) else 2}"]
        for name, handler in {**BUILTIN, **self.handlers()}.items():
            options = handler.get("options", {}) if isinstance(handler, dict) else {}
            lines += [f"[{prefix}.'{name}']", "  runtime_type = 'io.containerd.runc.v2'", "  runtime_root = ''"]
            lines += [f"  [{prefix}.'{name}'.options]"] + [f"    {key} = 'x'" for key in options if key.isalnum()]
        return "\n".join(lines) + "\n"

    def run(self, wanted: Tables, forget: bool = False) -> Plan:
        """Bring the node to these handlers; ``forget``: as if the files had been edited since the last run."""
        found = Found(
            self.version,
            MAIN,
            {**IMPORTED, **self.files},
            self.dump(),
            before={} if forget else dict(self.before),
            edited=list(self.before),
            ours=self.ours,
            written=self.written,
        )
        plan = PLANNER.plan(found, Wanted(wanted, mode=self.mode), TRIAL)
        for edit in plan.edits:
            assert edit.now == self.files[edit.path]
            self.files[edit.path] = edit.wanted
            self.before.pop(edit.path, None)
            self.written = edit.builtin if edit.path == MAIN else self.written
            if edit.wanted != edit.without:
                self.before[edit.path] = edit.without
        self.ours = dict(wanted)
        return plan
