# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which mount a path is on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, mounts


@pytest.mark.parametrize(
    ("line", "mount"),
    [
        (b"22 27 0:21 / /proc rw,relatime - proc proc rw", (22, "/proc")),
        (b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue", (36, "/mnt2")),
        (
            b"40 27 8:1 /srv\\040x /opt/with\\040blank\\011tab\\134 rw - ext4 /dev/sda1 rw",
            (40, "/opt/with blank\ttab\\"),
        ),
        (b"41 27 8:1 / /opt/\xff rw - ext4 /dev/sda1 rw", (41, "/opt/\udcff")),
    ],
)
def test_a_line_of_the_kernel_s_table(line: bytes, mount: tuple[int, str]) -> None:
    assert mounts.parse(line + b"\n" + line) == [mount, mount]


@pytest.mark.parametrize(
    ("paths", "covering"),
    [
        ([], []),
        (["bin/x", "share/y"], []),
        (["share/kata-containers/x"], ["share/kata-containers"]),
        (["share/kata-containers"], ["share/kata-containers"]),
        (["share/kata-containers-more/x"], []),
        (["file", "share/kata-containers/a/b"], ["file", "share/kata-containers"]),
    ],
)
def test_mounts_that_cover_paths(paths: list[str], covering: list[str]) -> None:
    assert mounts.covering(["share/kata-containers", "file"], paths) == covering


def test_a_path_that_is_not_there_is_where_its_parent_is() -> None:
    assert mounts.of("/proc/not/there") == mounts.of("/proc")
    assert mounts.of("/proc") != mounts.of("/")
    assert mounts.is_point("/proc")
    assert not mounts.is_point("/proc/self")


def test_what_is_below_a_directory() -> None:
    assert "proc" in mounts.below("/")
    assert mounts.below("/proc/self/task") == []


def test_a_refusal_names_the_mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "below", lambda directory: ["a", "b", "c", "d"])
    with pytest.raises(Refusal, match=r"mounted at /opt/kata/a, /opt/kata/b, /opt/kata/c and 1 more"):
        mounts.refuse_below("/opt/kata")
    mounts.refuse_below("/opt/kata", ["x/a"])


def test_no_mount_is_looked_at_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was ever installed there is no prefix, and a mount whose server hangs is nobody's business."""
    monkeypatch.delattr(mounts, "below")
    mounts.refuse_below("/", [])


IN_A_NAMESPACE = """
import json, subprocess, sys
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, mounts
root = sys.argv[1]
def mount(*words): subprocess.run(["mount", *words], check=True)
mount("--bind", f"{root}/disk", f"{root}/prefix")
mount("--bind", f"{root}/disk", f"{root}/prefix/a b")
found = {"same": mounts.of(f"{root}/prefix") == mounts.of(root), "point": mounts.is_point(f"{root}/prefix")}
found["below"] = mounts.below(f"{root}/prefix")
found["removed"] = files.remove_tree(f"{root}/prefix")
subprocess.run(["umount", f"{root}/prefix/a b"], check=True)
mount("-t", "tmpfs", "none", f"{root}/prefix")
found["hidden"] = mounts.below(f"{root}/prefix")
print(json.dumps(found))
"""


def test_bind_mounts_of_one_file_system(tmp_path: Path) -> None:
    """They are mounts of their own; one in a directory that is removed is emptied, and stays."""
    (tmp_path / "disk/a b/c").mkdir(parents=True)
    (tmp_path / "disk/a b/c/file").touch()
    (tmp_path / "disk/file").touch()
    (tmp_path / "prefix").mkdir()
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", IN_A_NAMESPACE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("mounts need root")
    assert json.loads(done.stdout or done.stderr) == {
        "same": False,
        "point": True,
        "below": ["a b"],
        "removed": True,
        "hidden": [],
    }
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["a b"]
    assert not list((tmp_path / "disk/a b").iterdir())
    assert not files.remove_tree(str(tmp_path / "nothing"))
