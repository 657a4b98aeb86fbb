# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which handlers a payload offers, and which of them a node gets."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _layouts, _shims
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

CC = _layouts.by_name("confidential-containers")
GO, RUST = "bin/containerd-shim-kata-v2", "runtime-rs/bin/containerd-shim-kata-v2"
DEFAULTS = "share/defaults/kata-containers"

EVERYTHING = {"kvm": True, "snp": True, "tdx": True, "se": True, "sgx": True}
ARCHITECTURES = ("amd64", "arm64", "ppc64le", "s390x")

# The table of docs: shim → architectures (none: all) and needs.
DOCUMENTED = {
    "clh": ("amd64 arm64", "kvm"),
    "dragonball": ("amd64", "kvm"),
    "fc": ("amd64", "kvm devmapper"),
    "qemu": ("", "kvm"),
    "qemu-runtime-rs": ("", "kvm"),
    "qemu-coco-dev": ("amd64 s390x", "kvm guest_pull"),
    "qemu-coco-dev-runtime-rs": ("amd64 arm64 s390x", "kvm guest_pull"),
    "qemu-snp": ("amd64", "kvm snp"),
    "qemu-snp-runtime-rs": ("amd64", "kvm snp"),
    "qemu-tdx": ("amd64", "kvm tdx"),
    "qemu-tdx-runtime-rs": ("amd64", "kvm tdx"),
    "qemu-se": ("s390x", "kvm se"),
    "qemu-se-runtime-rs": ("s390x", "kvm se"),
    "qemu-nvidia-gpu": ("amd64 arm64", "kvm gpu"),
    "qemu-nvidia-gpu-snp": ("amd64", "kvm gpu snp"),
    "qemu-nvidia-gpu-tdx": ("amd64", "kvm gpu tdx"),
    "remote": ("amd64 ppc64le s390x", "peer_pods"),
    "enclave-cc": ("amd64", "sgx"),
}


def test_the_table_has_every_shim_that_is_documented() -> None:
    assert sorted(_shims.SHIMS) == sorted(DOCUMENTED)


@pytest.mark.parametrize("shim", DOCUMENTED)
def test_a_shim_needs(shim: str) -> None:
    architectures, needs = (words.split() for words in DOCUMENTED[shim])
    for architecture in ARCHITECTURES:
        wrong = _shims.missing(shim, architecture, EVERYTHING, asked=True)
        assert bool(wrong) == (bool(architectures) and architecture not in architectures), wrong
    home = architectures[0] if architectures else "amd64"
    for need in needs:
        title, visible = _shims.CAPABILITIES[need]
        if visible:
            assert title in _shims.missing(shim, home, {**EVERYTHING, need: False}, asked=True)
        else:
            assert title in _shims.missing(shim, home, EVERYTHING)
    unneeded = {name: name in needs for name in EVERYTHING}
    assert _shims.missing(shim, home, unneeded, asked=True) == ""


def test_a_shim_that_nobody_knows_needs_nothing() -> None:
    for architecture in ARCHITECTURES:
        assert _shims.missing("gvisor", architecture, {}) == ""


@pytest.mark.parametrize(
    ("paths", "offered"),
    [
        pytest.param(
            [GO, f"{DEFAULTS}/configuration-qemu.toml", f"{DEFAULTS}/configuration-clh.toml"],
            [("kata-clh", GO, f"{DEFAULTS}/configuration-clh.toml"), ("kata-qemu", GO, f"{DEFAULTS}/configuration-qemu.toml")],
            id="Go",
        ),
        pytest.param(
            [RUST, f"{DEFAULTS}/runtime-rs/configuration-dragonball.toml"],
            [("kata-dragonball", RUST, f"{DEFAULTS}/runtime-rs/configuration-dragonball.toml")],
            id="Rust",
        ),
        pytest.param(
            [GO, RUST, f"{DEFAULTS}/configuration-qemu.toml", f"{DEFAULTS}/runtime-rs/configuration-qemu-runtime-rs.toml"],
            [
                ("kata-qemu", GO, f"{DEFAULTS}/configuration-qemu.toml"),
                ("kata-qemu-runtime-rs", RUST, f"{DEFAULTS}/runtime-rs/configuration-qemu-runtime-rs.toml"),
            ],
            id="both",
        ),
        pytest.param([GO, f"{DEFAULTS}/runtime-rs/configuration-dragonball.toml"], [], id="Rust without its shim"),
        pytest.param([f"{DEFAULTS}/configuration-qemu.toml"], [], id="Go without its shim"),
        pytest.param([GO, f"{DEFAULTS}/configuration.toml"], [], id="the default's link names no shim"),
        pytest.param([GO, "etc/configuration-qemu.toml"], [], id="elsewhere"),
        pytest.param([GO, f"{DEFAULTS}/configuration-Q.toml", f"{DEFAULTS}/configuration-.toml"], [], id="no name of a shim"),
        pytest.param([GO, f"{DEFAULTS}/configuration-qemu.toml.bak"], [], id="a copy"),
        pytest.param([], [], id="nothing"),
    ],
)  # fmt: skip
def test_offered(paths: list[str], offered: list[tuple[str, str, str]]) -> None:
    found = _shims.offered({path: {} for path in paths}, CC, "/opt/confidential-containers")
    assert [(one.name, one.runtime_path, one.config_path) for one in found] == [
        (name, f"/opt/confidential-containers/{binary}", f"/opt/confidential-containers/{configuration}")
        for name, binary, configuration in offered
    ]


def test_a_handler_is_what_upstream_writes() -> None:
    [handler] = _shims.offered({GO: {}, f"{DEFAULTS}/configuration-qemu.toml": {}}, CC, "/x")
    assert handler.table() == {
        "name": "kata-qemu",
        "shim": "qemu",
        "runtime_type": "io.containerd.kata-qemu.v2",
        "runtime_path": f"/x/{GO}",
        "config_path": f"/x/{DEFAULTS}/configuration-qemu.toml",
        "privileged_without_host_devices": True,
        "pod_annotations": ["io.katacontainers.*"],
        "container_annotations": ["io.kubernetes.container.terminationMessage*"],
    }


def payload(*shims: str) -> list[_shims.Handler]:
    tree: dict[str, dict[str, bool]] = {GO: {}, **{f"{DEFAULTS}/configuration-{shim}.toml": {} for shim in shims}}
    return _shims.offered(tree, CC, "/x")


def test_a_placeholder_in_a_configuration_excludes_its_handler() -> None:
    qemu, tdx = (f"{DEFAULTS}/configuration-{shim}.toml" for shim in ("qemu", "qemu-tdx"))
    handlers = _shims.offered({GO: {}, qemu: {}, tdx: {"placeholder": True}}, CC, "/x")
    assert "flaw" not in handlers[0].table()
    choice = _shims.choose(handlers, [], "amd64", EVERYTHING)
    assert [handler.name for handler in choice.handlers] == ["kata-qemu"]
    assert "placeholder" in choice.excluded["kata-qemu-tdx"]
    with pytest.raises(Refusal, match="placeholder"):
        _shims.choose(handlers, ["kata-qemu-tdx"], "amd64", EVERYTHING)


def test_the_shims_whose_components_are_unpacked() -> None:
    shims = ["qemu", "qemu-snp", "fc"]
    assert _shims.chosen_shims(shims, [], "amd64", {"kvm": True}) == ["qemu"]
    assert _shims.chosen_shims(shims, ["kata-fc", "mine"], "amd64", {"kvm": True}) == ["fc"]


@pytest.mark.parametrize(
    ("shims", "asked", "architecture", "has", "chosen", "excluded"),
    [
        pytest.param(
            "qemu gvisor qemu-snp", "", "amd64", "kvm", "kata-gvisor kata-qemu", {"kata-qemu-snp": "AMD SEV-SNP"}, id="auto"
        ),
        pytest.param("qemu gvisor", "", "amd64", "", "kata-gvisor", {"kata-qemu": "/dev/kvm"}, id="auto without KVM"),
        pytest.param("qemu clh", "", "s390x", "kvm", "kata-qemu", {"kata-clh": "amd64, arm64"}, id="auto elsewhere"),
        pytest.param("fc qemu", "", "amd64", "kvm", "kata-qemu", {"kata-fc": "coco_handlers"}, id="auto, and one to ask for"),
        pytest.param("fc qemu", "kata-fc", "amd64", "kvm", "kata-fc", {"kata-qemu": "not asked for"}, id="asked"),
        pytest.param("fc qemu", "kata-qemu kata-fc kata-fc", "amd64", "kvm", "kata-fc kata-qemu", {}, id="asked twice"),
    ],
)  # fmt: skip
def test_choose(shims: str, asked: str, architecture: str, has: str, chosen: str, excluded: dict[str, str]) -> None:
    choice = _shims.choose(payload(*shims.split()), asked.split(), architecture, dict.fromkeys(has.split(), True))
    assert [handler.name for handler in choice.handlers] == chosen.split()
    assert sorted(choice.excluded) == sorted(excluded)
    for name, reason in excluded.items():
        assert reason in choice.excluded[name]


@pytest.mark.parametrize(
    ("shims", "asked", "has", "says"),
    [
        pytest.param("qemu clh", "kata-qemu kata-qmeu", "kvm", ["kata-qmeu", "kata-clh, kata-qemu"], id="misspelt"),
        pytest.param("", "kata-qemu", "kvm", ["no handler at all"], id="asked of an empty payload"),
        pytest.param("qemu", "kata-qemu", "", ["kata-qemu", "/dev/kvm"], id="asked, but the node cannot"),
        pytest.param("qemu-se", "kata-qemu-se", "kvm se", ["s390x", "amd64"], id="asked, of another architecture"),
        pytest.param(
            "qemu qemu-snp", "", "", ["kata-qemu needs /dev/kvm", "kata-qemu-snp needs /dev/kvm"], id="none fits"
        ),
        pytest.param("", "", "kvm", ["no shim configuration in the payload"], id="no handler at all"),
    ],
)
def test_no_choice(shims: str, asked: str, has: str, says: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        _shims.choose(payload(*shims.split()), asked.split(), "amd64", dict.fromkeys(has.split(), True))
    for words in says:
        assert words in str(refused.value)


def test_every_need_has_a_title() -> None:
    needs = set(itertools.chain.from_iterable(shim.capabilities for shim in _shims.SHIMS.values()))
    assert needs == set(_shims.CAPABILITIES)


def test_the_handler_of_enclave_cc() -> None:
    layout = _layouts.by_name("enclave-cc")
    tree: dict[str, dict[str, str]] = {path: {} for path in layout.files.values()}
    [handler] = _shims.offered(tree, layout, layout.prefix)
    assert handler.table() == {
        "name": "enclave-cc",
        "shim": "enclave-cc",
        "runtime_type": "io.containerd.rune.v2",
        "runtime_path": "/opt/confidential-containers/bin/containerd-shim-rune-v2",
        "config_path": "",
        "privileged_without_host_devices": False,
        "pod_annotations": [],
        "container_annotations": [],
        "links": {
            "/etc/enclave-cc/config.toml": (
                "/opt/confidential-containers/share/defaults/enclave-cc/configuration-enclave-cc.toml"
            )
        },
    }
    assert "Intel SGX" in _shims.missing("enclave-cc", "amd64", {"kvm": True})


@pytest.mark.parametrize(
    ("candidates", "chosen", "excluded"),
    [
        ((), ["kata-qemu"], {"kata-qemu-snp": "SEV-SNP", "kata-remote": "cannot be seen"}),
        (
            ("kata-remote", "kata-qemu-snp", "kata-clh"),
            ["kata-remote"],
            {"kata-qemu-snp": "SEV-SNP", "kata-qemu": "not named", "kata-clh": "not in"},
        ),
        (("kata-qemu",), ["kata-qemu"], {"kata-remote": "not named", "kata-qemu-snp": "not named"}),
    ],
)
def test_what_a_manifest_names_is_chosen_where_it_runs(
    candidates: tuple[str, ...], chosen: list[str], excluded: dict[str, str]
) -> None:
    paths = [GO, *(f"{DEFAULTS}/configuration-{shim}.toml" for shim in ("qemu", "qemu-snp", "remote"))]
    offered = _shims.offered({path: {} for path in paths}, CC, "/x")
    choice = _shims.choose(offered, [], "amd64", {"kvm": True}, candidates=candidates)
    assert [handler.name for handler in choice.handlers] == chosen
    assert set(choice.excluded) == set(excluded)
    for name, reason in excluded.items():
        assert reason in choice.excluded[name]
    shims = _shims.chosen_shims(["qemu", "qemu-snp", "remote"], [], "amd64", {"kvm": True}, candidates)
    assert [f"kata-{shim}" for shim in shims] == chosen
