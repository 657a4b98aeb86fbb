# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files containerd reads: patterns, their order, and what a scan of the text finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    imports as imports_module,
)

MAIN = "/etc/containerd/config.toml"
OURS = "/etc/containerd/conf.d/99-confidential-containers.toml"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("/etc/containerd/conf.d/*.toml", True),
        ("/etc/containerd/conf.d/*", True),
        ("/etc/containerd/*/99-confidential-containers.toml", True),
        (OURS, True),
        ("/etc/containerd/conf.d/9*.toml", True),
        ("/etc/containerd/conf.d/[0-9]*.toml", True),
        ("/etc/containerd/*.toml", False),
        ("/etc/containerd/*", False),
        ("/etc/containerd/conf.d/??-confidential-containers.toml", False),
        ("/etc/containerd/conf.d/1*.toml", False),
        ("/etc/containerd/CONF.D/*.toml", False),
    ],
)
def test_matches(pattern: str, matches: bool) -> None:
    assert imports_module.matches(pattern, OURS) is matches


def test_order() -> None:
    imports = {
        MAIN: ["conf.d/*.toml", "/etc/b.toml", "/no/such.toml"],
        "/etc/containerd/conf.d/1.toml": ["../nested.toml"],
        "/etc/b.toml": [MAIN, "/etc/containerd/conf.d/2.toml"],
    }
    files = [
        "/etc/b.toml",
        "/etc/containerd/conf.d/2.toml",
        "/etc/containerd/conf.d/1.toml",
        "/etc/containerd/nested.toml",
    ]
    assert imports_module.order(MAIN, lambda path: imports.get(path, []), {*files, MAIN}) == [
        MAIN,
        "/etc/containerd/conf.d/1.toml",
        "/etc/containerd/conf.d/2.toml",
        "/etc/b.toml",
        "/etc/containerd/nested.toml",
    ]


def test_read(tmp_path: Path) -> None:
    main, directory = tmp_path / "config.toml", tmp_path / "conf.d"
    directory.mkdir()
    for name in ("2.toml", ".1.toml", "3.conf"):
        (directory / name).write_text(f"# {name}\n")
    main.write_text(f"version = 2\nimports = ['conf.d/*.toml', '{tmp_path}/none.toml', 'config.toml']\n")
    assert list(imports_module.read(str(main))) == [str(main), str(directory / ".1.toml"), str(directory / "2.toml")]
    assert imports_module.read(str(tmp_path / "none.toml")) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("imports = []", []),
        ("version = 2\n 'imports' = ['/a', \"b\"] # '/c'\n", ["/a", "b"]),
        ("imports = [ # '/a'\n  '/b' ,\n]\n", ["/b"]),
        ("[plugins]\nimports = ['/a']\n", []),
        ("note = '''\nimports = ['/a']\n'''\n", []),
        ("imports = '/a'\n", []),
        ("\ufeffimports = ['/a']\n", ["/a"]),
    ],
)
def test_imports_of(text: str, found: list[str]) -> None:
    assert toml_text.imports_of(text) == found
