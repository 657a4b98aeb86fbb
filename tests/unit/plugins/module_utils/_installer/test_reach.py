# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which directories a payload's command answers for. If others write in a directory, too, it only counts if the command has access to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import reach, record
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import Bind

#: Whatever the volumes are.
ALWAYS = ["/etc/systemd/system", "/opt/confidential-containers", "/opt/kata"]


def engine(config: str) -> Driver:
    return flavours.driver(Engine("containerd", (1, 7, 24), "containerd.service", "/x", config, "/s", True))


def bind(source: str, read_only: bool = False) -> Bind:
    return Bind(source, "/mnt", read_only, "", "x")


@pytest.mark.parametrize(
    ("binds", "more"),
    [
        ([], []),
        ([bind("/usr/local/bin")], ["/usr/local/bin"]),
        ([bind("/usr/local/bin", read_only=True)], []),
        ([bind("/usr/local/bin/tools")], ["/usr/local/bin/tools"]),
        ([bind("/usr/local")], ["/usr/local/bin"]),
        ([bind("/")], ["/usr/local/bin"]),
        ([bind("/etc")], []),
        ([bind("/etc/enclave-cc"), bind("/opt/x"), bind("/var/lib/x")], ["/etc/enclave-cc", "/opt/x"]),
        ([bind("/opt")], []),
        ([bind("/etcetera")], []),
    ],
)
def test_volumes(binds: list[Bind], more: list[str]) -> None:
    expected = {"/etc/containerd", *ALWAYS, *more}
    assert set(reach.recorded(engine("/etc/containerd/config.toml"), binds)) == expected


def test_a_configuration_in_a_directory_of_others(tmp_path: Path) -> None:
    """coco_engine_config=/etc/x.toml: the file, what belongs to it, and nothing else of /etc."""
    etc = tmp_path / "etc"
    (etc / "conf.d").mkdir(parents=True)
    (etc / "conf.d/a.toml").write_text("")
    (etc / "other").mkdir()
    (etc / "other/b.toml").write_text("")
    (etc / "real.toml").write_text(f'imports = ["{etc}/other/*.toml"]\n')
    (etc / "x.toml").symlink_to("real.toml")
    found = engine(f"{etc}/x.toml").territory()
    names = ["x.toml", "x.toml.bak", "conf.d", "other/b.toml", "real.toml", "real.toml.bak"]
    assert sorted(found) == sorted(f"{etc}/{name}" for name in names)
    for path, belongs in (("conf.d/a.toml", True), ("x.toml", True), ("hostname", False), ("other/c.toml", False)):
        assert reach.configures(engine(f"{etc}/x.toml"), f"{etc}/{path}") is belongs, path


def test_what_others_change_meanwhile_is_not_the_command_s(tmp_path: Path) -> None:
    """Neither told, nor put back."""
    etc, store = tmp_path / "etc", str(tmp_path / "store")
    etc.mkdir()
    for name in ("real.toml", "resolv.conf", "passwd"):
        (etc / name).write_text("before")
    (etc / "x.toml").symlink_to("real.toml")
    record.take(store, engine(f"{etc}/x.toml").territory())
    (etc / "passwd").write_text("with a new user")
    (etc / "resolv.conf").unlink()
    (etc / "new").write_text("")
    assert record.changes(store) == {}
    # The command replaces the link by a file, adds a drop-in and keeps a copy.
    (etc / "x.toml").unlink()
    (etc / "conf.d").mkdir()
    for name in ("x.toml", "x.toml.bak", "conf.d/kata.toml"):
        (etc / name).write_text("after")
    told = [f"{etc}/{name}" for name in ("conf.d", "conf.d/kata.toml", "x.toml", "x.toml.bak")]
    assert sorted(record.changes(store)) == told
    seen = {path: now for path, (_before, now) in record.changes(store).items()}
    assert tuple(map(sorted, record.restore(store, seen))) == (told, [])
    assert (etc / "x.toml").readlink() == Path("real.toml")
    assert sorted(path.name for path in etc.iterdir()) == ["new", "passwd", "real.toml", "x.toml"]
    assert (etc / "passwd").read_text() == "with a new user"


def test_the_directory_of_a_distribution_is_its_configuration(tmp_path: Path) -> None:
    """Whatever an installer writes there, below a link, too: MicroK8s' "current" leads to the revision of its snap."""
    (tmp_path / "7229/args").mkdir(parents=True)
    (tmp_path / "current").symlink_to("7229")
    found = flavours.driver(
        Engine("microk8s", (1, 7, 24), "x.service", "/x", f"{tmp_path}/current/args/containerd.toml", "/s", True)
    )
    assert {f"{tmp_path}/{link}/args" for link in ("current", "7229")} <= set(reach.recorded(found, []))
    for link in ("current", "7229"):
        assert reach.configures(found, f"{tmp_path}/{link}/args/containerd-template.toml.bak")
