# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rendered file tells about the files it was made from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    k0s,
    k3s,
    microk8s,
    rendering,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

TEMPLATE = 'a = 1\nroot = "${SNAP}/x/${KIND}"\nb = "${LOST}" # c\nc = "${SNAP}"\n'


def engine(config: Path) -> Engine:
    return Engine("k3s", (2, 0, 0), "k3s.service", "", str(config), "", True)


def write(path: Path, seconds: float, text: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (1000.0 + seconds, 1000.0 + seconds))


def test_the_values_of_placeholders() -> None:
    rendered = 'a = 1\nroot = "/snap/1/x/native"\nsomething else\nc = "/snap/1"\n'
    known = rendering.values(TEMPLATE, rendered)
    assert known == {"SNAP": "/snap/1", "KIND": "native"}
    assert rendering.render('x = "${KIND}${NEW}"', known) == 'x = "native${NEW}"'


@pytest.mark.parametrize(("seconds", "refused"), [(-60, False), (3, False), (60, True)])
def test_a_template_that_was_changed_since_it_was_rendered(tmp_path: Path, seconds: float, refused: bool) -> None:
    config = tmp_path / "config.toml"
    assert list(k3s.doubts(engine(config))) == []
    write(config, 0)
    write(tmp_path / "config.toml.tmpl", seconds)
    assert ["Restart k3s.service" in str(doubt) for doubt in k3s.doubts(engine(config))] == [True] * refused
    # k3s takes no notice of it if there is one for the new schema.
    write(tmp_path / "config-v3.toml.tmpl", -60)
    assert list(k3s.doubts(engine(config))) == []
    write(tmp_path / "containerd-template.toml", seconds)
    assert len(list(microk8s.doubts(engine(config)))) == refused


def test_a_drop_in_that_k0s_has_not_merged(tmp_path: Path) -> None:
    config, merged = tmp_path / "containerd.toml", tmp_path / "run/containerd-cri.toml"
    write(merged, 0)
    write(tmp_path / "containerd.d/broken.toml", 60)
    write(config, 0, f'# k0s_managed=true\nversion = 2\nimports = ["{merged}"]\n')
    assert [f"{tmp_path}/containerd.d/broken.toml" in str(doubt) for doubt in k0s.doubts(engine(config))] == [True]
    assert k0s.watched(engine(config)) == f"{tmp_path}/containerd.d"
    assert ["prepare_upgrade" in remark for remark in k0s.remarks(engine(config))] == [True]
    write(config, 0, "# k0s_managed=true\nversion = 3\n")
    assert k0s.remarks(engine(config)) == []
    write(config, 0, f'version = 2\nimports = ["{merged}"]\n')
    assert list(k0s.doubts(engine(config))) == []
    assert k0s.watched(engine(config)) == ""


@pytest.mark.parametrize(
    ("notes", "asked"), [("-", ["--hold=1h", "--unhold"]), ("classic", ["--hold=1h", "--unhold"]), ("classic,held", [])]
)
def test_a_hold_of_the_admin_s_stays(monkeypatch: pytest.MonkeyPatch, notes: str, asked: list[str]) -> None:
    done: list[str] = []

    def run(argv: list[str]) -> object:
        done.append(argv[2])
        return type("Done", (), {"stdout": f"Name Version Rev Notes\nmicrok8s v1.34 8000 {notes}\n"})

    monkeypatch.setattr(process, "run", run)
    with microk8s.held():
        pass
    assert done == ["microk8s", *asked]
