# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which handlers a payload offers, and which of them a node gets."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import components, layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import shims as shims_module
from ansible_collections.confidential_containers.runtime.tests.unit.kata import KATA_4_1

CC = layouts.by_name("confidential-containers")
GO, RUST = "bin/containerd-shim-kata-v2", "runtime-rs/bin/containerd-shim-kata-v2"
DEFAULTS = "share/defaults/kata-containers"

EVERYTHING = {name: True for name, (_title, visible) in shims_module.CAPABILITIES.items() if visible}

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

KVM = "clh clh-runtime-rs dragonball qemu qemu-nvidia-cpu qemu-nvidia-cpu-runtime-rs qemu-runtime-rs"
GPU = "qemu-nvidia-gpu qemu-nvidia-gpu-runtime-rs"
#: By kind of node: its architecture, what it has, and the shims that it is offered.
NODES = {
    "plain": ("amd64", "", ""),
    "KVM": ("amd64", "kvm", KVM),
    "KVM on arm64": ("arm64", "kvm", KVM),
    "KVM on ppc64le": ("ppc64le", "kvm", "qemu qemu-runtime-rs"),
    "SNP": ("amd64", "kvm sev snp", f"{KVM} qemu-snp qemu-snp-runtime-rs"),
    "TDX": ("amd64", "kvm tdx", f"{KVM} qemu-tdx qemu-tdx-runtime-rs"),
    "GPU": ("amd64", "kvm gpu", f"{KVM} {GPU}"),
    "GPU without KVM": ("amd64", "gpu", ""),
    "SNP and GPU": (
        "amd64",
        "kvm sev snp gpu",
        f"{KVM} {GPU} qemu-snp qemu-snp-runtime-rs qemu-nvidia-gpu-snp qemu-nvidia-gpu-snp-runtime-rs",
    ),
    "Azure": ("amd64", "mshv", "clh-azure clh-azure-runtime-rs openvmm-azure-runtime-rs"),
    "s390x without SE": ("s390x", "kvm", "qemu qemu-runtime-rs"),
    "SE": ("s390x", "kvm se", "qemu qemu-runtime-rs qemu-se qemu-se-runtime-rs"),
}


@pytest.mark.parametrize(("architecture", "has", "offered"), NODES.values(), ids=NODES)
def test_what_a_node_is_offered_of_kata_4_1(architecture: str, has: str, offered: str) -> None:
    assert len(KATA_4_1) == 26
    built = [
        shim
        for shim, machines in KATA_4_1.items()
        if architecture in [MACHINES.get(one, one) for one in machines.split()]
    ]
    found = shims_module.chosen_shims(built, [], architecture, dict.fromkeys(has.split(), True))
    assert sorted(found) == sorted(offered.split())


@pytest.mark.parametrize("shim", KATA_4_1)
def test_a_shim_of_kata_4_1_runs_where_it_is_built_for(shim: str) -> None:
    for machine in KATA_4_1[shim].split():
        assert shims_module.missing(shim, MACHINES.get(machine, machine), EVERYTHING, asked=True) == ""


@pytest.mark.parametrize(
    ("shim", "architecture", "says"),
    [
        ("clh", "s390x", "runs on amd64, arm64, not on s390x"),
        ("qemu-coco-dev", "arm64", "runs on amd64, s390x, not on arm64"),
        ("qemu-snp-runtime-rs", "arm64", "runs on amd64, not"),
        ("qemu-se-snp", "amd64", "runs on s390x, not"),
        ("qemu-se-snp", "s390x", "runs on amd64, not"),
        ("qemu-cca", "amd64", "runs on arm64, not"),
        ("enclave-cc", "s390x", "runs on amd64, not"),
    ],
)
def test_a_shim_runs_on(shim: str, architecture: str, says: str) -> None:
    assert says in shims_module.missing(shim, architecture, EVERYTHING, asked=True)


@pytest.mark.parametrize(
    ("shim", "architecture", "needs"),
    [
        ("qemu", "amd64", "kvm"),
        ("qemu-sev", "amd64", "kvm sev"),
        ("qemu-snp", "amd64", "kvm snp"),
        ("clh-tdx", "amd64", "kvm tdx"),
        ("tdx", "amd64", "kvm tdx"),
        ("qemu-nvidia-gpu-tdx-runtime-rs", "amd64", "kvm gpu tdx"),
        ("clh-azure-snp", "amd64", "mshv snp"),
        ("qemu-cca", "arm64", "kvm cca"),
        ("qemu-nvidia-gpu-cca-runtime-rs", "arm64", "kvm gpu cca"),
        ("fc", "amd64", "kvm devmapper"),
        ("rs-fc", "amd64", "kvm devmapper"),
        ("cloud-hypervisor", "arm64", "kvm"),
        ("stratovirt", "amd64", "kvm"),
        ("qemu-coco-dev", "s390x", "kvm guest_pull"),
        ("remote", "ppc64le", "peer_pods"),
        ("remote-runtime-rs", "ppc64le", "peer_pods"),
        ("enclave-cc", "amd64", "sgx"),
    ],
)
def test_a_shim_needs(shim: str, architecture: str, needs: str) -> None:
    for need in needs.split():
        title, visible = shims_module.CAPABILITIES[need]
        if visible:
            assert title in shims_module.missing(shim, architecture, {**EVERYTHING, need: False}, asked=True)
        else:
            assert title in shims_module.missing(shim, architecture, EVERYTHING)
    needed = {name: name in needs.split() for name in EVERYTHING}
    assert shims_module.missing(shim, architecture, needed, asked=True) == ""


@pytest.mark.parametrize(
    ("shim", "unknown"),
    [("gvisor", "gvisor"), ("qemu-foo", "foo"), ("qemu-new-tee-runtime-rs", "new-tee"), ("runtime-rs", "runtime-rs")],
)
def test_a_shim_with_a_word_that_nobody_knows_must_be_named(shim: str, unknown: str) -> None:
    assert shims_module.missing(shim, "amd64", EVERYTHING, asked=True) == ""
    assert f"has '{unknown}' in its name" in shims_module.missing(shim, "amd64", EVERYTHING)
    assert shims_module.chosen_shims([shim], [], "amd64", EVERYTHING) == []
    assert shims_module.chosen_shims([shim], [f"kata-{shim}"], "amd64", EVERYTHING) == [shim]


def test_known_words_count_beside_unknown_ones() -> None:
    assert "AMD SEV-SNP" in shims_module.missing("qemu-foo-snp", "amd64", {"kvm": True}, asked=True)


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
        pytest.param(
            [GO, RUST, f"{DEFAULTS}/configuration-remote.toml", f"{DEFAULTS}/runtime-rs/configuration-remote.toml"],
            [("kata-remote", GO, f"{DEFAULTS}/configuration-remote.toml")],
            id="in both trees",
        ),
        pytest.param(
            [RUST, f"{DEFAULTS}/configuration-remote.toml", f"{DEFAULTS}/runtime-rs/configuration-remote.toml"],
            [("kata-remote", RUST, f"{DEFAULTS}/runtime-rs/configuration-remote.toml")],
            id="in both trees, without Go's shim",
        ),
        pytest.param([GO, f"{DEFAULTS}/configuration.toml"], [], id="the default's link names no shim"),
        pytest.param([GO, "etc/configuration-qemu.toml"], [], id="elsewhere"),
        pytest.param([GO, f"{DEFAULTS}/configuration-Q.toml", f"{DEFAULTS}/configuration-.toml"], [], id="no name of a shim"),
        pytest.param([GO, f"{DEFAULTS}/configuration-qemu.toml.bak"], [], id="a copy"),
        pytest.param([], [], id="nothing"),
    ],
)  # fmt: skip
def test_offered(paths: list[str], offered: list[tuple[str, str, str]]) -> None:
    found = shims_module.offered({path: {} for path in paths}, CC, "/opt/confidential-containers")
    assert [(one.name, one.runtime_path, one.config_path) for one in found] == [
        (name, f"/opt/confidential-containers/{binary}", f"/opt/confidential-containers/{configuration}")
        for name, binary, configuration in offered
    ]


def test_a_handler_is_what_upstream_writes() -> None:
    [handler] = shims_module.offered({GO: {}, f"{DEFAULTS}/configuration-qemu.toml": {}}, CC, "/x")
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


def payload(*shims: str) -> list[shims_module.Handler]:
    tree: dict[str, dict[str, bool]] = {GO: {}, **{f"{DEFAULTS}/configuration-{shim}.toml": {} for shim in shims}}
    return shims_module.offered(tree, CC, "/x")


def test_a_placeholder_in_a_configuration_excludes_its_handler() -> None:
    qemu, tdx = (f"{DEFAULTS}/configuration-{shim}.toml" for shim in ("qemu", "qemu-tdx"))
    handlers = shims_module.offered({GO: {}, qemu: {}, tdx: {"placeholder": True}}, CC, "/x")
    assert "flaw" not in handlers[0].table()
    choice = shims_module.choose(handlers, [], "amd64", EVERYTHING)
    assert [handler.name for handler in choice.handlers] == ["kata-qemu"]
    assert "placeholder" in choice.excluded["kata-qemu-tdx"]
    with pytest.raises(Refusal, match="placeholder"):
        shims_module.choose(handlers, ["kata-qemu-tdx"], "amd64", EVERYTHING)


@pytest.mark.parametrize(
    ("present", "configuration", "program"),
    [(RUST, f"{DEFAULTS}/configuration-qemu.toml", GO), (GO, f"{DEFAULTS}/runtime-rs/configuration-qemu.toml", RUST)],
    ids=["Go", "Rust"],
)
def test_a_configuration_without_the_program_of_its_shim(present: str, configuration: str, program: str) -> None:
    handlers = shims_module.offered({present: {}, configuration: {}}, CC, "/x")
    with pytest.raises(Refusal, match=f"kata-qemu has a configuration .* not the program of its shim, {program}"):
        shims_module.choose(handlers, [], "amd64", EVERYTHING)
    with pytest.raises(Refusal, match=f"not the program of its shim, {program}.*Use a payload that has it"):
        shims_module.choose(handlers, ["kata-qemu"], "amd64", EVERYTHING)
    assert program in shims_module.reasons(handlers, "amd64", EVERYTHING)["kata-qemu"]


def test_shims_whose_components_are_not_unpacked_are_told_of() -> None:
    needed = {"qemu": ["go"], "clh": ["go", "clh"], "qemu-snp": ["go", "snp"], "qemu-runtime-rs": ["rust"]}
    tree: dict[str, dict[str, str]] = {
        path: {} for path in (GO, *(f"{DEFAULTS}/configuration-{shim}.toml" for shim in ("qemu", "clh", "fc")))
    }
    handlers = shims_module.offered(tree, CC, "/x", components.Components(needed, ("go",)))
    choice = shims_module.choose(handlers, ["kata-qemu"], "amd64", {"kvm": True})
    assert [handler.name for handler in choice.handlers] == ["kata-qemu"]
    for told in (choice.excluded, shims_module.reasons(handlers[:1] + handlers[2:], "amd64", {"kvm": True})):
        assert sorted(told) == ["kata-clh", "kata-qemu-runtime-rs", "kata-qemu-snp"]
        assert told["kata-clh"] == told["kata-qemu-runtime-rs"] == "not asked for in coco_handlers"
    assert "SEV-SNP" in shims_module.reasons(handlers, "amd64", {"kvm": True})["kata-qemu-snp"]


@pytest.mark.parametrize(
    ("asked", "has", "says"),
    [
        ([], "", "kata-qemu needs /dev/kvm"),
        (["kata-qmeu"], "kvm", "no configuration for kata-qmeu; the payload offers kata-qemu, kata-qemu-snp, kata-fc"),
        (["kata-qemu-snp"], "kvm", "run kata-qemu-snp. Found that it needs AMD SEV-SNP"),
    ],
)
def test_what_no_component_is_unpacked_for(asked: list[str], has: str, says: str) -> None:
    """Told before gigabytes are unpacked, and not as a payload without artifacts."""
    with pytest.raises(Refusal) as refused:
        shims_module.shims_to_unpack(["qemu", "qemu-snp", "fc"], asked, "amd64", dict.fromkeys(has.split(), True))
    assert says in str(refused.value)


def test_the_shims_whose_components_are_unpacked() -> None:
    shims = ["qemu", "qemu-snp", "fc"]
    assert shims_module.chosen_shims(shims, [], "amd64", {"kvm": True}) == ["qemu"]
    assert shims_module.chosen_shims(shims, ["kata-fc", "mine"], "amd64", {"kvm": True}) == ["fc"]
    assert shims_module.shims_to_unpack(shims, ["kata-fc", "mine"], "amd64", {"kvm": True}, ["mine"]) == ["fc"]


@pytest.mark.parametrize(
    ("shims", "asked", "architecture", "has", "chosen", "excluded"),
    [
        pytest.param(
            "qemu clh qemu-snp", "", "amd64", "kvm", "kata-clh kata-qemu", {"kata-qemu-snp": "AMD SEV-SNP"}, id="auto"
        ),
        pytest.param("qemu clh-azure", "", "amd64", "mshv", "kata-clh-azure", {"kata-qemu": "/dev/kvm"}, id="auto without KVM"),
        pytest.param("qemu gvisor", "", "amd64", "kvm", "kata-qemu", {"kata-gvisor": "'gvisor' in its name"}, id="unknown"),
        pytest.param("qemu gvisor", "kata-gvisor", "amd64", "", "kata-gvisor", {"kata-qemu": "not asked"}, id="unknown, asked"),
        pytest.param("qemu clh", "", "s390x", "kvm", "kata-qemu", {"kata-clh": "amd64, arm64"}, id="auto elsewhere"),
        pytest.param("fc qemu", "", "amd64", "kvm", "kata-qemu", {"kata-fc": "coco_handlers"}, id="auto, and one to ask for"),
        pytest.param("fc qemu", "kata-fc", "amd64", "kvm", "kata-fc", {"kata-qemu": "not asked for"}, id="asked"),
        pytest.param("fc qemu", "kata-qemu kata-fc kata-fc", "amd64", "kvm", "kata-fc kata-qemu", {}, id="asked twice"),
    ],
)  # fmt: skip
def test_choose(shims: str, asked: str, architecture: str, has: str, chosen: str, excluded: dict[str, str]) -> None:
    choice = shims_module.choose(payload(*shims.split()), asked.split(), architecture, dict.fromkeys(has.split(), True))
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
        pytest.param("fc gvisor qemu", "", "", ["(kata-gvisor), name it in coco_handlers"], id="none by itself"),
    ],
)
def test_no_choice(shims: str, asked: str, has: str, says: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        shims_module.choose(payload(*shims.split()), asked.split(), "amd64", dict.fromkeys(has.split(), True))
    for words in says:
        assert words in str(refused.value)


def test_every_need_has_a_title() -> None:
    needs = set(itertools.chain.from_iterable(word.capabilities for word in shims_module.WORDS.values()))
    assert needs == set(shims_module.CAPABILITIES)


def test_the_handler_of_enclave_cc() -> None:
    layout = layouts.by_name("enclave-cc")
    tree: dict[str, dict[str, str]] = {path: {} for path in layout.files.values()}
    [handler] = shims_module.offered(tree, layout, layout.prefix)
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
    assert "Intel SGX" in shims_module.missing("enclave-cc", "amd64", {"kvm": True})


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
    offered = shims_module.offered({path: {} for path in paths}, CC, "/x")
    choice = shims_module.choose(offered, [], "amd64", {"kvm": True}, candidates=candidates)
    assert [handler.name for handler in choice.handlers] == chosen
    assert set(choice.excluded) == set(excluded)
    for name, reason in excluded.items():
        assert reason in choice.excluded[name]
    shims = shims_module.chosen_shims(["qemu", "qemu-snp", "remote"], [], "amd64", {"kvm": True}, candidates)
    assert [f"kata-{shim}" for shim in shims] == chosen
