# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What CRI-O prints of its configuration, in the shapes of several versions, read and compared."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: The beginning of what ``crio config`` prints. "# " before a value says that it is the default.
ABOVE = """# The words of CRI-O about the file.
[crio]

# Path to the "root directory".
# root = "/var/lib/containers/storage"

# storage_option = [
# ]

[crio.api]

# Path to AF_LOCAL socket on which CRI-O will listen.
# listen = "/var/run/crio/crio.sock"

[crio.runtime]

# default_capabilities = [
# 	"CHOWN",
# ]

# The "crio.runtime.runtimes" table, explained with an example:
#
# [crio.runtime.runtimes.runtime-handler]
# runtime_path = "/path/to/the/executable"
# runtime_type = "oci"
# allowed_annotations = []
# Where:
# - runtime_type (optional, string): type of runtime.
#   "io.kubernetes.cri-o.Devices" for configuring devices for the pod.

"""
#: And the end: the explanation of workloads has tables, too, and settings of the runtime follow it.
BELOW = """
# Example:
# [crio.runtime.workloads.workload-type]
# annotation_prefix = "io.crio.workload-type"
# hostnetwork_disable_selinux = true

[crio.image]

# global_auth_file = ""

pause_image = "pause:3.9"

"""
RUNTIME = """{comment}[crio.runtime.runtimes.{name}]
{comment}runtime_path = "{path}"
{comment}runtime_type = "{type}"
{comment}runtime_root = "/run/{name}"
{comment}runtime_config_path = "{config}"
{comment}monitor_env = [
{comment}	"PATH=/usr/bin",
{comment}]
{comment}privileged_without_host_devices = false


"""


def runtime(name: str, path: str = "/bin/sh", kind: str = "oci", config: str = "", comment: str = "") -> str:
    return RUNTIME.format(name=name, path=path, type=kind, config=config, comment=comment)


DEFAULT = ABOVE + runtime("crun", comment="# ") + runtime("runc", comment="# ") + BELOW
CHANGED = ABOVE + runtime("crun") + runtime("runc") + BELOW
OURS = ABOVE + runtime("crun") + runtime("kata-qemu", "/x", "vm", "/etc/x") + runtime("runc") + BELOW
#: As the running daemon tells it over HTTP.
RUNNING = """[crio]
  root = "/srv/containers"
  [crio.api]
    listen = "/run/other.sock"
  [crio.runtime]
    default_runtime = "crun"
    [crio.runtime.runtimes]
      [crio.runtime.runtimes.crun]
        runtime_path = "/usr/libexec/crio/crun"
        runtime_type = ""
      [crio.runtime.runtimes."kata.x"]
        runtime_path = "/opt/containerd-shim-kata-v2"
        runtime_type = "vm"
        [crio.runtime.runtimes."kata.x".default_annotations]
          a = "/b"
"""


@pytest.mark.parametrize(
    ("text", "served", "types", "listen"),
    [
        pytest.param(DEFAULT, ["crun", "runc"], {"crun": "oci", "runc": "oci"}, "/var/run/crio/crio.sock", id="defaults"),
        pytest.param(OURS, ["crun", "kata-qemu", "runc"], {"crun": "oci", "runc": "oci", "kata-qemu": "vm"}, "/var/run/crio/crio.sock", id="ours"),
        pytest.param(RUNNING, ["crun", "kata.x"], {"crun": "", "kata.x": "vm"}, "/run/other.sock", id="the running daemon"),
        pytest.param("", [], {}, "", id="nothing"),
    ],
)  # fmt: skip
def test_read(text: str, served: list[str], types: dict[str, str], listen: str) -> None:
    found = Dump(text)
    assert found.served() == served
    assert found.runtime_types() == types
    assert found.value("crio", "api", "listen") == listen
    assert found.cri_enabled()
    assert not found.complaints()


def test_paths() -> None:
    assert Dump(OURS).paths()["kata-qemu"] == ["/x", "/run/kata-qemu", "/etc/x"]


@pytest.mark.parametrize(
    ("one", "two", "lost"),
    [
        pytest.param(DEFAULT, DEFAULT, [], id="nothing"),
        pytest.param(DEFAULT, CHANGED, [], id="defaults that are spelled out beside ours"),
        pytest.param(DEFAULT, OURS, [], id="ours come"),
        pytest.param(OURS, DEFAULT, [], id="ours go"),
        pytest.param(DEFAULT, OURS.replace("pause:3.9", "secret"), ["crio.image: pause_image"], id="another value"),
        pytest.param(DEFAULT, OURS.replace("CHOWN", "KILL"), ["crio.runtime: default_capabilities"], id="an item"),
        pytest.param(DEFAULT, OURS.replace("/run/runc", "/x"), ["crio.runtime.runtimes.runc: runtime_root"], id="another handler"),
        pytest.param(DEFAULT, OURS.replace("# root =", "root = "), [], id="a default is written out"),
    ],
)  # fmt: skip
def test_lost(one: str, two: str, lost: list[str]) -> None:
    assert Dump(one).lost(Dump(two), {"kata-qemu"}) == lost


@pytest.mark.parametrize(
    ("name", "path", "kind", "config", "left_out"),
    [
        ("other", "/bin/sh", "oci", "", False),
        ("other", "/nowhere", "oci", "", True),
        ("sh", "", "", "", False),
        ("no-such-program", "", "", "", True),
        ("kata", "{shim}", "vm", "", False),
        ("kata", "{shim}", "vm", "{shim}", False),
        ("kata", "{shim}", "vm", "/nowhere", True),
        ("kata", "{shim}", "oci", "{shim}", True),
        ("kata", "/bin/sh", "vm", "", True),
    ],
)
def test_left_out(tmp_path: Path, name: str, path: str, kind: str, config: str, left_out: bool) -> None:
    shim = tmp_path / "containerd-shim-kata-v2"
    shim.touch()
    text = DEFAULT + runtime(name, path.format(shim=shim), kind, config.format(shim=shim))
    assert Dump(text).left_out() == [name] * left_out
    inherited = text + "inherit_default_runtime = true\n"
    assert Dump(inherited).left_out() == []


def engine(binary: str, config: str) -> Engine:
    return Engine("crio", (1, 34, 1), "crio.service", binary, config, "/s", True)


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_take(tmp_path: Path) -> None:
    """Handlers that the daemon would leave out are left out, but for ours."""
    config, drop_ins, printed = tmp_path / "crio.conf", tmp_path / "crio.conf.d", tmp_path / "printed"
    drop_ins.mkdir()
    (drop_ins / "99-confidential-containers.conf").write_text(
        '[crio.runtime.runtimes.kata-qemu]\nruntime_type = "vm"\n'
    )
    printed.write_text(OURS.replace(BELOW, runtime("broken", "/nowhere") + BELOW))
    crio = program(tmp_path / "crio", f'echo "$@" >> {tmp_path}/asked; cat {printed}')
    found = dump.take(engine(crio, str(config)), str(config), str(drop_ins))
    assert found.served() == ["crun", "kata-qemu", "runc"]
    assert found.lost(Dump(DEFAULT), {"kata-qemu"}) == [], "what comes below the handler stays"
    config.touch()
    dump.take(engine(crio, str(config)), str(config), str(drop_ins))
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"--config= --config-dir={drop_ins} config",
        f"--config={config} --config-dir={drop_ins} config",
    ]


FATAL = (
    'time="2026-11-27 07:00:00Z" level=info msg="Updating config from path: {directory}"\n'
    'time="2026-11-27 07:00:00Z" level=fatal msg="update config from path: walk path: unable to decode configuration '
    '{directory}/b.bak: toml: line 3 (last key \\"crio.image.pause_image\\"): expected value but found \\"hunter2\\" instead"\n'
)


@pytest.mark.parametrize("trial", [False, True])
def test_refused(tmp_path: Path, trial: bool) -> None:
    drop_ins = tmp_path / "crio.conf.d"
    drop_ins.mkdir()
    (drop_ins / "b.bak").touch()
    (tmp_path / "said").write_text(FATAL.format(directory=drop_ins))
    crio = program(tmp_path / "crio", f"cat {tmp_path}/said >&2; exit 1")
    with pytest.raises(Refusal) as refusal:
        dump.take(engine(crio, "/trial" if trial else "/etc/crio.conf"), "/etc/crio.conf", str(drop_ins))
    said = str(refusal.value)
    assert f"{drop_ins}/b.bak: toml: line 3" in said
    assert "hunter2" not in said
    assert ("coco_handler_overrides" if trial else f"Correct {drop_ins}/b.bak first") in said


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="to tell what it makes of"):
        dump.take(engine(str(tmp_path / "none"), "/c"), "/c", "/d")


@pytest.mark.parametrize(("status", "words"), [(-9, "exit status -9"), (2, "exit status 2")])
def test_no_word(monkeypatch: pytest.MonkeyPatch, status: int, words: str) -> None:
    def run(argv: t.Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, status, "", "")

    monkeypatch.setattr(
        "ansible_collections.confidential_containers.runtime.plugins.module_utils._node.process.run", run
    )
    with pytest.raises(Refusal, match=words):
        dump.take(engine("/crio", "/c"), "/c", "/d")
