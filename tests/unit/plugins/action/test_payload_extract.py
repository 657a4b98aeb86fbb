# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the controller's half of payload_extract asks a node, and what it sends."""

from __future__ import annotations

import posixpath
import shlex
import shutil
import subprocess
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.confidential_containers.runtime.plugins.action import payload_extract
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import NodeFailed
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import looked
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Found
from ansible_collections.confidential_containers.runtime.tests.unit.archives import digest_of, file, tar

IMAGE = "registry.example.org/kata"
DIGEST = "sha256:" + "1" * 64
ENGINE = {
    "name": "containerd",
    "version": "2.1.0",
    "config": "/etc/containerd/config.toml",
    "unit": "containerd.service",
}
ABSENT = {"found": "absent", "changed": False, "architecture": "amd64", "capabilities": {"kvm": True}, "zstd": True}
STAGED = {"found": "staged", "changed": False, "recovered": ""}
RELEASE = [
    file("opt/kata/bin/containerd-shim-kata-v2", b"shim", 0o755),
    file("opt/kata/share/defaults/kata-containers/configuration-qemu.toml"),
]


class Action(payload_extract.ActionModule):
    """The action, with a node that answers what it is told to, one answer after the other; its files are here."""

    def __init__(
        self, tmp: Path, answers: t.Sequence[dict[str, t.Any]], check_mode: bool = False, **args: t.Any
    ) -> None:
        self._task: t.Any = SimpleNamespace(args=args, check_mode=check_mode, delegate_to=None)
        self._task_vars = {"inventory_hostname": "node-1"}
        shell = SimpleNamespace(tmpdir=f"{tmp}/ansible-tmp-1/", join_path=posixpath.join, quote=shlex.quote)
        self._connection: t.Any = SimpleNamespace(_shell=shell)
        self.answers = list(answers)
        self.asked: list[dict[str, t.Any]] = []
        #: What the node finds in an archive that it gets.
        self.got = b""

    def node(self, module: str, task_vars: dict[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        self.asked.append({"module": module, **options})
        if "archive" in options:
            self.got = Path(options["archive"]).read_bytes()
        return self.answers.pop(0)

    def watched(self, work: t.Callable[[], t.Any], *_how: t.Any) -> t.Any:
        return work()

    def _low_level_execute_command(
        self, cmd: str, sudoable: bool = True, *_how: t.Any, **_more: t.Any
    ) -> dict[str, t.Any]:
        assert not sudoable
        done = subprocess.run(cmd, shell=True, capture_output=True, text=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    def _transfer_file(self, local_path: str, remote_path: str) -> None:
        shutil.copyfile(local_path, remote_path)


Make = t.Callable[..., Action]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    tmp = tmp_path / "node"
    tmp.mkdir()
    monkeypatch.setattr(payload_extract, "_RUN_TMP", str(tmp_path))
    monkeypatch.setattr(looked, "remember", lambda *_what: None)
    return lambda *answers, **args: Action(tmp, answers, **args)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "kata.tar"
    path.write_bytes(tar(*RELEASE))
    return path


def test_a_tag_is_resolved_once_for_all_nodes(make: Make) -> None:
    args = {"payload": f"{IMAGE}:3", "registry_username": "robot"}
    first = make({"digest": DIGEST}, STAGED, **args)
    assert first.act({}) == STAGED
    assert [one["payload"] for one in first.asked] == [f"docker://{IMAGE}:3", f"docker://{IMAGE}:3@{DIGEST}"]
    assert {one["registry_username"] for one in first.asked} == {"robot"}
    second = make(STAGED, **args)
    second.act({})
    assert [one["payload"] for one in second.asked] == [f"docker://{IMAGE}:3@{DIGEST}"]


def test_certificates_are_read_here(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----")
    for given in (str(path), path.read_text()):
        action = make(STAGED, payload=f"{IMAGE}@{DIGEST}", registry_ca=given)
        action.act({})
        assert action.asked[0]["registry_ca"] == path.read_text()
    with pytest.raises(Refusal, match="coco_registry_ca"):
        make(payload=f"{IMAGE}@{DIGEST}", registry_ca="/nowhere").act({})


@pytest.mark.parametrize(
    ("payload", "on", "words"),
    [(f"{IMAGE}:3", "controller", "coco_payload_on=node"), ("docker-daemon:x:1", "node", "coco_payload_on=controller")],
)
def test_a_place_where_a_payload_cannot_be(make: Make, payload: str, on: str, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        make(payload=payload, payload_on=on).act({})


def test_the_node_gets_what_the_user_wrote(make: Make) -> None:
    """Paths on the node, and options that have a default there."""
    action = make(STAGED, payload="dir:/srv/kata", payload_on="node", prefix="~/kata", engine_config=None, keep="yes")
    action.act({})
    told = {
        "module": "payload_extract",
        "payload": "dir:/srv/kata",
        "payload_on": "node",
        "prefix": "~/kata",
        "keep": "yes",
    }
    assert action.asked == [told]


def early(monkeypatch: pytest.MonkeyPatch, refuse: bool = False) -> list[t.Any]:
    """Have what is refused early noted, or refused."""
    asked: list[t.Any] = []

    def refuse_early(planner: t.Any, found: t.Any, wanted: t.Any, names: t.Any, overrides: t.Any) -> None:
        asked.append((wanted, names, overrides))
        if refuse:
            raise Refusal("a configuration", "none", "Write one.")

    monkeypatch.setattr(payload_extract, "refuse_early", refuse_early)
    monkeypatch.setattr(Found, "read", lambda found: found)
    return asked


SERVE = {"overrides": {"kata-qemu": {"snapshotter": "nydus"}}, "conflicts": "keep_aside"}


def test_what_would_be_refused_later_is_refused_before_a_payload_is_read(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = early(monkeypatch, refuse=True)
    args = {"payload": "dir:/x", "payload_on": "node", "serve": SERVE, "handlers": "kata-qemu", "engine_unit": "x"}
    action = make({**ABSENT, "recovered": ""}, {"engine": ENGINE}, **args, enable_cri="yes")
    with pytest.raises(Refusal, match="Write one"):
        action.act({})
    [(wanted, names, overrides)] = asked
    assert (wanted.keep_aside, wanted.enable_cri, wanted.mode) == (True, True, "auto")
    assert (names, overrides) == (["kata-qemu"], SERVE["overrides"])
    assert [(one["module"], one.get("look")) for one in action.asked] == [
        ("payload_extract", True),
        ("engine_config", None),
    ]
    assert action.asked[1] == {"module": "engine_config", "state": "read", "engine_unit": "x"}


def test_nothing_is_asked_of_the_engine_for_a_payload_that_is_there(make: Make) -> None:
    action = make(STAGED, payload="dir:/x", payload_on="node", serve=SERVE)
    assert action.act({}) == STAGED
    assert len(action.asked) == 1


def test_a_payload_that_is_not_there_is_extracted_after_a_look(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    early(monkeypatch)
    answers = ({**ABSENT, "recovered": "rolled back"}, {"engine": ENGINE}, {"changed": True, "recovered": ""})
    action = make(*answers, payload="dir:/x", payload_on="node", serve=SERVE, require_engine=True)
    assert action.act({}) == {"changed": True, "recovered": "rolled back"}
    assert action.asked[2]["require_engine"] is False  # it was looked at just now
    assert not any("serve" in one for one in action.asked)


def test_what_a_node_lacks_is_sent_and_goes_again(make: Make, release: Path, tmp_path: Path) -> None:
    action = make(ABSENT, {"changed": True}, payload=f"tarball:{release}")
    assert action.act({}) == {"changed": True}
    asked, extracted = action.asked
    [identity] = asked["identities"]
    assert identity["digest"] == digest_of(release.read_bytes())
    assert "archive" not in asked
    assert extracted["identities"] == asked["identities"]
    assert action.got == release.read_bytes()
    assert not list((tmp_path / "node").iterdir())


def test_what_a_node_has_is_not_sent(make: Make, release: Path) -> None:
    action = make(STAGED, payload=f"tarball:{release}")
    assert action.act({}) == STAGED
    assert len(action.asked) == 1


def test_a_node_that_fails_keeps_nothing(make: Make, release: Path, tmp_path: Path) -> None:
    action = make(ABSENT, payload=f"tarball:{release}")
    with pytest.raises(IndexError):  # no answer
        action.act({})
    assert not list((tmp_path / "node").iterdir())


def test_check_mode_sends_nothing(make: Make, release: Path) -> None:
    result = make(ABSENT, payload=f"tarball:{release}", check_mode=True).act({})
    assert (result["found"], result["changed"]) == ("absent", True)
    assert [handler["name"] for handler in result["handlers"]] == ["kata-qemu"]
    assert "opt/kata" in result["prefix"]


def test_another_digest_than_expected_is_refused_before_anything_is_sent(make: Make, release: Path) -> None:
    with pytest.raises(Refusal, match="nothing of it was used"):
        make(ABSENT, payload=f"tarball:{release}", digest=DIGEST).act({})


def test_a_wrong_argument_asks_nothing_of_the_node(make: Make) -> None:
    action = make(payload="dir:/x", keep="perhaps")
    with pytest.raises(NodeFailed, match="keep"):
        action.act({})
    assert action.asked == []
