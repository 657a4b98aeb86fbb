# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of CRI-O, and the files that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import files, options
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.options import Options


@pytest.mark.parametrize(
    ("words", "variables", "found"),
    [
        ("", {}, Options()),
        ("--log-level debug", {}, Options()),
        ("--config /a --config-dir /b --listen /c --root /d", {}, Options("/a", "/b", "/c", "/d")),
        ("-c /a -d=/b", {}, Options("/a", "/b")),
        ("--config=/a --config=/b", {}, Options("/b")),
        ("--config=etc/../a", {}, Options("/srv/a")),
        ("--config", {}, Options()),
        ("", {"CONTAINER_CONFIG": "/a", "CONTAINER_CONFIG_DIR": "/b", "CONTAINER_LISTEN": "/c"}, Options("/a", "/b", "/c")),
        ("-c /b", {"CONTAINER_CONFIG": "/a"}, Options("/b")),
    ],
)  # fmt: skip
def test_options(words: str, variables: dict[str, str], found: Options) -> None:
    assert options.read(words.split(), variables, "/srv") == found


def test_files(tmp_path: Path) -> None:
    """Every file counts, whatever its name, those of directories below it in their place. Links to directories do not."""
    directory = tmp_path / "crio.conf.d"
    for name in ("b.conf", "a/z", "a/b/c", "a-first", "c.bak", ".hidden"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(name)
    (directory / "linked").symlink_to(directory / "a")
    (directory / "dangling").symlink_to("/nowhere")
    (directory / "d").symlink_to(directory / "b.conf")
    main = tmp_path / "crio.conf"
    names = [".hidden", "a/b/c", "a/z", "a-first", "b.conf", "c.bak", "d"]
    assert list(files.read(str(main), str(directory))) == [str(directory / name) for name in names]
    main.write_text("main")
    assert list(files.read(str(main), str(tmp_path / "none"))) == [str(main)]
