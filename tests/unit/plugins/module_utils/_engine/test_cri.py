# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few CRI calls that are made: against a gRPC server of Google's, and against one that misbehaves."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import typing as t
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri


def varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    """Encode one field of a protobuf message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def condition(name: str, status: bool, reason: str = "", message: str = "") -> bytes:
    return field(1, field(1, name) + (field(2, 1) if status else b"") + field(3, reason) + field(4, message))


def answer(*conditions: bytes, config: t.Any = None, raw: str = "") -> bytes:
    info = field(2, field(1, "golang") + field(2, '"go1.24"'))
    if config is not None or raw:
        info += field(2, field(1, "config") + field(2, raw or json.dumps(config)))
    return field(1, b"".join(conditions)) + info


def pod(name: str, handler: str = "", state: int = 0) -> bytes:
    metadata = field(1, name) + field(2, "uid") + field(3, "default") + field(4, 1)
    return field(
        1,
        field(1, "id")
        + field(2, metadata)
        + (field(3, state) if state else b"")
        + field(4, 1_700_000_000_000_000_000)
        + field(5, field(1, "label") + field(2, "value"))
        + (field(7, handler) if handler else b""),
    )


Method = t.Callable[[bytes], bytes]


@contextlib.contextmanager
def engine(address: Path, methods: t.Mapping[str, Method]) -> t.Iterator[str]:
    """Serve methods (full path → bytes in, bytes out) with a real gRPC server."""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.max_send_message_length", -1)])

    for path, method in methods.items():
        service, name = path.strip("/").split("/")
        handler = grpc.unary_unary_rpc_method_handler(lambda request, _context, method=method: method(request))
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    server.add_insecure_port(f"unix:{address}")
    server.start()
    try:
        yield str(address)
    finally:
        server.stop(None).wait()


@pytest.fixture
def address(tmp_path: Path) -> Path:
    return tmp_path / "cri.sock"


READY, DOWN = condition("RuntimeReady", True), condition("RuntimeReady", False, "Down", "shim is missing")
NETWORK = condition("NetworkReady", False, "NetworkPluginNotReady", "cni plugin not initialized")
#: The handlers as CRI-O lists them, the default one a second time without a name.
LISTED = b"".join(field(3, field(1, name) + field(2, field(2, 1))) for name in ("runc", "", "kata-qemu"))
RUNTIMES: dict[str, t.Any] = {"containerd": {"runtimes": {"runc": {}, "kata-qemu": {}}}}


@pytest.mark.parametrize("version", ["v1", "v1alpha2"])
@pytest.mark.parametrize(
    ("said", "status"),
    [
        pytest.param(answer(READY, NETWORK, config=RUNTIMES), cri.Status(True, "", ("kata-qemu", "runc")), id="ready"),
        pytest.param(answer(NETWORK, DOWN, config=RUNTIMES), cri.Status(False, "shim is missing", ("kata-qemu", "runc")), id="not ready"),
        pytest.param(answer(NETWORK), cri.Status(False, "the engine reports no RuntimeReady condition"), id="no word of it"),
        pytest.param(answer(READY), cri.Status(True, ""), id="no configuration"),
        pytest.param(answer(READY, config={"sandboxImage": "x"}) + LISTED, cri.Status(True, "", ("kata-qemu", "runc")), id="a list of handlers"),
        pytest.param(answer(READY, config={"containerd": {"runtimes": None}}), cri.Status(True, ""), id="no runtimes"),
        pytest.param(answer(condition("RuntimeReady", False, "Reason")), cri.Status(False, "Reason"), id="a reason only"),
        pytest.param(b"", cri.Status(False, "the engine reports no RuntimeReady condition"), id="nothing"),
    ],
)  # fmt: skip
def test_status(address: Path, version: str, said: bytes, status: cri.Status) -> None:
    asked: list[bytes] = []

    def method(request: bytes) -> bytes:
        asked.append(request)
        return said

    with engine(address, {f"/runtime.{version}.RuntimeService/Status": method}) as socket_path:
        assert cri.status(socket_path) == status
    assert asked == [field(1, 1)], "verbose"


def test_a_long_answer(address: Path) -> None:
    runtimes = {"containerd": {"runtimes": {f"handler-{number}": {"x": "y" * 100_000} for number in range(50)}}}
    said = answer(READY, config=runtimes)
    with engine(address, {"/runtime.v1.RuntimeService/Status": lambda _request: said}) as socket_path:
        assert len(cri.status(socket_path).handlers) == 50


def test_sandboxes(address: Path) -> None:
    said = pod("a", "kata-qemu") + pod("b") + pod("c", "kata-qemu", state=1)
    with engine(address, {"/runtime.v1.RuntimeService/ListPodSandbox": lambda _request: said}) as socket_path:
        assert cri.sandboxes(socket_path) == [
            cri.Sandbox("a", "default", "kata-qemu", ready=True),
            cri.Sandbox("b", "default", "", ready=True),
            cri.Sandbox("c", "default", "kata-qemu", ready=False),
        ]
    with engine(address, {"/runtime.v1.RuntimeService/ListPodSandbox": lambda _request: b""}) as socket_path:
        assert cri.sandboxes(socket_path) == []


def test_information_about_a_sandbox(address: Path) -> None:
    asked: list[bytes] = []

    def method(request: bytes) -> bytes:
        asked.append(request)
        return field(1, field(1, "id")) + field(2, field(1, "info") + field(2, '{"x": 1}'))

    with engine(address, {"/runtime.v1.RuntimeService/PodSandboxStatus": method}) as socket_path:
        assert cri.sandbox_information(socket_path, "f" * 64) == {"info": '{"x": 1}'}
    assert asked == [field(1, "f" * 64) + field(2, 1)], "verbose"


def fail(_request: bytes) -> bytes:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    "methods",
    [
        pytest.param({}, id="no such service"),
        pytest.param({"/runtime.v1.RuntimeService/Status": fail, "/runtime.v1alpha2.RuntimeService/Status": fail}, id="an error"),
        pytest.param({"/runtime.v1.RuntimeService/Status": lambda _: answer(READY, raw="{")}, id="broken JSON"),
        pytest.param({"/runtime.v1.RuntimeService/Status": lambda _: answer(READY, raw="[]")}, id="JSON of another shape"),
        pytest.param({"/runtime.v1.RuntimeService/Status": lambda _: answer(READY, raw='{"containerd": null}')}, id="null"),
        pytest.param({"/runtime.v1.RuntimeService/Status": lambda _: b"\x0b"}, id="no protobuf"),
        pytest.param({"/runtime.v1.RuntimeService/Status": lambda _: b"\x0a"}, id="half a field"),
    ],
)  # fmt: skip
def test_an_engine_that_answers_nonsense(address: Path, methods: t.Mapping[str, Method]) -> None:
    with engine(address, methods) as socket_path, pytest.raises(cri.CriError):
        status = cri.status(socket_path)
        if status == cri.Status(True, ""):  # null may count as no configuration
            raise cri.CriError("no configuration")


def test_no_engine(address: Path) -> None:
    with pytest.raises(cri.CriError, match=str(address)):
        cri.status(str(address))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


MESSAGE = struct.pack(">BI", 0, len(answer(READY))) + answer(READY)


@contextlib.contextmanager
def peer(address: Path, *said: bytes, stay: bool = False) -> t.Iterator[list[bytes]]:
    """Accept connections and say prepared bytes, whatever is asked; yields what was heard."""
    heard: list[bytes] = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(address))
        server.listen()

        def serve() -> None:
            for words in said:
                with contextlib.suppress(OSError):
                    connection, _peer = server.accept()
                    with connection:
                        heard.append(connection.recv(65536))
                        connection.sendall(words)
                        if stay:
                            done.wait(5)
                        connection.shutdown(socket.SHUT_WR)
                        while words := connection.recv(65536):
                            heard[-1] += words

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            done.set()
            thread.join(1)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(frame(0, 1, 1, MESSAGE), id="at once"),
        pytest.param(frame(0, 0, 1, MESSAGE[:3]) + frame(0, 0, 1, MESSAGE[3:]) + frame(1, 5, 1, b"x"), id="in pieces"),
        pytest.param(frame(0, 0x9, 1, bytes([3]) + MESSAGE + bytes(3)), id="padded"),
        pytest.param(frame(4, 0, 0, b"") + frame(6, 0, 0, b"01234567") + frame(0, 1, 1, MESSAGE), id="with a ping"),
        pytest.param(frame(0, 1, 3, b"of another stream") + frame(0, 1, 1, MESSAGE), id="with another stream"),
        pytest.param(frame(99, 0, 0, b"x") + frame(0, 1, 1, MESSAGE), id="with an unknown frame"),
    ],
)
def test_frames(address: Path, said: bytes) -> None:
    with peer(address, said) as heard:
        assert cri.status(str(address)).ready
    assert heard[0].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"/runtime.v1.RuntimeService/Status" in heard[0]


def test_a_ping_is_answered(address: Path) -> None:
    with peer(address, frame(6, 0, 0, b"01234567") + frame(4, 0, 0, b"") + frame(0, 1, 1, MESSAGE)) as heard:
        assert cri.status(str(address)).ready
    assert frame(6, 1, 0, b"01234567") in heard[0]
    assert frame(4, 1, 0, b"") in heard[0]


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP/1"),
        pytest.param(frame(0, 1, 1, MESSAGE)[:-5], id="the connection ends"),
        pytest.param(frame(0, 1, 1, MESSAGE[:-5]), id="the message ends"),
        pytest.param(frame(0, 1, 1, b""), id="no message"),
        pytest.param(frame(1, 5, 1, b"x"), id="headers only"),
        pytest.param(frame(3, 0, 1, bytes(4)), id="reset"),
        pytest.param(frame(7, 0, 0, bytes(8)), id="go away"),
    ],
)
def test_frames_that_are_no_answer(address: Path, said: bytes) -> None:
    with peer(address, said, said), pytest.raises(cri.CriError, match=str(address)):
        cri.status(str(address))


def test_an_engine_that_does_not_answer(address: Path) -> None:
    with peer(address, b"", stay=True), pytest.raises(cri.CriError, match="timed out"):
        cri.status(str(address), timeout=0.2)
