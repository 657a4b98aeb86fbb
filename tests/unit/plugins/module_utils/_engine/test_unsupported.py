# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes whose engine cannot be configured: what tells them, and what does not."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import unsupported
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.unsupported import Seen, Unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

STOCK = "/usr/share/containerd/config.toml"
PLAIN = Unit("containerd.service", "containerd", ("/usr/bin/containerd",))
SNAP = Unit(
    "snap.microk8s.daemon-containerd.service", "microk8s", ("/usr/bin/snap", "run", "microk8s.daemon-containerd")
)


def k0s(*words: str) -> Unit:
    return Unit("k0scontroller.service", "k0s", ("/usr/local/bin/k0s", "controller", *words))


def k3s(*words: str) -> Unit:
    return Unit("k3s.service", "k3s", ("/usr/local/bin/k3s", "server", *words))


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        pytest.param(Seen(), "", id="nothing"),
        pytest.param(Seen(kubelet="/run/containerd/containerd.sock", units=[PLAIN], system="debian"), "", id="plain"),
        pytest.param(
            Seen(kubelet="/run/cri-dockerd.sock", units=[PLAIN]),
            "Docker, through cri-dockerd (the kubelet uses /run/cri-dockerd.sock)",
            id="Docker",
        ),
        pytest.param(Seen(kubelet="/run/dockershim.sock"), "Docker", id="an old kubelet"),
        pytest.param(
            Seen("containerd", kubelet="/run/cri-dockerd.sock", units=[PLAIN]), "", id="the user says containerd"
        ),
        pytest.param(Seen(units=[k3s("--docker")]), "Docker, through cri-dockerd (k3s.service has --docker)", id="k3s"),
        pytest.param(Seen(units=[k3s("--docker=false")]), "", id="k3s without Docker"),
        pytest.param(Seen(units=[k3s(), PLAIN]), "", id="a server of k3s with pods"),
        pytest.param(
            Seen(units=[k3s("--disable-agent")]),
            "a control plane alone (k3s.service has --disable-agent)",
            id="a server of k3s without pods",
        ),
        pytest.param(
            Seen(units=[k0s("--config=/etc/k0s/k0s.yaml")]),
            "a control plane alone (k0scontroller.service has neither --enable-worker nor --single)",
            id="a controller",
        ),
        pytest.param(Seen(units=[k0s("--enable-worker=false")]), "a control plane alone", id="a worker switched off"),
        pytest.param(Seen(units=[k0s("--enable-worker=true")]), "", id="a controller with a worker"),
        pytest.param(Seen(units=[k0s("--single")]), "", id="a single node"),
        pytest.param(Seen(units=[Unit("k0sworker.service", "k0s", ("k0s", "worker"))]), "", id="a worker"),
        pytest.param(
            Seen(units=[SNAP], confinement="strict"),
            "MicroK8s as a strict snap (confinement: strict in /snap/microk8s/current/meta/snap.yaml)",
            id="strict",
        ),
        pytest.param(Seen(units=[SNAP], confinement="classic"), "", id="classic"),
        pytest.param(Seen(units=[PLAIN], confinement="strict"), "", id="strict, and not asked for"),
        pytest.param(
            Seen(system="flatcar", config=STOCK),
            f"the containerd of Flatcar with the configuration of its image ({STOCK})",
            id="Flatcar",
        ),
        pytest.param(Seen(system="flatcar", config="/etc/containerd/config-kops.toml"), "", id="Flatcar, configured"),
        pytest.param(Seen(system="flatcar"), "", id="Flatcar, before its engine is found"),
        pytest.param(Seen(system="debian", config=STOCK), "", id="a file of another system's image"),
    ],
)
def test_what_it_is(seen: Seen, what: str) -> None:
    found = unsupported.recognised(seen)
    assert (found.found if found else "").startswith(what)
    assert bool(found) is bool(what)
    if found:
        with pytest.raises(Refusal):
            unsupported.refuse(seen)
        assert found.remedy.endswith(".")
    else:
        unsupported.refuse(seen)


@pytest.mark.parametrize(
    ("files", "system", "confinement"),
    [
        ({}, "", ""),
        ({"etc/os-release": 'NAME="x"\nVERSION_ID=1\nID=debian\n'}, "debian", ""),
        ({"usr/lib/os-release": 'ID="flatcar"\nID_LIKE=y\n'}, "flatcar", ""),
        ({"etc/os-release": "ID='arch'\n", "usr/lib/os-release": "ID=other\n"}, "arch", ""),
        (
            {"snap/microk8s/current/meta/snap.yaml": "name: microk8s\nconfinement: strict\ngrade: stable\n"},
            "",
            "strict",
        ),
        ({"snap/microk8s/current/meta/snap.yaml": "name: microk8s\nconfinement: classic\n"}, "", "classic"),
    ],
)
def test_what_files_say(tmp_path: Path, files: t.Mapping[str, str], system: str, confinement: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = unsupported.look("auto", "/run/x.sock", [PLAIN], str(tmp_path))
    assert found == Seen("auto", "/run/x.sock", [PLAIN], system, confinement)
