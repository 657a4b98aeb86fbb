# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which installer an image brings, and how that is run."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts, volumes

KATA = "opt/kata-artifacts"
RANCHER = "/var/lib/rancher"


def engine(name: str, unit: str, config: str) -> Engine:
    return Engine(name, (1, 7, 24), f"{unit}.service", "/x", config, "/s", True)


ENGINES = {
    "containerd": engine("containerd", "containerd", "/etc/containerd/config.toml"),
    "k3s": engine("k3s", "k3s-agent", f"{RANCHER}/k3s/agent/etc/containerd/config.toml"),
    "rke2": engine("rke2", "rke2-server", f"{RANCHER}/rke2/agent/etc/containerd/config.toml"),
    "k0s": engine("k0s", "k0sworker", "/etc/k0s/containerd.toml"),
    "microk8s": engine(
        "microk8s", "snap.microk8s.daemon-containerd", "/var/snap/microk8s/current/args/containerd.toml"
    ),
    "crio": engine("crio", "crio", "/etc/crio/crio.conf"),
}


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ([f"{KATA}/scripts/kata-deploy.sh", f"{KATA}/opt/confidential-containers/bin/x"], "confidential-containers"),
        ([f"{KATA}/scripts/kata-deploy.sh", f"{KATA}/opt/kata/bin/x"], "kata"),
        ([f"{KATA}/opt/kata/bin/x"], ""),
        ([f"{KATA}/opt/kata-other/bin/x", f"{KATA}/scripts/kata-deploy.sh"], ""),
        (["opt/enclave-cc-artifacts/scripts/enclave-cc-deploy.sh"], "enclave-cc"),
        (["bin/sh", "etc/passwd"], ""),
    ],
)
def test_an_installer_is_recognised(members: list[str], name: str) -> None:
    assert contracts.recognise({contracts.tells(member) for member in members}) == name
    contract = contracts.by_name(name)
    assert (contract.name if contract else "") == name


@pytest.mark.parametrize("contract", [contracts.HOOKS, *contracts.CONTRACTS], ids=lambda contract: contract.name)
def test_volumes_and_mounts_belong_together(contract: contracts.Contract) -> None:
    for found in ENGINES.values():
        names = [volume["name"] for volume in contract.volumes(found)]
        assert [mount["name"] for mount in contract.mounts(found)] == names
        assert len(set(names)) == len(names)
    for command, argv in contract.commands.items():
        assert argv[-1].startswith("/") or argv[0] == f"/{contract.script}", command


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("a $b ${A}", "a $b ${A}"),
        ("$(A)$(A)", "11"),
        ("$(B)", "$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$", "$"),
        ("$(C)", "$(A)"),
        ("$(A)$(C)x$$", "1$(A)x$"),
    ],
)
def test_expanded(text: str, expected: str) -> None:
    assert contracts.expanded(text, {"A": "1", "C": "$(A)"}) == expected


def contract(name: str) -> contracts.Contract:
    found = contracts.HOOKS if name == "hooks" else contracts.by_name(name)
    assert found
    return found


def mounted(name: str, found: Engine) -> dict[str, str]:
    """Return what is mounted where for a contract, as the node finds it out."""
    known = contract(name)
    binds = volumes.bound(known.volumes(found), known.mounts(found), "/working")
    return {bind.target: bind.source for bind in binds}


@pytest.mark.parametrize(
    ("name", "mount", "directory"),
    [
        ("containerd", "/etc/containerd", "/etc/containerd"),
        ("k3s", "/etc/containerd", f"{RANCHER}/k3s/agent/etc/containerd"),
        ("rke2", "/etc/containerd", f"{RANCHER}/rke2/agent/etc/containerd"),
        ("k0s", "/etc/containerd", "/etc/k0s"),
        ("microk8s", "/etc/containerd", "/var/snap/microk8s/current/args"),
        ("crio", "/etc/crio", "/etc/crio"),
    ],
)
def test_an_installer_finds_the_engine_s_directory_where_it_looks_for_it(name: str, mount: str, directory: str) -> None:
    found = mounted("kata", ENGINES[name])
    assert found == {
        mount: directory,
        "/usr/local/bin": "/usr/local/bin",
        "/var/run/dbus": "/var/run/dbus",
        "/run/systemd": "/run/systemd",
        "/opt/kata": "/opt/kata",
        "/host": "/",
    }
    contracts.refuse(contract("kata"), ENGINES[name], found)


def test_a_data_directory_of_the_user_s_own() -> None:
    found = replace(ENGINES["k3s"], config="/srv/K3s.data/agent/etc/containerd/config.toml")
    assert mounted("kata", found)["/etc/containerd"] == "/srv/K3s.data/agent/etc/containerd"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("confidential-containers", {"containerd", "k3s", "rke2", "crio"}),
        ("kata", set(ENGINES)),
        ("enclave-cc", {"containerd"}),
        ("hooks", {"containerd"}),
    ],
)
@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_that_the_installer_does_not_know_is_refused(name: str, known: set[str], engine: str) -> None:
    found = ENGINES[engine]
    if engine in known:
        contracts.refuse(contract(name), found, mounted(name, found))
        return
    way_out = "Write coco_pre_install={}" if name == "hooks" else "Set coco_installer=native"
    with pytest.raises(Refusal, match=f"Found {engine}[.] {way_out}"):
        contracts.refuse(contract(name), found, mounted(name, found))


def test_a_unit_that_the_installer_does_not_restart() -> None:
    found = replace(ENGINES["k3s"], unit="k3s-edge.service")
    with pytest.raises(Refusal, match=r"k3s[.]service or k3s-agent[.]service, because .* Found k3s-edge[.]service"):
        contracts.refuse(contract("kata"), found, mounted("kata", found))


def test_a_template_that_hides_the_installer_s(tmp_path: Path) -> None:
    found = replace(ENGINES["k3s"], config=str(tmp_path / "config.toml"))
    (tmp_path / "config.toml.tmpl").touch()
    contracts.refuse(contract("kata"), found, mounted("kata", found))
    (tmp_path / "config-v3.toml.tmpl").touch()
    with pytest.raises(Refusal, match=r"no config-v3[.]toml[.]tmpl in "):
        contracts.refuse(contract("kata"), found, mounted("kata", found))


#: The volumes of the operator's sample for release 0.8, and with the path that its users write for k3s.
SAMPLE = """\
installerVolumes:
- {name: containerd-conf, hostPath: {path: /etc/containerd/, type: ""}}
- {name: host, hostPath: {path: /, type: ""}}
installerVolumeMounts:
- {name: containerd-conf, mountPath: /etc/containerd/}
- {name: host, mountPath: /host/}
"""


def test_volumes_of_a_manifest_have_to_name_the_engine_s_directory() -> None:
    def bound(text: str) -> dict[str, str]:
        sample: dict[str, t.Any] = yaml.safe_load(text)
        binds = volumes.bound(sample["installerVolumes"], sample["installerVolumeMounts"], "/working")
        return {bind.target: bind.source for bind in binds}

    own = f"{RANCHER}/k3s/agent/etc/containerd"
    with pytest.raises(Refusal, match=f"Found /etc/containerd[.] Write path: {own} for it"):
        contracts.refuse(contract("kata"), ENGINES["k3s"], bound(SAMPLE))
    contracts.refuse(contract("kata"), ENGINES["k3s"], bound(SAMPLE.replace("path: /etc/containerd/", f"path: {own}/")))
    with pytest.raises(Refusal, match=r"/etc/crio at /etc/crio, .* Found nothing there[.]"):
        contracts.refuse(contract("kata"), ENGINES["crio"], bound(SAMPLE))
    contracts.refuse(contract("kata"), ENGINES["containerd"], bound(SAMPLE))


@pytest.mark.parametrize(
    ("name", "argv", "runs"),
    [
        ("kata", ["/opt/kata-artifacts/scripts/kata-deploy.sh", "install"], True),
        ("kata", ["bash", "-c", "/opt/kata-artifacts/scripts/kata-deploy.sh install"], True),
        ("kata", ["/host/my-installer"], False),
        (
            "hooks",
            ["/bin/sh", "-c", "/opt/confidential-containers-pre-install-artifacts/scripts/post-uninstall.sh"],
            True,
        ),
        ("hooks", ["/bin/true"], False),
    ],
)
def test_a_program_of_the_user_s_own_is_not_judged(name: str, argv: list[str], runs: bool) -> None:
    assert contract(name).runs(argv) is runs
