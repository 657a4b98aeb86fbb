# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From handlers to texts: install, again, upgrade, the user's edits, uninstall."""

from __future__ import annotations

import json
import tomllib
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import handlers, toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import (
    Found,
    Plan,
    Wanted,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.containerd import documents
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.planners import planner_of

PLANNER = planner_of("containerd")

MAIN = "/etc/containerd/config.toml"
DROP_IN = schemas.drop_in_path(MAIN)
GLOB = schemas.drop_in_glob(MAIN)
TRIAL = "/run/trial"

R2 = ("plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes")
R3 = ("plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes")
V2 = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
V3 = "[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes"

RUNC = {"runtime_type": "io.containerd.runc.v2", "options": {}}
QEMU = {"runtime_type": "io.containerd.kata-qemu.v2", "options": {"ConfigPath": "/x/configuration-qemu.toml"}}
CLH = {"runtime_type": "io.containerd.kata-clh.v2", "options": {"ConfigPath": "/x/configuration-clh.toml"}}
FC = {"runtime_type": "io.containerd.kata-fc.v2"}

ONE, TWO = (1, 7, 24), (2, 1, 9)

SPARSE = 'version = 2\n\n[plugins."io.containerd.grpc.v1.cri"]\n  disable_cgroup = true\n'
HUMAN = (
    "# node team\nversion = 2\n\n[plugins]\n"
    f'  {V2}.runc]\n    runtime_type = "io.containerd.runc.v2"   # as ever\n'
    f"  {V2}.farm]\n    runtime_type='x'\n\n# EOF\n"
)
THREE = "version = 3\n\n[grpc]\n\tuid = 0\n"

Texts = dict[str, str | None]


class Node:
    """What a node remembers between runs, and what its engine would say: enough for one run after the other."""

    def __init__(
        self,
        version: tuple[int, ...],
        main: str | None,
        drop_in: str | None = None,
        mode: str = "auto",
        **allowed: t.Any,
    ) -> None:
        self.version, self.mode = version, mode
        self.files: Texts = {MAIN: main, DROP_IN: drop_in}
        self.edits: dict[str, tuple[str | None, str | None]] = {}  # path → before, after
        self.ours: dict[str, t.Any] = {}
        self.written: t.Any = {}
        self.disabled: dict[str, t.Any] = {}
        self.proxies: dict[str, t.Any] = {}
        self.wanted_proxies: dict[str, t.Any] = allowed.pop("proxies", {})
        self.allowed = allowed
        self.plan = Plan(())

    @property
    def table(self) -> tuple[str, ...]:
        document = tomllib.loads(self.files[MAIN] or "")
        schema, plain = documents.schema_of(document), not {"version", "plugins"} & set(document)
        return schemas.decide(self.version, schema, self.mode, plain).table

    def dump(self) -> str:
        """Print the handlers as the engine would: those of its files, and its builtin runc."""
        found: dict[str, t.Any] = {}
        for text in self.files.values():
            table: t.Any = tomllib.loads(text or "")
            for part in self.table:
                table = table.get(part, {})
            found.update(table)
        # A dump has the newest schema that its engine knows, whatever the file has.
        schema, table = (3, R3) if self.version >= (2, 0) else (2, R2)
        header = ".".join(f"'{part}'" for part in table)
        lines = [f"version = {schema}"]
        for name, table in ({"runc": RUNC, **found}).items():
            lines += [f"[{header}.'{name}']", "  runtime_root = ''"]
            lines += [f"  {key} = {json.dumps(value)}" for key, value in table.items() if isinstance(value, str)]
            lines += [f"  [{header}.'{name}'.options]"]
            lines += [f"    {key} = {json.dumps(value)}" for key, value in table.get("options", {}).items()]
        return "\n".join(lines) + "\n"

    def run(self, **wanted: dict[str, t.Any]) -> list[str]:
        """Bring the node to these handlers; return the paths that were edited, in order."""
        return self.tables({f"kata-{name}": table for name, table in wanted.items()})

    def tables(self, tables: dict[str, dict[str, t.Any]]) -> list[str]:
        """The same by the handlers' whole names."""
        before = {path: edit[0] for path, edit in self.edits.items() if self.files[path] == edit[1]}
        found = Found(
            self.version,
            MAIN,
            dict(self.files),
            self.dump(),
            before=before,
            edited=list(self.edits),
            ours=self.ours,
            proxies=self.proxies,
            written=self.written,
            disabled=self.disabled,
        )
        allowed: t.Any = {"mode": self.mode, "proxies": self.wanted_proxies if tables else {}, **self.allowed}
        self.plan = PLANNER.plan(found, Wanted(tables, **allowed), TRIAL)
        for edit in self.plan.edits:
            assert edit.now == self.files[edit.path]
            self.files[edit.path] = edit.wanted
            self.edits.pop(edit.path, None)
            self.written = edit.builtin if edit.path == MAIN else self.written
            self.disabled = {path: plugins for path, plugins in self.disabled.items() if path != edit.path}
            if edit.wanted != edit.without:
                self.edits[edit.path] = (edit.without, edit.wanted)
                self.disabled.update({edit.path: edit.disabled} if edit.disabled else {})
        self.ours, self.proxies = dict(tables), dict(self.wanted_proxies if tables else {})
        return [edit.path for edit in self.plan.edits]

    def handlers(self, path: str) -> dict[str, t.Any]:
        table: t.Any = tomllib.loads(self.files[path] or "")
        for part in self.table:
            table = table.get(part, {})
        return dict(table)


EVERY = pytest.mark.parametrize(
    ("version", "main", "mode", "edited"),
    [
        pytest.param(ONE, SPARSE, "auto", [MAIN], id="1.7 sparse"),
        pytest.param(ONE, HUMAN, "auto", [MAIN], id="1.7 human"),
        pytest.param(ONE, HUMAN.replace("\n", "\r\n"), "auto", [MAIN], id="1.7 CRLF"),
        pytest.param(ONE, HUMAN.rstrip("\n"), "auto", [MAIN], id="1.7 no newline"),
        pytest.param((1, 4, 13), SPARSE, "auto", [MAIN], id="1.4 sparse"),
        pytest.param(TWO, HUMAN, "auto", [DROP_IN, MAIN], id="2.1 schema 2"),
        pytest.param(TWO, THREE, "auto", [DROP_IN, MAIN], id="2.1 schema 3"),
        pytest.param(TWO, THREE, "in_place", [MAIN], id="2.1 schema 3, in place"),
        pytest.param(TWO, HUMAN, "in_place", [MAIN], id="2.1 schema 2, in place"),
        pytest.param(TWO, f"imports = ['/etc/containerd/conf.d/*.toml']\n{THREE}", "auto", [DROP_IN], id="2.1 imports us"),
        pytest.param(TWO, f"imports = []\n{THREE}", "auto", [DROP_IN, MAIN], id="2.1 imports nothing"),
        pytest.param(TWO, "version = 3", "auto", [DROP_IN, MAIN], id="2.1 nothing at all"),
    ],
)  # fmt: skip


@EVERY
def test_install_again_and_uninstall(version: tuple[int, ...], main: str, mode: str, edited: list[str]) -> None:
    node = Node(version, main, mode=mode)
    assert node.run(qemu=QEMU) == edited
    assert {**node.handlers(MAIN), **node.handlers(DROP_IN)}["kata-qemu"] == QEMU
    installed = dict(node.files)
    assert node.run(qemu=QEMU) == []
    assert node.files == installed
    assert node.run() == edited[::-1]
    assert node.files == {MAIN: main, DROP_IN: None}
    assert node.edits == {}
    assert node.run() == []


@EVERY
def test_upgrade(version: tuple[int, ...], main: str, mode: str, edited: list[str]) -> None:
    node, fresh = Node(version, main, mode=mode), Node(version, main, mode=mode)
    node.run(qemu=QEMU, clh=CLH)
    other = {**QEMU, "runtime_type": "io.containerd.other.v2"}
    assert node.run(qemu=other, fc=FC) == edited[:1]
    fresh.run(qemu=other, fc=FC)
    assert node.files == fresh.files
    node.run()
    assert node.files == {MAIN: main, DROP_IN: None}


@EVERY
def test_ten_times(version: tuple[int, ...], main: str, mode: str, edited: list[str]) -> None:
    node = Node(version, main, mode=mode)
    for _dummy in range(10):
        assert node.run(qemu=QEMU) == edited
        node.run()
        assert node.files == {MAIN: main, DROP_IN: None}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("disable_cgroup = true", "disable_cgroup = false", id="another value"),
        pytest.param("disable_cgroup = true", "disable_cgroup = true\n  sandbox_image = 'x'", id="another key"),
        pytest.param("version = 2\n", "# mine\nversion = 2\n", id="a comment"),
        pytest.param("version = 2\n", "version = 2\n\n[metrics]\naddress = 'x'\n", id="a table"),
        pytest.param("disable_cgroup = true\n", f"disable_cgroup = true\n  {V2}.mine]\n  runtime_type = 'x'\n", id="a handler"),
    ],
)  # fmt: skip
def test_the_user_s_edit_stays_and_ours_goes(old: str, new: str) -> None:
    node = Node(ONE, SPARSE + f"  {V2}.runc]\n  runtime_type = 'x'\n")
    clean = node.files[MAIN] or ""
    node.run(qemu=QEMU)
    node.files[MAIN] = (node.files[MAIN] or "").replace(old, new)
    node.run()
    assert node.files == {MAIN: clean.replace(old, new), DROP_IN: None}


def test_an_edit_behind_ours_stays() -> None:
    clean = SPARSE + f"  {V2}.runc]\n  runtime_type = 'x'\n"
    node = Node(ONE, clean)
    node.run(qemu=QEMU)
    node.files[MAIN] = (node.files[MAIN] or "") + "\n[metrics]\naddress = 'x'\n"
    node.run()
    assert node.files[MAIN] == clean + "\n[metrics]\naddress = 'x'\n"


def test_an_edit_of_ours_is_put_right() -> None:
    node = Node(ONE, HUMAN)
    node.run(qemu=QEMU)
    right = node.files[MAIN]
    node.files[MAIN] = (right or "").replace("io.containerd.kata-qemu.v2", "io.containerd.other.v2")
    assert node.run(qemu=QEMU) == [MAIN]
    assert node.files[MAIN] == right


def test_our_table_removed_comes_back() -> None:
    node = Node(ONE, HUMAN)
    node.run(qemu=QEMU)
    right = node.files[MAIN]
    node.files[MAIN] = HUMAN
    assert node.run(qemu=QEMU) == [MAIN]
    assert node.files[MAIN] == right


def test_moving_things_around_is_no_reason_to_restart() -> None:
    node = Node(ONE, HUMAN)
    node.run(qemu=QEMU)
    edited = (node.files[MAIN] or "").split("\n")
    edited[0], edited[2] = edited[2], edited[0]
    node.files[MAIN] = "\n".join(edited)
    assert node.run(qemu=QEMU) == []
    node.run()
    assert node.files[MAIN] == HUMAN.replace("# node team\nversion = 2\n\n", "\nversion = 2\n# node team\n")


def test_an_import_behind_ours_is_no_reason_to_restart() -> None:
    node = Node(TWO, THREE)
    node.run(qemu=QEMU)
    node.files["/etc/x.toml"] = "version = 3\n"
    node.files[MAIN] = toml.add_item(node.files[MAIN] or "", "imports", "/etc/x.toml", MAIN)
    assert node.run(qemu=QEMU) == []
    node.run()
    assert tomllib.loads(node.files[MAIN] or "") == {**tomllib.loads(THREE), "imports": ["/etc/x.toml"]}


def test_a_table_behind_ours_is_no_reason_to_restart_again() -> None:
    node = Node(ONE, HUMAN)
    node.run(qemu=QEMU)
    node.files[MAIN] = (node.files[MAIN] or "") + "\n[metrics]\naddress = 'x'\n"
    assert node.run(qemu=QEMU) == []


def test_a_drop_in_with_nothing_of_the_user_s_goes_although_it_was_edited() -> None:
    node = Node(TWO, THREE)
    node.run(qemu=QEMU)
    node.files[DROP_IN] = (node.files[DROP_IN] or "").replace("io.containerd.kata-qemu.v2", "io.containerd.other.v2")
    assert node.run() == [MAIN, DROP_IN]
    assert node.files == {MAIN: THREE, DROP_IN: None}


def test_a_drop_in_that_the_user_edited_keeps_the_edit() -> None:
    node = Node(TWO, THREE)
    node.run(qemu=QEMU)
    node.files[DROP_IN] = (node.files[DROP_IN] or "") + "\n[debug]\nlevel = 'debug'\n"
    assert node.run() == [MAIN, DROP_IN]
    assert node.files[MAIN] == THREE
    assert tomllib.loads(node.files[DROP_IN] or "") == {"version": 3, "debug": {"level": "debug"}}


def test_a_drop_in_that_was_removed_comes_back() -> None:
    node = Node(TWO, THREE)
    node.run(qemu=QEMU)
    right = dict(node.files)
    node.files[DROP_IN] = None
    assert node.run(qemu=QEMU) == [DROP_IN]
    assert node.files == right


@pytest.mark.parametrize(("main", "schema"), [(HUMAN, 2), (THREE, 3)])
def test_a_drop_in_has_the_version_of_the_main_file(main: str, schema: int) -> None:
    node = Node(TWO, main)
    node.run(qemu=QEMU)
    assert (node.files[DROP_IN] or "").startswith(f"{toml.MARK}\nversion = {schema}\n")
    assert (node.files[MAIN] or "").count(GLOB) == 1
    assert node.handlers(DROP_IN) == {"kata-qemu": QEMU}


def test_a_change_from_a_drop_in_to_the_main_file_and_back() -> None:
    node = Node(TWO, THREE)
    node.run(qemu=QEMU)
    with_drop_in = dict(node.files)
    node.mode = "in_place"
    assert sorted(node.run(qemu=QEMU)) == sorted([DROP_IN, MAIN])
    assert node.files[DROP_IN] is None
    assert node.handlers(MAIN)["kata-qemu"] == QEMU
    assert GLOB not in (node.files[MAIN] or "")
    node.mode = "auto"
    node.run(qemu=QEMU)
    assert node.files == with_drop_in
    node.run()
    assert node.files == {MAIN: THREE, DROP_IN: None}


def test_what_an_engine_reads_before_and_after_each_edit_is_whole() -> None:
    """A drop-in appears before it is imported, and goes after it is imported no more."""
    node = Node(TWO, THREE)
    assert node.run(qemu=QEMU) == [DROP_IN, MAIN]
    assert node.run() == [MAIN, DROP_IN]


# The builtin handler that 1.x forgets.


@pytest.mark.parametrize(
    ("version", "main", "mode", "written"),
    [
        pytest.param(ONE, SPARSE, "auto", True, id="1.7 without runtimes"),
        pytest.param((1, 4, 13), SPARSE, "auto", True, id="1.4 without runtimes"),
        pytest.param(ONE, SPARSE + f"{V2}]\n", "auto", True, id="1.7 with an empty table"),
        pytest.param(ONE, SPARSE + f"{V2}.runc]\nruntime_type = 'x'\n", "auto", False, id="1.7 with runc"),
        pytest.param(ONE, SPARSE + f"{V2}.farm]\nruntime_type = 'x'\n", "auto", False, id="1.7 with another one"),
        pytest.param(TWO, SPARSE, "auto", False, id="2.1 schema 2"),
        pytest.param(TWO, THREE, "auto", False, id="2.1 schema 3"),
        pytest.param(TWO, SPARSE, "in_place", False, id="2.1 schema 2, in place"),
        pytest.param(TWO, THREE, "in_place", False, id="2.1 schema 3, in place"),
    ],
)
def test_the_builtin_handler_is_written_out(version: tuple[int, ...], main: str, mode: str, written: bool) -> None:
    node = Node(version, main, mode=mode)
    theirs = set(node.handlers(MAIN))
    node.run(qemu=QEMU)
    found = {**node.handlers(MAIN), **node.handlers(DROP_IN)}
    assert set(found) - theirs - {"kata-qemu"} == ({"runc"} if written else set())
    if written:
        assert found["runc"] == RUNC
        assert list(found) == ["runc", "kata-qemu"]


def test_the_builtin_handler_goes_with_us_although_the_user_edited_the_file() -> None:
    node = Node(ONE, SPARSE)
    node.run(qemu=QEMU)
    node.files[MAIN] = (node.files[MAIN] or "").replace("disable_cgroup = true", "disable_cgroup = false")
    node.run()
    assert node.files[MAIN] == SPARSE.replace("disable_cgroup = true", "disable_cgroup = false")


def test_the_builtin_handler_stays_with_the_user_s_edit_of_it() -> None:
    node = Node(ONE, SPARSE)
    node.run(qemu=QEMU)
    node.files[MAIN] = (node.files[MAIN] or "").replace(
        "runtimes.runc.options]", "runtimes.runc.options]\nSystemdCgroup = true"
    )
    node.run()
    assert node.handlers(MAIN) == {"runc": {**RUNC, "options": {"SystemdCgroup": True}}}


# A dry run for the engine.


def test_the_trial_is_the_main_file_in_place() -> None:
    node = Node(ONE, HUMAN)
    node.run(qemu=QEMU)
    assert node.plan.trial == {"config.toml": node.files[MAIN]}


@pytest.mark.parametrize("imports", ["", "imports = ['/etc/containerd/conf.d/*.toml']\n"])
def test_the_trial_imports_the_drop_in_from_beside_it(imports: str) -> None:
    node = Node(TWO, imports + THREE)
    node.run(qemu=QEMU)
    assert set(node.plan.trial) == {"config.toml", "0.toml"}
    assert node.plan.trial["0.toml"] == node.files[DROP_IN]
    assert tomllib.loads(node.plan.trial["config.toml"])["imports"] == [f"{TRIAL}/0.toml"]


def test_the_trial_of_an_uninstallation_is_the_clean_file() -> None:
    for version, main in ((ONE, SPARSE), (TWO, THREE)):
        node = Node(version, main)
        node.run(qemu=QEMU)
        node.run()
        assert node.plan.trial == {"config.toml": main}


# What stands in the way.


@pytest.mark.parametrize(
    ("version", "main"),
    [
        (ONE, SPARSE + f"{V2}.kata-qemu]\nruntime_type = 'mine'\n"),
        (TWO, SPARSE + f"{V2}.kata-qemu]\nruntime_type = 'mine'\n"),
        (TWO, THREE + f"{V3}.kata-qemu]\nruntime_type = 'mine'\n"),
    ],
)
def test_a_handler_of_the_user_s_with_our_name_is_refused(version: tuple[int, ...], main: str) -> None:
    with pytest.raises(Refusal, match="kata-qemu"):
        Node(version, main).run(qemu=QEMU)
    node = Node(version, main)
    node.run(clh=CLH)
    assert "kata-clh" in {**node.handlers(MAIN), **node.handlers(DROP_IN)}


@pytest.mark.parametrize("name", ["kata-qemu", "runc"])
def test_a_handler_of_the_user_s_is_kept_aside(name: str) -> None:
    theirs = f'{V2}.{name}]\nruntime_type = \'mine\'\n[{V2[1:]}.{name}.options]\nnote = """\n[x]\n"""  # mine\n\n'
    main = SPARSE + theirs + "[grpc]\nuid = 0\n"
    for version in (ONE, TWO):
        node = Node(version, main, keep_aside=True)
        wanted = {name: QEMU}
        node.tables(wanted)
        assert {**node.handlers(MAIN), **node.handlers(DROP_IN)}[name] == QEMU
        assert tomllib.loads(node.files[MAIN] or "")["grpc"] == {"uid": 0}
        node.tables(wanted)
        assert node.plan.edits == ()
        node.run()
        assert node.files == {MAIN: main, DROP_IN: None}
        node.tables(wanted)
        node.files[MAIN] = (node.files[MAIN] or "") + "# since\n"
        node.run()
        assert node.files == {MAIN: main + "# since\n", DROP_IN: None}


@pytest.mark.parametrize(
    ("version", "main"),
    [
        (ONE, 'disabled_plugins = ["cri"]\n#root = "/var/lib/containerd"\n'),
        (TWO, 'disabled_plugins = ["cri"]\n#root = "/var/lib/containerd"\n'),
        (TWO, 'version = 2\ndisabled_plugins = ["x", "io.containerd.grpc.v1.cri", ]\n'),
        (TWO, "version = 3\ndisabled_plugins = [\n  'io.containerd.grpc.v1.cri', # no Kubernetes here\n]\n[grpc]\n"),
    ],
)
def test_a_disabled_cri(version: tuple[int, ...], main: str) -> None:
    with pytest.raises(Refusal, match="coco_enable_cri"):
        Node(version, main).run(qemu=QEMU)
    node = Node(version, main, enable_cri=True)
    node.run(qemu=QEMU)
    document = tomllib.loads(node.files[MAIN] or "")
    assert set(document["disabled_plugins"]) <= {"x"}
    assert node.run(qemu=QEMU) == []
    node.run()
    assert node.files == {MAIN: main, DROP_IN: None}
    node.run(qemu=QEMU)
    node.files[MAIN] = (node.files[MAIN] or "") + "# since\n"
    node.run()
    after = tomllib.loads(node.files[MAIN] or "")
    after.pop("version", None)
    before = tomllib.loads(main)
    before.pop("version", None)
    assert {**after, "disabled_plugins": sorted(after["disabled_plugins"])} == {
        **before,
        "disabled_plugins": sorted(before["disabled_plugins"]),
    }


@pytest.mark.parametrize("version", [(1, 4, 13), ONE, TWO, (2, 4, 2)])
@pytest.mark.parametrize("main", [None, "", "\n", "# nothing yet\n", "# nothing yet"])
def test_a_main_file_that_says_nothing(version: tuple[int, ...], main: str | None) -> None:
    node = Node(version, main)
    node.run(qemu=QEMU)
    document = tomllib.loads(node.files[MAIN] or "")
    assert document["version"] == (2 if version < (2, 0) else 3)
    assert {**node.handlers(MAIN), **node.handlers(DROP_IN)}["kata-qemu"] == QEMU
    assert node.run(qemu=QEMU) == []
    node.run()
    assert node.files == {MAIN: main, DROP_IN: None}


def test_a_file_without_version() -> None:
    main = "[plugins.cri]\ndisable_cgroup = true\n"
    for version in (ONE, (2, 3, 7)):
        node = Node(version, main)
        assert node.run(qemu=QEMU) == [MAIN]
        runtimes = tomllib.loads(node.files[MAIN] or "")["plugins"]["cri"]["containerd"]["runtimes"]
        assert set(runtimes) == ({"runc", "kata-qemu"} if version == ONE else {"kata-qemu"})
        node.run()
        assert node.files == {MAIN: main, DROP_IN: None}
    with pytest.raises(Refusal, match="config migrate"):
        Node(TWO, main).run(qemu=QEMU)


def test_a_cri_section_that_masks_the_main_file_s_on_1_x() -> None:
    """NVIDIA's toolkit writes such a drop-in."""
    nvidia = "/etc/containerd/conf.d/99-nvidia.toml"
    main = f"imports = ['/etc/containerd/conf.d/*.toml']\n{HUMAN}"
    masking = f"version = 2\n{V2}.nvidia]\nruntime_type = 'n'\n{V2}.runc]\nruntime_type = 'r'\n"
    node = Node(ONE, main)
    node.files[nvidia] = masking
    assert node.run(qemu=QEMU) == [nvidia]
    assert set(node.handlers(nvidia)) == {"nvidia", "runc", "kata-qemu"}
    assert tomllib.loads(node.plan.trial["config.toml"])["imports"] == [f"{TRIAL}/0.toml"]
    assert node.run(qemu=QEMU) == []
    node.run()
    assert node.files == {MAIN: main, DROP_IN: None, nvidia: masking}

    node = Node(ONE, main)
    node.files[nvidia] = masking.replace("version = 2\n", "")
    with pytest.raises(Refusal, match="same version"):
        node.run(qemu=QEMU)


@pytest.mark.parametrize("declared", ["version = 0\n", "version = 1\n"])
def test_version_0_is_that_of_files_without_one(declared: str) -> None:
    main = f"{declared}[plugins.cri]\ndisable_cgroup = true\n"
    for version in (ONE, (2, 3, 7)):
        node = Node(version, main)
        node.run(qemu=QEMU)
        assert "kata-qemu" in node.handlers(MAIN)
        node.run()
        assert node.files == {MAIN: main, DROP_IN: None}
    for text in (main, declared):
        with pytest.raises(Refusal, match="a file without version, or with version = 0 or 1"):
            Node(TWO, text).run(qemu=QEMU)


@pytest.mark.parametrize("version", ["true", "'2'", "2.0"])
def test_a_version_that_is_no_number(version: str) -> None:
    with pytest.raises(Refusal, match="a whole number as the version"):
        documents.schema_of(tomllib.loads(SPARSE.replace("version = 2", f"version = {version}")))


def test_relative_and_nested_imports_in_a_trial() -> None:
    node = Node(TWO, f"imports = ['more/*.toml']\n{THREE}")
    node.files["/etc/containerd/more/a.toml"] = "version = 3\nimports = ['../b.toml']\n"
    node.files["/etc/containerd/b.toml"] = "version = 3\n"
    node.run(qemu=QEMU)
    trial = {name: tomllib.loads(text) for name, text in node.plan.trial.items()}
    assert trial["config.toml"]["imports"] == [f"{TRIAL}/0.toml", f"{TRIAL}/1.toml", "/etc/containerd/b.toml"]
    assert trial["0.toml"] == {"version": 3, "imports": []}  # the main file imports what this one did
    assert "kata-qemu" in toml.lookup(trial["1.toml"], R3)


@pytest.mark.parametrize("back", ["../b.toml", "/etc/containerd/config.toml"])
def test_imports_that_lead_to_the_file_that_changes(back: str) -> None:
    node = Node(ONE, f"imports = ['more/*.toml']\n{HUMAN if 'config' in back else 'version = 2'}")
    node.files["/etc/containerd/more/a.toml"] = f"version = 2\nimports = ['{back}']\n"
    node.files["/etc/containerd/b.toml"] = HUMAN
    assert node.run(qemu=QEMU) == [MAIN if "config" in back else "/etc/containerd/b.toml"]
    imports = [tomllib.loads(text).get("imports", []) for text in node.plan.trial.values()]
    assert not [path for paths in imports for path in paths if not path.startswith(TRIAL)]


def test_tables_that_contradict_the_version() -> None:
    main = SPARSE.replace("version = 2\n", "")
    with pytest.raises(Refusal, match="no version, which means 1"):
        Node((2, 3, 7), main).run(qemu=QEMU)
    Node(ONE, main).run(qemu=QEMU)  # which ignores them


@pytest.mark.parametrize("imports", ["['gone.toml']", "['/etc/containerd/more/*.toml', '/etc/gone.toml']"])
def test_a_missing_import_that_the_next_restart_would_stop_at(imports: str) -> None:
    for version, main in ((ONE, SPARSE), (TWO, THREE)):
        with pytest.raises(Refusal, match=r"no /etc/(containerd/)?gone\.toml"):
            Node(version, f"imports = {imports}\n{main}").run(qemu=QEMU)


def test_our_import_that_the_user_wrote_stays_theirs() -> None:
    main = f"imports = [ '{GLOB}' ]\n{THREE}"
    node = Node(TWO, main)
    assert node.run(qemu=QEMU) == [DROP_IN]
    assert node.run() == [DROP_IN]
    assert node.files == {MAIN: main, DROP_IN: None}


def test_proxy_plugins() -> None:
    nydus = {"type": "snapshot", "address": "/run/nydus.sock"}
    for version, main in ((ONE, HUMAN), (TWO, THREE)):
        node = Node(version, main, proxies={"nydus": nydus})
        node.run(qemu={**QEMU, "snapshotter": "nydus"})
        written = tomllib.loads(node.files[DROP_IN] or node.files[MAIN] or "")
        assert written["proxy_plugins"] == {"nydus": nydus}
        platforms = written["plugins"].get("io.containerd.cri.v1.images", {}).get("runtime_platforms")
        assert platforms == (None if version == ONE else {"kata-qemu": {"snapshotter": "nydus"}})
        assert node.run(qemu={**QEMU, "snapshotter": "nydus"}) == []
        node.run(qemu=QEMU)
        assert "runtime_platforms" not in f"{node.files[MAIN]}{node.files[DROP_IN]}"
        node.run()
        assert node.files == {MAIN: main, DROP_IN: None}
        node.run(qemu={**QEMU, "snapshotter": "nydus"})
        node.files[MAIN] = (node.files[MAIN] or "") + "# since\n"
        node.run()
        assert node.files == {MAIN: main + "# since\n", DROP_IN: None}


def test_a_proxy_plugin_of_the_user_s() -> None:
    main = HUMAN + "\n[proxy_plugins.nydus]\ntype = 'snapshot'\naddress = '/x'\n"
    proxies = {"nydus": {"type": "snapshot", "address": "/y"}}
    with pytest.raises(Refusal, match="nydus"):
        Node(ONE, main, proxies=proxies).run(qemu=QEMU)
    node = Node(ONE, main, proxies=proxies, keep_aside=True)
    node.run(qemu=QEMU)
    node.run()
    assert node.files[MAIN] == main


def test_a_migrated_file() -> None:
    """containerd's upgrade with "config migrate": everything in one file of schema 3, our drop-in inlined and still there."""
    node = Node(TWO, HUMAN)
    node.run(qemu=QEMU)
    migrated = (
        f"version = 3\nimports = ['{GLOB}']\n{V3}.farm]\nruntime_type = 'x'\n{V3}.kata-qemu]\nruntime_type = 'y'\n"
    )
    node.files[MAIN] = migrated
    node.run(qemu=QEMU)
    assert "kata-qemu" not in node.handlers(MAIN)
    assert node.handlers(DROP_IN)["kata-qemu"] == QEMU
    node.files[MAIN] = migrated
    node.run()
    assert set(node.handlers(MAIN)) == {"farm"}
    assert node.files[DROP_IN] is None


def test_an_inline_table_is_refused() -> None:
    with pytest.raises(Refusal, match="have room for"):
        Node(ONE, "version = 2\nplugins = {}\n").run(qemu=QEMU)


# Copies of ours in files of others: tools write the whole merged configuration down.

NVIDIA = "/etc/containerd/conf.d/99-nvidia.toml"
#: What a dump spells out beside what a file has.
DEFAULTS: dict[tuple[int, ...], dict[str, t.Any]] = {
    ONE: {"base_runtime_spec": "", "cni_max_conf_num": 0, "pod_annotations": [], "sandbox_mode": ""},
    TWO: {"cgroup_writable": False, "io_type": "", "sandboxer": "podsandbox", "snapshotter": ""},
}


def tool_s_file(version: tuple[int, ...], handlers: dict[str, t.Any], platforms: dict[str, t.Any] | None = None) -> str:
    """Return what a tool writes that copies what the engine has, beside a handler of its own."""
    schema, table = (2, R2) if version < (2, 0) else (3, R3)
    tables: dict[toml.Header, dict[str, t.Any]] = {
        (*table, name): {**DEFAULTS[version], **values} for name, values in sorted(handlers.items())
    }
    tables.update(
        {(*schemas.PLATFORMS, name): {"platform": "", **values} for name, values in (platforms or {}).items()}
    )
    blocks = [f"version = {schema}\n"]
    for header, values in tables.items():
        options = values.get("options", {})
        indent, name = "  " * len(header), ".".join(f"'{part}'" for part in header)
        lines = [f"{indent}[{name}]"]
        lines += [f"{indent}  {key} = {json.dumps(value)}" for key, value in values.items() if key != "options"]
        lines += ["", f"{indent}  [{name}.options]"]
        lines += [f"{indent}    {key} = {json.dumps(value)}" for key, value in options.items()]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def after_a_tool(version: tuple[int, ...], main: str, **edits: t.Any) -> tuple[Node, Texts]:
    """Return a node on which a tool has copied our handlers, and what its files would be without us."""
    node = Node(version, main)
    node.run(qemu=QEMU, clh=CLH)
    theirs = {"nvidia": {"runtime_type": "n"}, "kata-own": {"runtime_type": "o"}, "runc": RUNC}
    ours = {"kata-qemu": {**QEMU, **edits}, "kata-clh": CLH}
    node.files[NVIDIA] = tool_s_file(version, {**theirs, **ours})
    node.files[MAIN] = toml.add_item(node.files[MAIN] or "", "imports", NVIDIA, MAIN)
    return node, {MAIN: with_nvidia(version, main), DROP_IN: None, NVIDIA: tool_s_file(version, theirs)}


def with_nvidia(version: tuple[int, ...], main: str) -> str:
    """Return a main file that imports what a tool wrote, as it is when ours goes that stood beside it."""
    text = toml.add_item(main, "imports", NVIDIA, MAIN)
    return text if version < (2, 0) else text.replace(f'"{NVIDIA}"', f"'{NVIDIA}'")


AFTER_A_TOOL = pytest.mark.parametrize(
    ("version", "main"),
    [
        pytest.param(ONE, HUMAN, id="1.7"),
        pytest.param(TWO, THREE, id="2.1"),
        pytest.param(ONE, SPARSE, id="1.7 sparse"),
    ],
)


@AFTER_A_TOOL
def test_copies_of_ours_in_a_file_of_others_go_with_ours(version: tuple[int, ...], main: str) -> None:
    node, without = after_a_tool(version, main)
    node.run()
    assert node.files == without
    assert node.plan.returned == ()


@AFTER_A_TOOL
def test_copies_of_ours_in_a_file_of_others_are_no_conflict(version: tuple[int, ...], main: str) -> None:
    node, without = after_a_tool(version, main)
    other = {**QEMU, "runtime_type": "io.containerd.other.v2"}
    node.run(qemu=other)
    configured = [node.handlers(path) for path in (MAIN, DROP_IN, NVIDIA)]
    assert [tables["kata-qemu"] for tables in configured if "kata-qemu" in tables] == [other]
    assert not [tables for tables in configured if "kata-clh" in tables]
    assert node.run(qemu=other) == []
    node.run()
    assert node.files == without


@AFTER_A_TOOL
def test_a_copy_that_is_none_any_more_is_named(version: tuple[int, ...], main: str) -> None:
    """Ours would go, their programs with them, and the engine would still serve the copy."""
    node, _without = after_a_tool(version, main, pod_annotations=["mine"])
    before = dict(node.files)
    with pytest.raises(Refusal, match=f"kata-qemu in {NVIDIA}, not as"):
        node.run()
    with pytest.raises(Refusal, match=f"kata-qemu in {NVIDIA}"):
        node.run(qemu=QEMU)
    with pytest.raises(Refusal, match=f"kata-qemu in {NVIDIA}, not as"):
        node.run(clh=CLH)
    assert node.files == before


@pytest.mark.parametrize("spelling", ["{0}.kata-qemu]\n{1}", "{0}]\nkata-qemu = {{ {2} }}\n"])
def test_a_copy_that_cannot_be_taken_out_is_named(spelling: str) -> None:
    node, _without = after_a_tool(TWO, THREE)
    values = [f"{key} = {json.dumps(value)}" for key, value in QEMU.items() if key != "options"]
    options = "options = { ConfigPath = '/x/configuration-qemu.toml' }"
    inline = spelling.format(V3, "\n".join([*values, options]), ", ".join([*values, options]))
    node.files[NVIDIA] = f"version = 3\n{inline}"
    if "{ runtime" in inline:
        with pytest.raises(Refusal, match=NVIDIA):
            node.run()
    else:
        node.run()
        assert node.files[NVIDIA] == "version = 3\n"


def test_copies_of_what_belongs_to_a_handler_go_too() -> None:
    nydus = {"type": "snapshot", "address": "/run/nydus.sock"}
    node = Node(TWO, THREE, proxies={"nydus": nydus})
    qemu = {**QEMU, "snapshotter": "nydus"}
    node.run(qemu=qemu)
    theirs = tool_s_file(TWO, {"nvidia": {"runtime_type": "n"}})
    node.files[MAIN] = toml.add_item(node.files[MAIN] or "", "imports", NVIDIA, MAIN)
    copied = tool_s_file(
        TWO, {"nvidia": {"runtime_type": "n"}, "kata-qemu": qemu}, {"kata-qemu": {"snapshotter": "nydus"}}
    )
    proxy = "\n[proxy_plugins]\n  [proxy_plugins.nydus]\n    type = 'snapshot'\n    address = '/run/nydus.sock'\n    exports = {}\n"
    node.files[NVIDIA] = copied + proxy
    node.run()
    assert (node.files[NVIDIA] or "").replace("\n[proxy_plugins]\n", "") == theirs
    assert node.files[MAIN] == with_nvidia(TWO, THREE)


@AFTER_A_TOOL
def test_a_copy_that_was_kept_aside_does_not_come_back(version: tuple[int, ...], main: str) -> None:
    """It was edited, and taken for the user's own; but without our files it is as dead."""
    node, _without = after_a_tool(version, main, pod_annotations=["mine"])
    node.allowed["keep_aside"] = True
    node.run(qemu=QEMU)
    for edit in ("", "# since\n"):
        node.files[NVIDIA] = (node.files[NVIDIA] or "") + edit
        with pytest.raises(Refusal, match=f"kata-qemu in {NVIDIA}, not as"):
            node.run()


def test_a_handler_of_the_user_s_that_comes_back_is_theirs() -> None:
    for version in (ONE, TWO):
        for edit in ("", "# since\n"):
            node = Node(
                version,
                SPARSE + f"{V2}.runc]\nruntime_type = 'r'\n{V2}.kata-qemu]\nruntime_type = 'mine'\n",
                keep_aside=True,
            )
            node.run(qemu=QEMU)
            node.files[MAIN] = (node.files[MAIN] or "") + edit
            node.run()
            assert node.plan.returned == ("kata-qemu",)
            assert node.handlers(MAIN)["kata-qemu"] == {"runtime_type": "mine"}


# What is refused before there is a payload.


def early(
    version: tuple[int, ...],
    files: Texts,
    names: t.Sequence[str] = (),
    overrides: t.Any = None,
    **wanted: t.Any,
) -> None:
    dump = Node(version, None).dump()
    found = Found(version, MAIN, {MAIN: None, DROP_IN: None, **files}, dump)
    handlers.refuse_early(PLANNER, found, Wanted(**wanted), names, {} if overrides is None else overrides)


def test_handlers_that_are_served_stay_until_more_is_known() -> None:
    """An edited copy of one is no reason to refuse an upgrade early: it would be if the handler went."""
    table = {"runtime_type": "io.containerd.kata-qemu.v2", "runtime_path": "/opt/kata/bin/shim"}
    drop_in = toml.add_tables("version = 2\n", {(*schemas.V2, "kata-qemu"): table}, DROP_IN)
    copy = toml.add_tables("version = 2\n", {(*schemas.V2, "kata-qemu"): {**table, "snapshotter": "nydus"}}, "copy")
    main = "version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n"
    files = {MAIN: main, DROP_IN: drop_in, "/etc/containerd/conf.d/99-nvidia.toml": copy}
    dump = main + copy.partition("\n")[2]
    found = Found(ONE, MAIN, files, dump, before={DROP_IN: None}, edited=[DROP_IN], ours={"kata-qemu": table})
    handlers.refuse_early(PLANNER, found, Wanted(keep_aside=True), [], {})


@pytest.mark.parametrize(
    ("version", "files", "names", "overrides", "says"),
    [
        pytest.param(ONE, {MAIN: HUMAN + "[plugins.broken\n"}, [], {}, "to be TOML", id="not TOML"),
        pytest.param(TWO, {MAIN: f"imports = ['/etc/gone.toml']\n{THREE}"}, [], {}, "no /etc/gone.toml", id="import"),
        pytest.param(TWO, {MAIN: "version = 3\ndisabled_plugins = ['cri']\n"}, [], {}, "CRI is enabled", id="CRI"),
        pytest.param(ONE, {MAIN: THREE}, [], {}, "version = 2 for containerd 1.7", id="schema"),
        pytest.param(ONE, {MAIN: "version = 2\nplugins = {}\n"}, [], {}, "have room for", id="inline tables"),
        pytest.param(ONE, {MAIN: HUMAN}, ["farm"], {}, "farm in /etc", id="a handler of the user's"),
        pytest.param(ONE, {MAIN: SPARSE}, ["runc"], {}, "runc", id="a handler of the engine's"),
        pytest.param(ONE, {MAIN: HUMAN}, [], {"farm": {"config_path": "/x"}}, "farm in /etc", id="an own handler"),
        pytest.param(ONE, {MAIN: HUMAN}, [], {"kata-qemu": {"runtime_tpye": "x"}}, "runtime_tpye", id="a key"),
        pytest.param(ONE, {MAIN: HUMAN}, [], {"kata-qemu": {"options": "x"}}, "options", id="a type"),
        pytest.param(ONE, {MAIN: HUMAN}, [], {"kata-qemu": "x"}, "a mapping in coco_handler_overrides.kata", id="no mapping"),
        pytest.param(ONE, {MAIN: HUMAN}, [], "x", "a mapping in coco_handler_overrides", id="text"),
    ],
)  # fmt: skip
def test_what_needs_no_payload_to_be_refused(
    version: tuple[int, ...], files: Texts, names: list[str], overrides: t.Any, says: str
) -> None:
    with pytest.raises(Refusal, match=says):
        early(version, files, names, overrides)


@pytest.mark.parametrize(
    ("names", "overrides"),
    [
        ([], {}),
        (["kata-qemu"], {}),
        ([], {"kata-qemu": {"pod_annotations": []}, "kata-tdx": {"sandboxer": "x"}, "kata-mine": {"config_path": "/x"}}),
        ([], {"kata-qemu": {"runtime_path": "/x", "options": {"A": 1}}}),
    ],
)  # fmt: skip
def test_what_may_be_right_with_some_payload(names: list[str], overrides: dict[str, t.Any]) -> None:
    """A key of containerd 2.x may be for a handler that other nodes run: known when there is a payload."""
    for version, main in ((ONE, HUMAN), (ONE, None), (TWO, THREE)):
        early(version, {MAIN: main}, names, overrides)


# Handlers' tables.

HANDLER = {
    "name": "kata-qemu",
    "shim": "qemu",
    "runtime_type": "io.containerd.kata-qemu.v2",
    "runtime_path": "/x/bin/containerd-shim-kata-v2",
    "config_path": "/x/configuration-qemu.toml",
    "privileged_without_host_devices": True,
    "pod_annotations": ["io.katacontainers.*"],
    "container_annotations": ["io.kubernetes.container.terminationMessage*"],
}
TABLE = {
    "runtime_type": "io.containerd.kata-qemu.v2",
    "runtime_path": "/x/bin/containerd-shim-kata-v2",
    "privileged_without_host_devices": True,
    "pod_annotations": ["io.katacontainers.*"],
    "container_annotations": ["io.kubernetes.container.terminationMessage*"],
    "options": {"ConfigPath": "/x/configuration-qemu.toml"},
}
WITHOUT_PATH = {key: value for key, value in TABLE.items() if key != "runtime_path"}


@pytest.mark.parametrize(
    ("version", "override", "table"),
    [
        pytest.param((1, 4, 13), {}, WITHOUT_PATH, id="1.4"),
        pytest.param((1, 6, 20), {}, WITHOUT_PATH, id="1.6.20"),
        pytest.param((1, 6, 21), {}, TABLE, id="1.6.21"),
        pytest.param((1, 7, 0), {}, WITHOUT_PATH, id="1.7.0"),
        pytest.param(ONE, {}, TABLE, id="1.7"),
        pytest.param(TWO, {}, TABLE, id="2.1"),
        pytest.param(ONE, {"runtime_type": "io.x.v2"}, {**TABLE, "runtime_type": "io.x.v2"}, id="type"),
        pytest.param(ONE, {"runtime_path": "/y"}, {**TABLE, "runtime_path": "/y"}, id="path"),
        pytest.param((1, 6, 20), {"runtime_path": "/y"}, WITHOUT_PATH, id="path where it goes into a link"),
        pytest.param(ONE, {"config_path": "/y"}, {**TABLE, "options": {"ConfigPath": "/y"}}, id="configuration"),
        pytest.param(
            ONE, {"options": {"A": 1}}, {**TABLE, "options": {"ConfigPath": "/x/configuration-qemu.toml", "A": 1}},
            id="options are merged",
        ),
        pytest.param(ONE, {"options": {"ConfigPath": "/z"}}, {**TABLE, "options": {"ConfigPath": "/z"}}, id="options win"),
        pytest.param(ONE, {"pod_annotations": []}, {**TABLE, "pod_annotations": []}, id="a list is replaced"),
        pytest.param(ONE, {"snapshotter": "nydus"}, {**TABLE, "snapshotter": "nydus"}, id="snapshotter on 1.7"),
        pytest.param(ONE, {"cni_conf_dir": "/y"}, {**TABLE, "cni_conf_dir": "/y"}, id="another key"),
        pytest.param(TWO, {"sandboxer": "shim"}, {**TABLE, "sandboxer": "shim"}, id="a key of 2.x"),
    ],
)  # fmt: skip
def test_handler_tables(version: tuple[int, ...], override: dict[str, t.Any], table: dict[str, t.Any]) -> None:
    assert PLANNER.tables([HANDLER], {"kata-qemu": override}, version) == {"kata-qemu": table}


@pytest.mark.parametrize(
    ("version", "overrides", "says"),
    [
        pytest.param(ONE, {"kata-qmeu": {}}, "kata-qmeu", id="unknown handler"),
        pytest.param(ONE, {"kata-qemu": {"runtime_tpye": "x"}}, "runtime_tpye", id="misspelt key"),
        pytest.param(ONE, {"kata-qemu": {"name": "x"}}, "name", id="the name"),
        pytest.param(ONE, {"kata-qemu": {"shim": "x"}}, "shim", id="the shim"),
        pytest.param(ONE, {"kata-qemu": {"sandboxer": "x"}}, "sandboxer", id="a key of 2.x on 1.7"),
        pytest.param((1, 6, 39), {"kata-qemu": {"snapshotter": "x"}}, "snapshotter", id="snapshotter on 1.6"),
        pytest.param(ONE, {"kata-qemu": None}, "kata-qemu", id="null for an override"),
        pytest.param(ONE, {"kata-qemu": "text"}, "kata-qemu", id="text for an override"),
        pytest.param(ONE, {"kata-qemu": ["runtime_type"]}, "kata-qemu", id="a list for an override"),
        pytest.param(ONE, {"kata-qemu": {"options": "text"}}, "options", id="text for options"),
        pytest.param(ONE, {"kata-qemu": {"options": None}}, "options", id="null for options"),
        pytest.param(ONE, {"kata-qemu": {"runtime_type": None}}, "runtime_type", id="null for a value"),
        pytest.param(ONE, {"kata-qemu": {"config_path": 7}}, "config_path", id="a number for a path"),
        pytest.param(ONE, {"kata-qemu": {"options": {"A": None}}}, "options", id="null for an option"),
    ],
)  # fmt: skip
def test_overrides_that_are_refused(version: tuple[int, ...], overrides: t.Any, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        PLANNER.tables([HANDLER], overrides, version)


@pytest.mark.parametrize(
    ("version", "override", "links"),
    [
        pytest.param(ver, {}, {"/usr/local/bin/containerd-shim-kata-qemu-v2": HANDLER["runtime_path"]}, id=str(ver))
        for ver in ((1, 4, 13), (1, 5, 18), (1, 6, 20), (1, 7, 0))
    ]
    + [pytest.param(ver, {}, {}, id=str(ver)) for ver in ((1, 6, 21), (1, 6, 39), (1, 7, 1), ONE, TWO)]
    + [
        pytest.param(
            (1, 6, 20), {"runtime_type": "io.x.mine.v2", "runtime_path": "/y"},
            {"/usr/local/bin/containerd-shim-mine-v2": "/y"}, id="overrides",
        )
    ],
)  # fmt: skip
def test_shim_links(version: tuple[int, ...], override: dict[str, t.Any], links: dict[str, t.Any]) -> None:
    assert PLANNER.links([HANDLER], {"kata-qemu": override}, version) == links


@pytest.mark.parametrize("runtime_type", ["mine", "", "/usr/bin/shim"])
def test_a_type_without_a_shim_s_name_is_refused(runtime_type: str) -> None:
    with pytest.raises(Refusal, match="runtime_type"):
        PLANNER.links([HANDLER], {"kata-qemu": {"runtime_type": runtime_type}}, (1, 6, 20))
