# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A client for the CRI: unary calls over the engine's socket, with nothing but the standard library.

Nodes have no gRPC library and often no crictl. A unary call needs very little of HTTP/2 (RFC 9113) and of gRPC: one
stream, literal header fields, windows large enough for any answer. The same calls work on containerd 1.4 (which
speaks only ``v1alpha2``) up to 2.x and on CRI-O. Field numbers: kubernetes/cri-api, ``api.proto``; v1 and v1alpha2 agree.
"""

from __future__ import annotations

import json
import socket
import struct
import typing as t
from dataclasses import dataclass, field

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 0x1, 0x1, 0x4, 0x8
_WINDOW = (1 << 31) - 1
_INITIAL_WINDOW_SETTING = 4
_LARGEST_ANSWER = 64 << 20

#: Versions of the API, newest first.
_VERSIONS = ("v1", "v1alpha2")

Answer = t.TypeVar("Answer")
Message = t.Dict[int, t.List[t.Union[int, bytes]]]


class CriError(ConnectionError):
    """The engine's CRI did not answer a call. An OSError, so code that undoes a change on an OSError undoes it on this, too."""


@dataclass(frozen=True)
class Sandbox:
    """A pod sandbox as the engine knows it."""

    name: str
    namespace: str
    handler: str
    ready: bool
    id: str = field(default="", compare=False)


@dataclass(frozen=True)
class Status:
    """The engine's view of itself: is the runtime ready, and which handlers does it serve?"""

    ready: bool
    reason: str
    handlers: tuple[str, ...] = field(default=())


def status(address: str, timeout: float = 5.0) -> Status:
    """Ask for the runtime's status and for the handlers that the running engine was configured with."""
    return _call(address, "Status", b"\x08\x01", timeout, _read_status)


def sandboxes(address: str, timeout: float = 10.0) -> list[Sandbox]:
    """List the pod sandboxes, stopped ones included."""
    return _call(address, "ListPodSandbox", b"", timeout, _read_sandboxes)


def sandbox_information(address: str, sandbox: str, timeout: float = 10.0) -> dict[str, str]:
    """Return what an engine says of a sandbox beyond what the CRI knows, by name: mostly JSON."""
    request = b"\x0a" + bytes([len(sandbox)]) + sandbox.encode() + b"\x10\x01"
    return _call(address, "PodSandboxStatus", request, timeout, _read_information)


def _read_information(answer: Message) -> dict[str, str]:
    return {_text(entry, 1): _text(entry, 2) for entry in map(_decode, _messages(answer, 2))}


def _read_status(answer: Message) -> Status:
    ready, reason = False, "the engine reports no RuntimeReady condition"
    for condition in (_decode(raw) for part in _messages(answer, 1) for raw in _messages(_decode(part), 1)):
        if _text(condition, 1) == "RuntimeReady":
            ready = bool(condition.get(2, [0])[0])
            reason = _text(condition, 4) or _text(condition, 3)
    runtimes = json.loads(_read_information(answer).get("config", "{}")).get("containerd", {}).get("runtimes") or {}
    # The default handler has an entry without a name, too.
    listed = {_text(handler, 1) for handler in map(_decode, _messages(answer, 3))} - {""}
    return Status(ready, reason, tuple(sorted(runtimes or listed)))


def _read_sandboxes(answer: Message) -> list[Sandbox]:
    found = []
    for sandbox in map(_decode, _messages(answer, 1)):
        metadata = _decode(_messages(sandbox, 2)[0]) if sandbox.get(2) else {}
        # State 0 (ready) is proto3's default, and proto3 leaves out a field with the default.
        ready = not sandbox.get(3, [0])[0]
        found.append(Sandbox(_text(metadata, 1), _text(metadata, 3), _text(sandbox, 7), ready, _text(sandbox, 1)))
    return found


def _call(address: str, method: str, request: bytes, timeout: float, read: t.Callable[[Message], Answer]) -> Answer:
    problem = CriError(f"{address}: no answer")
    for version in _VERSIONS:
        try:
            return read(_decode(_unary(address, f"/runtime.{version}.RuntimeService/{method}", request, timeout)))
        except _NoMessage as error:
            problem = CriError(f"{address}: {error}")
        except OSError as error:
            raise CriError(f"{address}: {error.strerror or error}") from error
        except (ValueError, AttributeError, TypeError, IndexError) as error:
            raise CriError(f"{address}: an answer that does not follow its specification ({error})") from error
    raise problem


class _NoMessage(Exception):
    """The stream ended without a message, which is how gRPC answers with an error."""


def _unary(address: str, path: str, request: bytes, timeout: float) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(address)
        headers = b"".join(
            _literal(name, value)
            for name, value in (
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "localhost"),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            )
        )
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SETTING, _WINDOW))
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _WINDOW - 65535))
            + _frame(_HEADERS, _END_HEADERS, 1, headers)
            + _frame(_DATA, _END_STREAM, 1, struct.pack(">BI", 0, len(request)) + request)
        )
        return _answer(connection, path)


def _answer(connection: socket.socket, path: str) -> bytes:
    body = b""
    while True:
        header = _exactly(connection, 9)
        length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
        stream = int.from_bytes(header[5:], "big") & _WINDOW
        payload = _exactly(connection, length)
        if kind == _SETTINGS and not flags & _ACK:
            connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            connection.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _DATA and stream == 1:
            body += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            if len(body) > _LARGEST_ANSWER:
                raise ValueError(f"{path}: the answer is larger than {_LARGEST_ANSWER} bytes")
        elif kind in (_RST_STREAM, _GOAWAY):
            raise _NoMessage(f"{path}: the engine closed the call")
        if kind in (_DATA, _HEADERS) and stream == 1 and flags & _END_STREAM:
            break
    if len(body) < 5 or len(body) < 5 + int.from_bytes(body[1:5], "big"):
        raise _NoMessage(f"{path}: the engine answered with an error")
    return body[5:]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    # HPACK: literal field, new name, not indexed, no Huffman coding. Every string here is shorter than 127 bytes.
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = connection.recv(count - len(data))
        if not block:
            raise _NoMessage("the engine closed the connection")
        data += block
    return data


def _decode(data: bytes) -> Message:
    """Decode one protobuf message: field number → values, as integers or bytes."""
    fields: Message = {}
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        value: int | bytes
        if key & 7 == 0:
            value, position = _varint(data, position)
        elif key & 7 == 2:
            length, position = _varint(data, position)
            value, position = data[position : position + length], position + length
        elif key & 7 in (1, 5):
            length = 8 if key & 7 == 1 else 4
            value, position = data[position : position + length], position + length
        else:
            raise ValueError(f"protobuf wire type {key & 7} is not in use")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data):
            raise ValueError("a protobuf message ends in the middle of a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7


def _messages(message: Message, number: int) -> list[bytes]:
    return [value for value in message.get(number, []) if isinstance(value, bytes)]


def _text(message: Message, number: int) -> str:
    values = _messages(message, number)
    return values[-1].decode(errors="replace") if values else ""
