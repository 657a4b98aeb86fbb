# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of an engine that does not say what it serves."""

from __future__ import annotations

import subprocess
import typing as t
from dataclasses import replace

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import process

DRIVER = flavours.driver(
    Engine("containerd", (1, 7, 24), "containerd.service", "/opt/bin/containerd", "/c", "/s", True)
)
HEAD = "TYPE ID PLATFORMS STATUS\n"
SNAPSHOTTERS = f"{HEAD}io.containerd.snapshotter.v1 overlayfs linux/amd64 ok\nio.containerd.snapshotter.v1 zfs - skip\n"
CRI = f"{HEAD}io.containerd.grpc.v1 cri linux/amd64 error\n"


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[int, str, str], None]:
    """Have ctr answer, and the CRI not."""

    def status(address: str) -> t.NoReturn:
        raise cri.CriError(f"{address}: no answer")

    def give(code: int, output: str, errors: str = "") -> None:
        monkeypatch.setattr(
            process, "run", lambda argv, timeout=0.0: subprocess.CompletedProcess(argv, code, output, errors)
        )

    monkeypatch.setattr(cri, "status", status)
    return give


def test_a_cri_that_is_disabled_serves_nothing(answer: t.Callable[..., None]) -> None:
    answer(0, SNAPSHOTTERS)
    assert DRIVER.served() == []


@pytest.mark.parametrize(("code", "output"), [(0, CRI), (1, ""), (process.MISSING, "")])
def test_a_cri_of_which_nothing_is_known_is_not_disabled(answer: t.Callable[..., None], code: int, output: str) -> None:
    answer(code, output)
    with pytest.raises(Refusal, match="the unit is active"):
        DRIVER.served()


@pytest.mark.parametrize("name", ["containerd", "k3s", "k0s", "microk8s"])
def test_the_client_that_a_distribution_has(name: str) -> None:
    refused = flavours.driver(replace(DRIVER.engine, name=name)).no_answer(cri.CriError("x"))
    assert f"'{flavours.FLAVOURS[name].client}'" in refused.remedy


def test_snapshotters(answer: t.Callable[..., None]) -> None:
    answer(0, SNAPSHOTTERS)
    assert DRIVER.snapshotters() == ["overlayfs"]


@pytest.mark.parametrize(
    ("code", "remedy"), [(process.MISSING, "ctr beside /opt/bin/containerd"), (1, "Run 'ctr plugins ls'")]
)
def test_snapshotters_that_nobody_can_list_are_not_missing(
    answer: t.Callable[..., None], code: int, remedy: str
) -> None:
    answer(code, "", "a line\nctr: no answer\n")
    with pytest.raises(Refusal, match="Found ctr: no answer") as refused:
        DRIVER.snapshotters()
    assert remedy in refused.value.remedy
