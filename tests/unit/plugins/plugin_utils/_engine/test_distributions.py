# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written for the containerd of a distribution: what stood there, what is wanted, and what stands there afterwards."""

from __future__ import annotations

import tomllib
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Found, Plan, Wanted
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import template
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.planners import planner_of

QEMU = {"runtime_type": "io.containerd.kata-qemu.v2", "options": {"ConfigPath": "/x/configuration-qemu.toml"}}
CLH = {"runtime_type": "io.containerd.kata-clh.v2"}
R2 = 'plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
R3 = "plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes"
QEMU_2 = (
    f'[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu]\nruntime_type = "{QEMU["runtime_type"]}"\n'
    '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu.options]\nConfigPath = "/x/configuration-qemu.toml"\n'
)
QEMU_3 = QEMU_2.replace("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime")
BASE = '{{ template "base" . }}\n'

RANCHER = "/var/lib/rancher/k3s/agent/etc/containerd"
V2_BASE = f'version = 2\n\n[{R2}.runc]\n  runtime_type = "io.containerd.runc.v2"\n'
V3_BASE = f'version = 3\n\n[{R3}.runc]\n  runtime_type = "io.containerd.runc.v2"\n'
IMPORTING = f'imports = ["{RANCHER}/config-v3.toml.d/*.toml"]\n'

KATA = "/x/config.d/22-confidential-containers.toml"
K0S = "/etc/k0s/containerd.toml"
MERGED = "/run/k0s/containerd-cri.toml"
K0S_2 = f'# k0s_managed=true\nversion = 2\nimports = [\n  "{MERGED}",\n]\n'
K0S_3 = '# k0s_managed=true\nversion = 3\nimports = [\n  "/etc/k0s/containerd.d/*.toml",\n]\n'

SNAP = "/var/snap/microk8s/current/args"
SNAP_TEMPLATE = (
    'version = 2\noom_score = 0\n\n[plugins."io.containerd.grpc.v1.cri".containerd]\n  snapshotter = "${SNAPSHOTTER}"\n\n'
    f'[{R2}.kata]\n  runtime_type = "io.containerd.kata.v2"\n\n'
    f'[{R2}.${{RUNTIME}}]\n  runtime_type = "${{RUNTIME_TYPE}}"\n'
).replace("${RUNTIME}", "runc")
SNAP_RENDERED = SNAP_TEMPLATE.replace("${SNAPSHOTTER}", "overlayfs").replace("${RUNTIME_TYPE}", "io.containerd.runc.v2")

NEW, OLD = (2, 2, 9), (1, 7, 24)


def rendered(files: dict[str, str | None], base: str) -> str:
    """Return what k3s makes of its templates."""
    for name in ("config-v3.toml.tmpl", "config.toml.tmpl"):
        text = files.get(f"{RANCHER}/{name}")
        if text is not None:
            return text.replace(BASE.strip(), base)
    return base


class Node:
    """A node between runs. ``files`` are those that its engine reads, and those that we may write."""

    def __init__(self, flavour: str, version: tuple[int, ...], main: str, files: dict[str, str | None], **found: t.Any):
        self.flavour, self.version, self.main, self.found = flavour, version, main, found
        self.files: dict[str, str | None] = {**dict.fromkeys(FLAVOURS[flavour].places(main)), **files}
        self.edits: dict[str, tuple[str | None, str | None]] = {}
        self.ours: dict[str, t.Any] = {}

    def run(self, handlers: dict[str, t.Any], **wanted: t.Any) -> Plan:
        """Bring the node to these handlers."""
        found = Found(
            self.version,
            self.main,
            dict(self.files),
            "version = 2\n",
            before={path: edit[0] for path, edit in self.edits.items() if self.files[path] == edit[1]},
            edited=list(self.edits),
            ours=self.ours,
            flavour=self.flavour,
            kubelet=FLAVOURS[self.flavour].kubelet,
            **self.found,
        )
        plan = planner_of(self.flavour).plan(found, Wanted(handlers, **wanted), "/run/trial")
        for edit in plan.edits:
            self.files[edit.path] = edit.wanted
            self.edits.pop(edit.path, None)
            if edit.wanted != edit.without:
                self.edits[edit.path] = (edit.without, edit.wanted)
        self.ours = handlers
        return plan


def k3s(base: str, version: tuple[int, ...] = NEW, name: str = "", template: str | None = None) -> Node:
    """Return a node of k3s, with a template of that name."""
    paths = {f"{RANCHER}/{name}": template} if name else {}
    return Node("k3s", version, f"{RANCHER}/config.toml", {**paths, f"{RANCHER}/config.toml": rendered(paths, base)})


OWN = '# ours since 2023\n{{ template "base" . }}\n[debug]\n  level = "info"\n'
FULL = V3_BASE.replace("runc]", "crun]") + "# no newline"


@pytest.mark.parametrize(
    ("version", "base", "name", "before", "after"),
    [
        pytest.param(NEW, V3_BASE, "config-v3.toml.tmpl", None, f"{BASE}\n{toml.MARK}\n{QEMU_3}{template.END}\n", id="none"),
        pytest.param(OLD, V2_BASE, "config.toml.tmpl", None, f"{BASE}\n{toml.MARK}\n{QEMU_2}{template.END}\n", id="none, schema 2"),
        pytest.param(NEW, V2_BASE, "config.toml.tmpl", BASE, f"{BASE}\n{toml.MARK}\n{QEMU_2}{template.END}\n", id="schema 2 on 2.x"),
        pytest.param(NEW, V3_BASE, "config-v3.toml.tmpl", OWN, f"{OWN}\n{toml.MARK}\n{QEMU_3}{template.END}\n", id="own, with base"),
        pytest.param(NEW, "", "config-v3.toml.tmpl", FULL, f"{FULL}\n{toml.MARK}\n{QEMU_3}{template.END}\n", id="a full copy"),
    ],
)  # fmt: skip
def test_a_template(version: tuple[int, ...], base: str, name: str, before: str | None, after: str) -> None:
    path = f"{RANCHER}/{name}"
    node = k3s(base, version, name, before)
    plan = node.run({"kata-qemu": QEMU})
    assert ([edit.path for edit in plan.edits], plan.mode) == ([path], "template")
    assert node.files[path] == after
    # The trial is what will be rendered: what is rendered now, and our tables.
    assert tomllib.loads(plan.trial["config.toml"]) == tomllib.loads(rendered(node.files, base))
    main = f"{RANCHER}/config.toml"
    # k3s renders it, and nothing is left to do. Another set of handlers replaces the block.
    node.files[main] = rendered(node.files, base)
    assert node.run({"kata-qemu": QEMU}).edits == ()
    node.run({"kata-clh": CLH})
    node.files[main] = rendered(node.files, base)
    assert "kata-qemu" not in (node.files[path] or "")
    # What the user writes around the block stays, and what was there before comes back byte for byte.
    assert node.run({}).trial["config.toml"].count("kata-") == 0
    assert node.files[path] == before


def test_an_edit_around_our_block_stays() -> None:
    node = k3s(V3_BASE)
    path = f"{RANCHER}/config-v3.toml.tmpl"
    node.run({"kata-qemu": QEMU})
    node.files[path] = "# above\n" + (node.files[path] or "") + "# below\n"
    node.files[f"{RANCHER}/config.toml"] = rendered(node.files, V3_BASE)
    node.run({})
    assert node.files[path] == f"# above\n{BASE}# below\n"


@pytest.mark.parametrize(
    ("below", "stays"),
    [("# below\n", True), ("\n# a\n  [debug]\n", True), ("{{ range .X }}\n{{ end }}\n", True), ("level = 1\n", False)],
)
def test_what_the_admin_writes_below_our_block(below: str, stays: bool) -> None:
    """It is no change, and no restart. But a key that would be one of our last table's goes above the block."""
    node = k3s(V3_BASE)
    path = f"{RANCHER}/config-v3.toml.tmpl"
    node.run({"kata-qemu": QEMU})
    edited = node.files[path] = (node.files[path] or "") + below
    edits = node.run({"kata-qemu": QEMU}).edits
    assert (node.files[path] == edited, edits == ()) == (stays, stays)
    assert (node.files[path] or "").endswith(f"{template.END}\n") is not stays
    node.run({})
    assert node.files[path] == f"{BASE}{below}"


def test_a_line_below_our_block_does_not_join_the_last_one_above() -> None:
    node = k3s("", NEW, "config-v3.toml.tmpl", FULL)
    path = f"{RANCHER}/config-v3.toml.tmpl"
    node.run({"kata-qemu": QEMU})
    node.files[path] = f"{node.files[path]}[debug]\n"
    node.run({})
    assert node.files[path] == f"{FULL}\n[debug]\n"


@pytest.mark.parametrize("line", [toml.MARK, template.END])
def test_a_block_without_one_of_its_marks_is_refused(line: str) -> None:
    node = k3s(V3_BASE)
    path = f"{RANCHER}/config-v3.toml.tmpl"
    node.run({"kata-qemu": QEMU})
    node.files[path] = (node.files[path] or "").replace(f"{line}\n", "")
    with pytest.raises(Refusal, match="one of these lines without the other"):
        node.run({})


def test_a_value_that_looks_like_an_action() -> None:
    node = k3s(V3_BASE)
    node.run({"kata-qemu": {**QEMU, "pod_annotations": ["{{ x }}"]}})
    assert '["{{ "{{" }} x }}"]' in (node.files[f"{RANCHER}/config-v3.toml.tmpl"] or "")


def test_a_drop_in_where_the_rendered_file_imports_them() -> None:
    node = k3s(IMPORTING + V3_BASE)
    plan = node.run({"kata-qemu": QEMU})
    drop_in = f"{RANCHER}/config-v3.toml.d/99-confidential-containers.toml"
    assert ([edit.path for edit in plan.edits], plan.mode) == ([drop_in], "drop_in")
    assert node.files[drop_in] == f"{toml.MARK}\nversion = 3\n\n{QEMU_3}"
    assert tomllib.loads(plan.trial["config.toml"])["imports"] == ["/run/trial/0.toml"]
    assert [edit.path for edit in node.run({}).edits] == [drop_in]
    assert node.files[drop_in] is None


def test_a_release_that_begins_to_import_moves_us_to_the_drop_in() -> None:
    node = k3s(V3_BASE)
    node.run({"kata-qemu": QEMU})
    node.files[f"{RANCHER}/config.toml"] = rendered(node.files, IMPORTING + V3_BASE)
    plan = node.run({"kata-qemu": QEMU})
    assert node.files[f"{RANCHER}/config-v3.toml.tmpl"] is None
    assert node.files[f"{RANCHER}/config-v3.toml.d/99-confidential-containers.toml"]
    read = [tomllib.loads(text) for text in plan.trial.values()]
    assert ["kata-qemu" in str(document) for document in read] == [False, True]


@pytest.mark.parametrize(("before", "mode"), [(None, "template"), (BASE, "drop_in")])
def test_a_template_that_keeps_k3s_at_schema_2(before: str | None, mode: str) -> None:
    # Installed on containerd 1.7, then upgraded to a release that imports drop-ins, but would render schema 3 without a template.
    path = f"{RANCHER}/config.toml.tmpl"
    node = k3s(V2_BASE, OLD, "config.toml.tmpl", before)
    node.run({"kata-qemu": QEMU})
    node.version = NEW
    node.files[node.main] = rendered(node.files, f'imports = ["{RANCHER}/config.toml.d/*.toml"]\n{V2_BASE}')
    assert node.run({"kata-qemu": QEMU}).mode == mode
    assert ((node.files[path] or "").startswith(BASE), "kata-qemu" in (node.files[path] or "")) == (
        True,
        mode == "template",
    )


def test_containerd_1_x_is_never_given_a_drop_in_by_k3s() -> None:
    node = k3s(f'imports = ["{RANCHER}/config.toml.d/*.toml"]\n{V2_BASE}', OLD)
    assert node.run({"kata-qemu": QEMU}).mode == "template"


@pytest.mark.parametrize(
    ("release", "refused"),
    [
        ("v1.24.16+k3s1", True),
        ("v1.24.17+k3s1", False),
        ("v1.23.17+k3s1", True),
        ("v1.28.0+k3s1", True),
        ("v1.28.1+rke2r1", False),
        ("v1.35.3+k3s1", False),
        ("", False),
    ],
)
def test_a_release_without_the_template_base(release: str, refused: bool) -> None:
    node = k3s(V2_BASE, OLD)
    node.found["release"] = release
    if refused:
        with pytest.raises(Refusal, match='the template "base"'):
            node.run({"kata-qemu": QEMU})
    else:
        assert node.run({"kata-qemu": QEMU}).edits
    # The admin's own copy of the whole template needs no base.
    node = k3s("", OLD, "config.toml.tmpl", V2_BASE)
    node.found["release"] = release
    assert node.run({"kata-qemu": QEMU}).edits


@pytest.mark.parametrize("keep_aside", [False, True])
def test_a_handler_of_the_template_s_with_our_name(keep_aside: bool) -> None:
    node = k3s(V3_BASE, NEW, "config-v3.toml.tmpl", BASE + QEMU_3)
    with pytest.raises(Refusal, match=r"kata-qemu in .*/config\.toml"):
        node.run({"kata-qemu": QEMU}, keep_aside=keep_aside)


@pytest.mark.parametrize(
    ("node", "mode"),
    [
        (k3s(V3_BASE), "drop_in"),
        (k3s(IMPORTING + V3_BASE), "in_place"),
        (Node("k0s", (2, 3, 3), K0S, {K0S: K0S_3}), "in_place"),
        (Node("microk8s", OLD, f"{SNAP}/containerd.toml", {f"{SNAP}/containerd-template.toml": SNAP_TEMPLATE}), "drop_in"),
    ],
)  # fmt: skip
def test_a_mode_that_the_distribution_does_not_have(node: Node, mode: str) -> None:
    with pytest.raises(Refusal, match="Leave coco_config_mode out"):
        node.run({"kata-qemu": QEMU}, mode=mode)


def test_k0s_that_merges_drop_ins() -> None:
    runc = f'[{R2}.runc]\n  runtime_type = "io.containerd.runc.v2"\n'
    drop_in = "/etc/k0s/containerd.d/99-confidential-containers.toml"
    node = Node("k0s", OLD, K0S, {K0S: K0S_2, MERGED: f"version = 2\n{runc}"})
    plan = node.run({"kata-qemu": QEMU})
    assert ([edit.path for edit in plan.edits], plan.mode) == ([KATA, drop_in], "drop_in")
    assert node.files[drop_in] == f"{toml.MARK}\nversion = 2\n\n{QEMU_2}"
    # The trial has our handler where k0s will merge it into.
    trial = {name: tomllib.loads(text) for name, text in plan.trial.items()}
    assert trial["config.toml"]["imports"] == ["/run/trial/0.toml"]
    handlers = trial["0.toml"]["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert set(handlers) == {"runc", "kata-qemu"}
    node.files[MERGED] = f"version = 2\n{runc}{QEMU_2}"
    assert node.run({"kata-qemu": QEMU}).edits == ()
    plan = node.run({})
    assert node.files[drop_in] is None
    assert "kata-qemu" not in plan.trial["0.toml"]


def test_k0s_that_imports_drop_ins() -> None:
    drop_in = "/etc/k0s/containerd.d/99-confidential-containers.toml"
    node = Node("k0s", (2, 3, 3), K0S, {K0S: K0S_3})
    assert [edit.path for edit in node.run({"kata-qemu": QEMU}).edits] == [KATA, drop_in]
    assert node.files[drop_in] == f"{toml.MARK}\nversion = 3\n\n{QEMU_3}"
    assert [edit.path for edit in node.run({}).edits] == [KATA, drop_in]


def test_k0s_whose_main_file_is_the_admin_s() -> None:
    node = Node("k0s", OLD, K0S, {K0S: V2_BASE})
    plan = node.run({"kata-qemu": QEMU})
    assert ([edit.path for edit in plan.edits], plan.mode) == ([KATA, K0S], "in_place")
    assert [edit.path for edit in node.run({}).edits] == [KATA, K0S]
    assert node.files[K0S] == V2_BASE


def test_another_drop_in_of_k0s_with_our_name() -> None:
    other = f"version = 2\n{QEMU_2}"
    node = Node("k0s", OLD, K0S, {K0S: K0S_2, MERGED: other, "/etc/k0s/containerd.d/kata.toml": other})
    with pytest.raises(Refusal, match="a drop-in of your own"):
        node.run({"kata-qemu": QEMU})


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_template_of_microk8s(version: tuple[int, ...]) -> None:
    path, main = f"{SNAP}/containerd-template.toml", f"{SNAP}/containerd.toml"
    node = Node("microk8s", version, main, {path: SNAP_TEMPLATE, main: SNAP_RENDERED})
    plan = node.run({"kata-qemu": QEMU})
    assert ([edit.path for edit in plan.edits], plan.mode) == ([KATA, path], "in_place")
    assert node.files[path] == f"{SNAP_TEMPLATE}\n{toml.MARK}\n{QEMU_2}"
    # Placeholders stay in the template. The trial has their values.
    assert plan.trial == {"config.toml": f"{SNAP_RENDERED}\n{toml.MARK}\n{QEMU_2}"}
    node.files[main] = plan.trial["config.toml"]
    assert node.run({"kata-qemu": QEMU}).edits == ()
    assert node.run({}).trial == {"config.toml": SNAP_RENDERED}
    assert node.files[path] == SNAP_TEMPLATE


def test_the_handler_that_the_snap_brings() -> None:
    path, main = f"{SNAP}/containerd-template.toml", f"{SNAP}/containerd.toml"
    node = Node("microk8s", OLD, main, {path: SNAP_TEMPLATE, main: SNAP_RENDERED})
    with pytest.raises(Refusal, match=f"kata in {path}"):
        node.run({"kata": QEMU})
    assert node.run({"kata": QEMU}, keep_aside=True).edits[-1].path == path


def test_where_the_kubelet_keeps_volumes() -> None:
    text = f'{toml.MARK}\n[runtime]\nkubelet_root_dir = "/var/lib/k0s/kubelet"\n'
    node = Node("k0s", (2, 3, 3), K0S, {K0S: K0S_3})
    node.run({"kata-qemu": QEMU, "kata-clh": CLH})
    assert node.files[KATA] == text
    assert node.run({"kata-qemu": QEMU, "kata-clh": CLH}).edits == ()
    # The next prefix has a file of its own, and the last one goes.
    moved = {**QEMU, "options": {"ConfigPath": "/y/configuration-qemu.toml"}}
    node.run({"kata-qemu": moved})
    assert (node.files[KATA], node.files["/y/config.d/22-confidential-containers.toml"]) == (None, text)
    # The user's edit stays.
    node.files["/y/config.d/22-confidential-containers.toml"] = "# mine\n"
    node.run({})
    assert node.files["/y/config.d/22-confidential-containers.toml"] == "# mine\n"
