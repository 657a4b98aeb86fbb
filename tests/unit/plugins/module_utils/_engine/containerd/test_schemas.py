# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of engines: which version and schema is configured how, and which keys each version acts on."""

from __future__ import annotations

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.schemas import (
    DROP_IN,
    IN_PLACE,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

R1 = ("plugins", "cri", "containerd", "runtimes")
R2 = ("plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes")
R3 = ("plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes")

ONE = [(1, 4, 13), (1, 5, 18), (1, 6, 20), (1, 7, 34)]
TWO = [(2, 0, 0), (2, 1, 9), (2, 2, 7), (2, 3, 4)]


def named(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


@pytest.mark.parametrize(
    ("schema", "asked", "mode", "table"),
    [(1, "auto", IN_PLACE, R1), (2, "auto", IN_PLACE, R2), (2, "in_place", IN_PLACE, R2)],
)
@pytest.mark.parametrize("version", ONE, ids=named)
def test_containerd_1_is_configured_in_place(
    version: tuple[int, ...], schema: int, asked: str, mode: str, table: tuple[str, ...]
) -> None:
    assert schemas.decide(version, schema, asked) == schemas.Target(mode, schema, table, forgetful=True)


@pytest.mark.parametrize(
    ("schema", "asked", "mode", "table"),
    [
        (2, "auto", DROP_IN, R2),
        (2, "drop_in", DROP_IN, R2),
        (2, "in_place", IN_PLACE, R2),
        (3, "auto", DROP_IN, R3),
        (3, "drop_in", DROP_IN, R3),
        (3, "in_place", IN_PLACE, R3),
    ],
)
@pytest.mark.parametrize("version", TWO, ids=named)
def test_containerd_2_is_configured_by_a_drop_in_unless_asked_otherwise(
    version: tuple[int, ...], schema: int, asked: str, mode: str, table: tuple[str, ...]
) -> None:
    assert schemas.decide(version, schema, asked) == schemas.Target(mode, schema, table)


@pytest.mark.parametrize("version", [(2, 3, 7), (2, 4, 2)], ids=named)
def test_newer_versions_know_more_schemas(version: tuple[int, ...]) -> None:
    assert schemas.decide(version, 4) == schemas.Target(DROP_IN, 4, R3)
    assert schemas.decide(version, 1) == schemas.Target(IN_PLACE, 1, R1)
    assert schemas.decide(version, 1, plain=True) == schemas.Target(IN_PLACE, 1, R1)


@pytest.mark.parametrize(
    ("version", "schema", "plain", "target"),
    [
        ((1, 4, 13), 0, False, schemas.Target(IN_PLACE, 2, R2, declared=False, forgetful=True)),
        ((1, 7, 24), 0, False, schemas.Target(IN_PLACE, 2, R2, declared=False, forgetful=True)),
        ((2, 1, 9), 0, False, schemas.Target(DROP_IN, 3, R3, declared=False)),
        ((2, 4, 2), 0, False, schemas.Target(DROP_IN, 3, R3, declared=False)),
        # Docker's package: no version, and nothing that a version would change.
        ((2, 1, 9), 1, True, schemas.Target(DROP_IN, 3, R3, declared=False)),
        ((1, 7, 24), 1, True, schemas.Target(IN_PLACE, 1, R1, forgetful=True)),
    ],
)
def test_a_file_that_does_not_say_its_version(
    version: tuple[int, ...], schema: int, plain: bool, target: schemas.Target
) -> None:
    assert schemas.decide(version, schema, plain=plain) == target


@pytest.mark.parametrize(
    ("version", "schema", "mode", "found"),
    [
        pytest.param((1, 3, 10), 2, "auto", "containerd 1.3.10", id="older than the table"),
        pytest.param((3, 0, 0), 3, "auto", "containerd 3.0.0", id="newer than the table"),
        pytest.param((1, 7, 24), 3, "auto", "version = 3", id="1.x with schema 3"),
        pytest.param((2, 1, 9), 1, "auto", "without version", id="2.x without version"),
        pytest.param((2, 2, 9), 1, "auto", "without version", id="2.2 without version"),
        pytest.param((2, 2, 9), 4, "auto", "version = 4", id="2.2 with schema 4"),
        pytest.param((2, 3, 7), 1, "drop_in", "drop_in", id="2.3 without version, with a drop-in"),
        pytest.param((1, 7, 24), 1, "drop_in", "drop_in", id="1.7 without version, with a drop-in"),
        pytest.param((2, 1, 9), 5, "auto", "version = 5", id="2.x with an unknown schema"),
        pytest.param((1, 7, 24), 2, "drop_in", "drop_in", id="1.x with a drop-in"),
        pytest.param((1, 4, 13), 2, "drop_in", "drop_in", id="1.4 with a drop-in"),
        pytest.param((2, 1, 9), 2, "dropin", "dropin", id="no such mode"),
    ],
)
def test_refused(version: tuple[int, ...], schema: int, mode: str, found: str) -> None:
    with pytest.raises(Refusal) as refused:
        schemas.decide(version, schema, mode)
    assert found in refused.value.found
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("key", "version", "acts"),
    [
        ("runtime_type", (1, 4, 13), True),
        ("runtime_path", (1, 4, 13), False),
        ("runtime_path", (1, 6, 0), False),
        ("runtime_path", (1, 6, 20), False),
        ("runtime_path", (1, 6, 21), True),
        ("runtime_path", (1, 6, 39), True),
        ("runtime_path", (1, 7, 0), False),
        ("runtime_path", (1, 7, 1), True),
        ("runtime_path", (2, 3, 4), True),
        ("cni_conf_dir", (1, 5, 18), False),
        ("cni_conf_dir", (1, 6, 0), True),
        ("cni_max_conf_num", (1, 6, 0), True),
        ("snapshotter", (1, 6, 39), False),
        ("snapshotter", (1, 7, 0), True),
        ("privileged_without_host_devices_all_devices_allowed", (1, 6, 39), False),
        ("privileged_without_host_devices_all_devices_allowed", (1, 7, 0), True),
        ("sandboxer", (1, 7, 34), False),
        ("sandboxer", (2, 0, 0), True),
        ("io_type", (2, 0, 0), True),
        ("cgroup_writable", (2, 0, 11), False),
        ("cgroup_writable", (2, 1, 0), True),
        ("a_key_of_the_users", (1, 4, 13), True),
    ],
)
def test_a_key_works_since(key: str, version: tuple[int, ...], acts: bool) -> None:
    assert schemas.works(key, version) is acts


@pytest.mark.parametrize(
    ("main", "path", "glob"),
    [
        (
            "/etc/containerd/config.toml",
            "/etc/containerd/conf.d/99-confidential-containers.toml",
            "/etc/containerd/conf.d/*confidential-containers.toml",
        ),
        ("/srv/c.toml", "/srv/conf.d/99-confidential-containers.toml", "/srv/conf.d/*confidential-containers.toml"),
    ],
)
def test_the_drop_in_is_beside_the_main_file(main: str, path: str, glob: str) -> None:
    assert schemas.drop_in_path(main) == path
    assert schemas.drop_in_glob(main) == glob


@pytest.mark.parametrize(
    ("runtime_type", "program"),
    [
        ("io.containerd.kata-qemu.v2", "containerd-shim-kata-qemu-v2"),
        ("io.containerd.kata-qemu-runtime-rs.v2", "containerd-shim-kata-qemu-runtime-rs-v2"),
        ("io.containerd.runc.v1", "containerd-shim-runc-v1"),
    ],
)
def test_shim_name(runtime_type: str, program: str) -> None:
    assert schemas.shim_name(runtime_type) == program
