# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The words of CRI-O's command line that matter here, and the variables that say the same."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, fields

#: CRI-O's options, by each of their names, and the variables that stand for them. The command line wins.
_OPTIONS = {
    "config": "config",
    "c": "config",
    "config-dir": "drop_ins",
    "d": "drop_ins",
    "listen": "listen",
    "root": "root",
    "r": "root",
}
_VARIABLES = {
    "CONTAINER_CONFIG": "config",
    "CONTAINER_CONFIG_DIR": "drop_ins",
    "CONTAINER_LISTEN": "listen",
    "CONTAINER_ROOT": "root",
}


@dataclass(frozen=True)
class Options:
    """What a command line says, '' for what it does not say: main file, directory of drop-ins, socket, and data directory."""

    config: str = ""
    drop_ins: str = ""
    listen: str = ""
    root: str = ""


def read(words: t.Sequence[str], variables: t.Mapping[str, str], directory: str = "/") -> Options:
    """Read the words after the program's name. The last of the same option counts. Relative paths start at ``directory``."""
    found = {key: variables[name] for name, key in _VARIABLES.items() if variables.get(name)}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in _OPTIONS:
            found[_OPTIONS[name]] = value if equals else (rest.pop(0) if rest else "")
    paths = {key: found.get(key, "") for key in (field.name for field in fields(Options))}
    return Options(
        **{key: os.path.normpath(os.path.join(directory, path)) if path else "" for key, path in paths.items()}
    )
