# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pulls by skopeo. A script stands in for it: it leaves what skopeo leaves, and writes down how it was called."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Access, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import pull
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.dump import Dump
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import places

IMAGE = "registry.example.com/coco/payload@sha256:" + "0" * 64
ENGINE = Engine("crio", (1, 34, 1), "no-such.service", "/usr/bin/crio", "/c", "/s", True)
NOBODY = Access()
INDEX, MANIFEST, LAYER = b'{"manifests": []}', b'{"layers": []}', b"a layer"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


SCRIPT = f"""#!/bin/sh
echo "$@" >> "$NODE/asked"
for word; do
  case "$word" in
    */auth.json|*/certificates) cp -rp "$word" "$NODE/";;
    dir:*) directory="${{word#dir:}}";;
  esac
done
if [ -f "$NODE/fail" ]; then cat "$NODE/fail" >&2; exit 1; fi
case "$*" in
  *inspect*) printf '%s' '{INDEX.decode()}';;
  *) mkdir "$directory"; cd "$directory"; echo "Directory Transport Version: 1.1" > version; : > signature-1
     printf '%s' '{MANIFEST.decode()}' > manifest.json; printf '%s' '{LAYER.decode()}' > {digest(LAYER)}; sleep 1;;
esac
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "STATE", str(tmp_path / "state"))
    monkeypatch.setattr(pull, "STORE", str(tmp_path / "state" / "pull"))
    monkeypatch.setenv("NODE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "skopeo").write_text(SCRIPT)
    (tmp_path / "bin" / "skopeo").chmod(0o755)
    return tmp_path


def registry(access: Access = NOBODY, dump: str = "") -> pull.Registry:
    return pull.Registry(ENGINE, Dump(dump), IMAGE, access)


def asked(node: Path) -> list[str]:
    return (node / "asked").read_text().splitlines()


def test_resolve(node: Path) -> None:
    assert registry().resolve() == f"sha256:{digest(INDEX)}"
    assert asked(node) == [f"inspect --raw docker://{IMAGE}"]


def test_pulled(node: Path) -> None:
    arrived: list[int] = []
    with registry().pulled("arm64", arrived.append) as store:
        blobs = Path(store, "blobs", "sha256")
        assert {path.name: path.read_bytes() for path in blobs.iterdir()} == {
            digest(data): data for data in (INDEX, MANIFEST, LAYER)
        }
        assert stat.S_IMODE(os.stat(node / "state").st_mode) == 0o700
    assert asked(node)[1:] == [
        f"--override-os linux --override-arch arm64 copy --quiet docker://{IMAGE} dir:{node}/state/pull/copied"
    ]
    assert arrived, "progress"
    assert not (node / "state").exists()


def test_a_state_that_was_there_stays(node: Path) -> None:
    (node / "state" / "pull" / "blobs").mkdir(parents=True)
    with registry().pulled("amd64", lambda size: None):
        pass
    assert os.listdir(node / "state") == []


def test_credentials(node: Path) -> None:
    registry(Access("me", "pass word", "-----BEGIN")).resolve()
    document = json.loads((node / "auth.json").read_text())
    assert document == {"auths": {"registry.example.com": {"auth": base64.b64encode(b"me:pass word").decode()}}}
    assert stat.S_IMODE(os.stat(node / "auth.json").st_mode) == 0o600
    assert (node / "certificates" / "ca.crt").read_text() == "-----BEGIN"
    words = asked(node)[0].split()
    assert "pass" not in words
    assert words[0] == "inspect"
    assert not os.path.exists(words[2]), "the files are gone"
    with registry(Access("me", "pass word")).pulled("amd64", lambda size: None):
        assert "copy --src-authfile" in asked(node)[2]


@pytest.mark.parametrize("there", [True, False])
def test_the_engines_own_credentials(node: Path, there: bool) -> None:
    if there:
        (node / "own.json").touch()
    registry(dump=f'[crio.image]\nglobal_auth_file = "{node}/own.json"\n').resolve()
    assert (f"--authfile {node}/own.json" in asked(node)[0]) is there


@pytest.mark.parametrize(
    ("said", "found", "remedy"),
    [
        (
            'time="x" level=fatal msg="Error parsing \\"a\\": reading manifest: unauthorized: pass word is wrong"',
            '"a": reading manifest: unauthorized: … is wrong',
            "coco_registry_auth",
        ),
        ('level=fatal msg="x509: certificate signed by unknown authority"', "unknown authority", "certs.d"),
        ('level=fatal msg="http: server gave HTTP response to HTTPS client"', "HTTP response", "registries.conf"),
        ('level=fatal msg="Source image rejected by policy"', "rejected", "policy.json"),
        ("something else", "something else", "the words of skopeo"),
        ("", "no answer", "the words of skopeo"),
    ],
)
def test_failures(node: Path, said: str, found: str, remedy: str) -> None:
    (node / "fail").write_text(said)
    with pytest.raises(Refusal) as refusal, registry(Access("me", "pass word")).pulled("amd64", lambda size: None):
        pass
    assert found in refusal.value.found
    assert remedy in refusal.value.remedy
    assert not (node / "state").exists()


def test_silence(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "_PATIENCE", 0.5)
    (node / "bin" / "skopeo").write_text("#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(Refusal, match="no byte for"):
        registry().resolve()


def test_no_skopeo(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "search_path", lambda: str(node / "none"))
    with pytest.raises(Refusal, match="oci-archive:PATH") as refusal:
        registry().resolve()
    assert "docker-daemon:NAME" in refusal.value.remedy


def test_clean(node: Path) -> None:
    (node / "state" / "pull" / "copied").mkdir(parents=True)
    pull.clean()
    pull.clean()
    assert os.listdir(node / "state") == []
