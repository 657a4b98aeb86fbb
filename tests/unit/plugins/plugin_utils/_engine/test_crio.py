# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The planner of CRI-O: files before, what is wanted, files after."""

from __future__ import annotations

import contextlib
import json
import tomllib
import typing as t
from dataclasses import replace

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import (
    Found,
    Plan,
    Texts,
    Wanted,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.crio.plan import Crio

PLANNER = Crio()
MAIN = "/etc/crio/crio.conf"
DIRECTORY = "/etc/crio/crio.conf.d"
OWN = f"{DIRECTORY}/99-confidential-containers.conf"
PACKAGED = f"{DIRECTORY}/10-crio.conf"
BACKUP = f"{DIRECTORY}/50-kata.conf.bak"
LATER = f"{DIRECTORY}/zz/last"
VERSION = (1, 34, 1)

CRUN = '[crio.runtime]\ndefault_runtime = "crun"\n\n[crio.runtime.runtimes.crun]\nruntime_path = "/usr/libexec/crio/crun"\n'
KATA = '[crio.runtime.runtimes.kata-qemu]\nruntime_path = "/usr/bin/theirs"\n'
HANDLER = {"runtime_type": "vm", "runtime_path": "/opt/kata/bin/containerd-shim-kata-v2"}
MARK = "# Runtime handlers of Confidential Containers: managed by Ansible (confidential_containers.runtime).\n"
OURS = f"""{MARK}[crio.runtime.runtimes.kata-qemu]
runtime_type = "vm"
runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
"""


def dump(texts: Texts) -> str:
    """Print the handlers as CRI-O would: those of its files, and its own two."""
    found: dict[str, t.Any] = {"crun": {}, "runc": {}}
    for path in sorted(texts):
        with contextlib.suppress(ValueError):
            document = tomllib.loads((texts[path] or "").removeprefix("\ufeff"))
            found.update(document.get("crio", {}).get("runtime", {}).get("runtimes", {}))
    return "".join(
        f"[crio.runtime.runtimes.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in found.items()
    )


class Node:
    """A node's files, and what a receipt remembers of our edits."""

    def __init__(self, files: Texts, **allowed: t.Any) -> None:
        self.files: dict[str, str | None] = {MAIN: None, OWN: None, **files}
        self.edits: dict[str, tuple[str | None, str | None]] = {}
        self.ours: dict[str, t.Any] = {}
        self.version: tuple[int, ...] = allowed.pop("version", VERSION)
        self.allowed = allowed
        self.plan = Plan(())

    def found(self) -> Found:
        return Found(
            self.version,
            MAIN,
            dict(self.files),
            dump(self.files),
            before={path: edit[0] for path, edit in self.edits.items() if self.files[path] == edit[1]},
            edited=list(self.edits),
            ours=self.ours,
            flavour="crio",
        )

    def serve(self, *names: str) -> list[str]:
        """Bring the node to these handlers. Return the paths that were edited, in order."""
        tables = dict.fromkeys(names, HANDLER)
        self.plan = PLANNER.plan(self.found(), Wanted(tables, **(self.allowed if names else {})), "/run/trial")
        for edit in self.plan.edits:
            assert edit.now == self.files[edit.path]
            self.files[edit.path] = edit.wanted
            self.edits.pop(edit.path, None)
            if edit.wanted != edit.without:
                self.edits[edit.path] = (edit.without, edit.wanted)
        self.ours = tables
        return [edit.path for edit in self.plan.edits]

    def there(self) -> dict[str, str]:
        return {path: text for path, text in self.files.items() if text is not None}


CASES = pytest.mark.parametrize(
    ("before", "allowed", "after"),
    [
        pytest.param({}, {}, {OWN: OURS}, id="no file at all"),
        pytest.param({PACKAGED: CRUN}, {}, {PACKAGED: CRUN, OWN: OURS}, id="packaged"),
        pytest.param({MAIN: CRUN}, {}, {MAIN: CRUN, OWN: OURS}, id="a main file"),
        pytest.param({MAIN: "", PACKAGED: "\ufeff" + CRUN}, {}, {MAIN: "", PACKAGED: "\ufeff" + CRUN, OWN: OURS}, id="empty and BOM"),
        pytest.param(
            {OWN: "# mine\n"},
            {},
            {OWN: "# mine\n\n" + OURS},
            id="a file of the admin's in our place",
        ),
        pytest.param(
            {BACKUP: CRUN + "\n" + KATA},
            {"keep_aside": True},
            {BACKUP: CRUN + "\n" + "".join(f"#aside# {line}" for line in KATA.splitlines(keepends=True)), OWN: OURS},
            id="a handler kept aside",
        ),
    ],
)  # fmt: skip


@CASES
def test_install_again_and_away(before: Texts, allowed: dict[str, t.Any], after: dict[str, str]) -> None:
    node = Node(before, **allowed)
    node.serve("kata-qemu")
    assert node.there() == after
    assert node.plan.mode == "drop_in"
    assert node.serve("kata-qemu") == [], "again"
    node.serve()
    assert node.there() == {path: text for path, text in before.items() if text is not None}, "byte-identical"
    assert node.plan.mode == ""
    assert node.serve() == [], "again"


@CASES
def test_handlers_come_and_go(before: Texts, allowed: dict[str, t.Any], after: dict[str, str]) -> None:
    node = Node(before, **allowed)
    node.serve("kata-qemu", "kata-clh")
    assert set(tomllib.loads(node.there()[OWN])["crio"]["runtime"]["runtimes"]) == {"kata-qemu", "kata-clh"}
    node.serve("kata-qemu")
    assert node.there() == after


def test_an_admins_edits_stay() -> None:
    node = Node({PACKAGED: CRUN})
    node.serve("kata-qemu")
    node.files[OWN] = OURS + "\n[crio.image]\npause_image = 'mine'\n"
    assert node.serve() == [OWN]
    assert tomllib.loads(node.there()[OWN]) == {"crio": {"image": {"pause_image": "mine"}}}
    node = Node({})
    node.serve("kata-qemu")
    node.files[OWN] = OURS.replace("/opt/kata", "/opt/other")
    node.serve()
    assert node.there() == {}, "nothing is left in it"


def test_a_handler_that_comes_back() -> None:
    node = Node({BACKUP: KATA}, keep_aside=True)
    node.serve("kata-qemu", "kata-clh")
    assert not node.plan.returned
    node.files[BACKUP] = (node.files[BACKUP] or "") + "# edited\n"
    node.serve()
    assert node.plan.returned == ("kata-qemu",)
    assert node.there() == {BACKUP: KATA + "# edited\n"}


def test_the_trial_has_every_file_in_its_order() -> None:
    node = Node({MAIN: "# main\n", PACKAGED: CRUN, LATER: "[crio]\n", f"{DIRECTORY}/.hidden": ""})
    node.serve("kata-qemu")
    assert node.plan.trial == {
        "config.toml": "# main\n",
        "crio.conf.d/.hidden": "",
        "crio.conf.d/10-crio.conf": CRUN,
        "crio.conf.d/99-confidential-containers.conf": OURS,
        "crio.conf.d/zz/last": "[crio]\n",
    }
    node.serve()
    assert "crio.conf.d/99-confidential-containers.conf" not in node.plan.trial


def test_another_directory_of_drop_ins() -> None:
    """What lies in a directory that CRI-O does not read now stands in nobody's way, and ours are taken out of it."""
    node = Node({PACKAGED: CRUN})
    node.serve("kata-qemu")
    found = replace(node.found(), drop_ins="/etc/other", files={**node.files, "/etc/other/1": CRUN})
    plan = PLANNER.plan(found, Wanted({"kata-qemu": HANDLER}), "/run/trial")
    assert [(edit.path, edit.wanted) for edit in plan.edits] == [
        (OWN, None),
        ("/etc/other/99-confidential-containers.conf", OURS),
    ]
    assert list(plan.trial) == ["config.toml", "crio.conf.d/1", "crio.conf.d/99-confidential-containers.conf"]


@pytest.mark.parametrize(
    ("before", "allowed", "words"),
    [
        pytest.param({BACKUP: KATA}, {}, f"kata-qemu in {BACKUP}", id="a backup with our handler"),
        pytest.param({LATER: KATA}, {}, f"kata-qemu in {LATER}", id="a later file"),
        pytest.param({MAIN: KATA}, {}, f"kata-qemu in {MAIN}", id="the main file"),
        pytest.param({}, {"mode": "in_place"}, "auto or drop_in for CRI-O 1.34.1", id="in place"),
        pytest.param({}, {"version": (1, 27, 9)}, "CRI-O 1.28 or newer", id="too old"),
        pytest.param({}, {"proxies": {"nydus": {}}}, "coco_proxy_plugins", id="proxy plugins"),
        pytest.param({BACKUP: "= secret"}, {}, f"{BACKUP} to be TOML", id="broken"),
    ],
)
def test_refused(before: Texts, allowed: dict[str, t.Any], words: str) -> None:
    with pytest.raises(Refusal) as refusal:
        Node(before, **allowed).serve("kata-qemu")
    assert words in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_the_engines_own_names() -> None:
    with pytest.raises(Refusal, match=r"other names than the engine's own.*crun"):
        Node({}).serve("crun")


def test_ours_in_a_file_of_others() -> None:
    node = Node({})
    node.serve("kata-qemu")
    node.files[BACKUP] = OURS
    with pytest.raises(Refusal, match=f"kata-qemu in {BACKUP}"):
        node.serve()


OFFERED = {
    "name": "kata-qemu",
    "shim": "qemu",
    "runtime_type": "io.containerd.kata-qemu.v2",
    "runtime_path": "/opt/kata/bin/containerd-shim-kata-v2",
    "config_path": "/opt/kata/qemu.toml",
    "privileged_without_host_devices": True,
    "pod_annotations": ["io.katacontainers.*"],
    "container_annotations": ["io.kubernetes.container.terminationMessage*"],
    "links": {"/usr/bin/a": "/opt/b"},
}
TABLE = {
    "runtime_type": "vm",
    "runtime_path": "/opt/kata/bin/containerd-shim-kata-v2",
    "runtime_config_path": "/opt/kata/qemu.toml",
    "runtime_root": "/run/vc",
    "privileged_without_host_devices": True,
}


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        pytest.param({}, {}, id="as offered"),
        pytest.param({"runtime_pull_image": True}, {"runtime_pull_image": True}, id="guest pull"),
        pytest.param({"config_path": "/x.toml"}, {"runtime_config_path": "/x.toml"}, id="configuration"),
        pytest.param({"runtime_path": "/x/containerd-shim-a+B-9"}, {"runtime_path": "/x/containerd-shim-a+B-9"}, id="shim"),
        pytest.param({"privileged_without_host_devices": False}, {"privileged_without_host_devices": False}, id="privileged"),
        pytest.param({"runtime_root": "/run/x"}, {"runtime_root": "/run/x"}, id="root"),
        pytest.param({"runtime_type": "vm"}, {}, id="the type that it has anyway"),
        pytest.param({"pod_annotations": ["io.katacontainers.*"]}, {}, id="Kata's annotations need no permission"),
        pytest.param(
            {"pod_annotations": ["io.kubernetes.cri-o.Devices"], "allowed_annotations": ["io.kubernetes.cri-o.ShmSize"]},
            {"allowed_annotations": ["io.kubernetes.cri-o.ShmSize", "io.kubernetes.cri-o.Devices"]},
            id="CRI-O's annotations",
        ),
    ],
)  # fmt: skip
def test_tables(override: dict[str, t.Any], changed: dict[str, t.Any]) -> None:
    assert PLANNER.tables([OFFERED], {"kata-qemu": override}, VERSION) == {"kata-qemu": {**TABLE, **changed}}


@pytest.mark.parametrize(
    ("override", "version", "words"),
    [
        ({"snapshotter": "nydus"}, VERSION, "runtime_pull_image"),
        ({"options": {"x": 1}}, VERSION, "config_path"),
        ({"sandboxer": "shim"}, VERSION, "keys that CRI-O 1.34.1 acts on"),
        ({"runtime_pull_image": True}, (1, 28, 4), "which CRI-O has since 1.29"),
        ({"container_create_timeout": 600}, VERSION, "which CRI-O has since 1.35"),
        ({"container_create_timeout": 5}, (1, 35, 0), "at least 30"),
        ({"container_create_timeout": "1m"}, (1, 35, 0), "at least 30"),
        ({"runtime_type": "io.containerd.kata.v2"}, VERSION, "vm as the runtime_type"),
        ({"runtime_path": "/usr/bin/kata-runtime"}, VERSION, "containerd-shim-NAME"),
        ({"runtime_path": "/usr/bin/containerd-shim-kata_v2"}, VERSION, "containerd-shim-NAME"),
        ({"pod_annotations": ["io.kubernetes.*"]}, VERSION, "CRI-O knows no patterns"),
    ],
)
def test_refused_overrides(override: dict[str, t.Any], version: tuple[int, ...], words: str) -> None:
    with pytest.raises(Refusal) as refusal:
        PLANNER.tables([OFFERED], {"kata-qemu": override}, version)
    assert words in str(refusal.value)


def test_a_handler_of_the_users_own_and_links() -> None:
    tables = PLANNER.tables([OFFERED], {"mine": {"config_path": "/mine.toml"}}, VERSION)
    assert tables["mine"] == {**TABLE, "runtime_config_path": "/mine.toml"}
    assert PLANNER.links([OFFERED], {}, VERSION) == {"/usr/bin/a": "/opt/b"}


def test_served() -> None:
    assert PLANNER.served(dump({})) == ["crun", "runc"]
