# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which installer an image brings, and how that is run."""

from __future__ import annotations

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts

KATA = "opt/kata-artifacts"


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
    names = [volume["name"] for volume in contract.volumes()]
    assert sorted(mount["name"] for mount in contract.mounts()) == sorted(names)
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
