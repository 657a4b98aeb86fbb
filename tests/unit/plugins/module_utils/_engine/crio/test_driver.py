# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The driver of CRI-O, against a gRPC server of Google's that answers as CRI-O does."""

from __future__ import annotations

import contextlib
import http.server
import json
import socketserver
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, flavours, pods
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio import driver, dump, running
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.tests.unit.plugins.module_utils._engine.test_cri import (
    LISTED,
    READY,
    answer,
    engine,
    field,
)

SERVICE = "/runtime.v1.RuntimeService"


def crio(
    directory: Path, version: tuple[int, int, int] = (1, 34, 1), config: str = "", drop_ins: str = ""
) -> driver.Crio:
    address, root = str(directory / "s"), str(directory)
    made = Engine("crio", version, "crio.service", "/usr/bin/crio", config, address, True, root, drop_ins=drop_ins)
    return t.cast(driver.Crio, flavours.driver(made))


def test_served(tmp_path: Path) -> None:
    with engine(tmp_path / "s", {f"{SERVICE}/Status": lambda _request: answer(READY) + LISTED}):
        assert crio(tmp_path).served() == ["kata-qemu", "runc"]
    with pytest.raises(Refusal, match="crio status config"):
        crio(tmp_path).served()


def test_a_handler_that_was_left_out_does_not_come(tmp_path: Path) -> None:
    with engine(tmp_path / "s", {f"{SERVICE}/Status": lambda _request: answer(READY) + LISTED}):
        assert crio(tmp_path).serving(["kata-qemu"], 60) == ["kata-qemu", "runc"]
        began = time.monotonic()
        with pytest.raises(Refusal, match="no handler kata-clh served"):
            crio(tmp_path).serving(["kata-qemu", "kata-clh"], 60)
        assert time.monotonic() - began < 10


class Http(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An HTTP server on a socket with a path."""

    daemon_threads = True


def serve(address: Path, status: int, text: str) -> Http:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/config"
            self.send_response(status)
            self.send_header("Content-Type", "application/toml")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *words: t.Any) -> None:
            """Say nothing."""

    server = Http(str(address), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("status", "served"),
    [(200, ["crun"]), pytest.param(404, None, id="no such page"), pytest.param(0, None, id="down")],
)
def test_before_the_status_had_handlers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, served: list[str] | None
) -> None:
    """The two parts are on one socket in CRI-O. Here the CRI's part is left out."""
    monkeypatch.setattr(cri, "status", lambda address: cri.Status(True, ""))
    server = serve(tmp_path / "s", status, "[crio.runtime.runtimes.crun]\n") if status else None
    try:
        if served is None:
            with pytest.raises(cri.CriError):
                crio(tmp_path, (1, 28, 4)).status()
        else:
            assert crio(tmp_path, (1, 28, 4)).served() == served
    finally:
        if server:
            server.shutdown()
            server.server_close()


def sandbox(name: str, identifier: str, state: int = 0, handler: str = "") -> bytes:
    metadata = field(1, name) + field(3, "default")
    return field(
        1, field(1, identifier) + field(2, metadata) + field(3, state) + (field(7, handler) if handler else b"")
    )


def test_pods(tmp_path: Path) -> None:
    """The list has no handlers. The status has them, or the file from which the sandbox was made."""
    said = {
        "one": {"runtimeSpec": {"annotations": {"io.kubernetes.cri-o.RuntimeHandler": "kata-qemu"}}},
        "two": {"runtimeSpec": {"annotations": {"io.kubernetes.cri-o.RuntimeHandler": ""}}},
        "three": {"runtimeSpec": None},
        "four": {},
        "six": {"runtimeSpec": {"annotations": {"io.kubernetes.cri-o.RuntimeHandler": 7}}},
    }
    userdata = tmp_path / "overlay-containers" / "three" / "userdata"
    userdata.mkdir(parents=True)
    (userdata / "config.json").write_text('{"annotations": {"io.kubernetes.cri-o.RuntimeHandler": "kata-clh"}}')
    (tmp_path / "overlay-containers" / "four" / "userdata").mkdir(parents=True)
    (tmp_path / "overlay-containers" / "four" / "userdata" / "config.json").write_text("{")

    def status(request: bytes) -> bytes:
        name = request[2 : 2 + request[1]].decode()
        return field(1, field(1, name)) + field(2, field(1, "info") + field(2, json.dumps(said[name])))

    listed = b"".join(map(sandbox, said, said)) + sandbox("gone", "gone", state=1) + sandbox("five", "five", 0, "kata")
    methods = {f"{SERVICE}/ListPodSandbox": lambda _request: listed, f"{SERVICE}/PodSandboxStatus": status}
    with engine(tmp_path / "s", methods):
        found = crio(tmp_path).pods()
        assert {pod.name: pod.handler for pod in found} == {
            "one": "kata-qemu",
            "two": "",
            "three": "kata-clh",
            "four": "",
            "five": "kata",
            "six": "",
            "gone": "",
        }
        with pytest.raises(Refusal, match=r"default/one \(kata-qemu\)"):
            pods.refuse(crio(tmp_path), ["kata-qemu"], ignore=False)


@pytest.mark.parametrize("gone", [True, False])
def test_a_pod_that_goes_while_we_ask(tmp_path: Path, gone: bool) -> None:
    lists = iter([sandbox("one", "one"), b"" if gone else sandbox("one", "one")])

    def status(_request: bytes) -> bytes:
        raise ValueError("no such sandbox")

    methods = {f"{SERVICE}/ListPodSandbox": lambda _request: next(lists), f"{SERVICE}/PodSandboxStatus": status}
    with engine(tmp_path / "s", methods), contextlib.nullcontext() if gone else pytest.raises(Refusal):
        assert crio(tmp_path).pods() == []


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="to answer on"):
        crio(tmp_path).pods()
    with pytest.raises(cri.CriError):
        running.configuration(str(tmp_path / "s"))
    assert not crio(tmp_path).is_up()
    assert not crio(tmp_path).broken()
    assert crio(tmp_path).snapshotters() == []


def test_files_and_places(tmp_path: Path) -> None:
    own = "99-confidential-containers.conf"
    found = crio(tmp_path, config="/etc/crio/crio.conf")
    assert found.places() == ["/etc/crio/crio.conf", f"/etc/crio/crio.conf.d/{own}"]
    assert found.territory()[:2] == ["/etc/crio", "/etc/crio/crio.conf.d"]
    other = crio(tmp_path, config="/srv/my.conf", drop_ins="/srv/conf.d")
    assert other.places() == ["/srv/my.conf", f"/srv/conf.d/{own}"]
    assert other.territory() == ["/srv/my.conf", "/srv/conf.d"]
    place = flavours.FLAVOURS["crio"].place(found.facts("auto"))
    assert (place.mode, place.path) == ("drop_in", f"/etc/crio/crio.conf.d/{own}")


@pytest.mark.parametrize(
    ("drop_ins", "path", "waiting"),
    [
        ("", "/etc/crio/crio.conf.d/99", "/etc/crio"),
        ("", "/etc/crio/crio.conf.d/a/99", "/etc/crio"),
        ("/srv/conf.d", "/srv/conf.d/99", "/srv"),
        ("", "/etc/crio/crio.conf", "/etc/crio"),
    ],
)
def test_new_files_wait_where_nobody_reads_them(tmp_path: Path, drop_ins: str, path: str, waiting: str) -> None:
    assert flavours.waiting(crio(tmp_path, config="/etc/crio/crio.conf", drop_ins=drop_ins).engine, path) == waiting


def test_a_trial_has_its_own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, str]] = []
    monkeypatch.setattr(dump, "take", lambda engine, config, drop_ins: taken.append((config, drop_ins)))
    found = crio(tmp_path, config="/etc/crio/crio.conf", drop_ins="/srv/conf.d")
    found.configured()
    found.configured("/run/trial/config.toml")
    assert taken == [("/etc/crio/crio.conf", "/srv/conf.d"), ("/run/trial/config.toml", "/run/trial/crio.conf.d")]
