# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compressed streams, by each way to read them: what comes out, and what is said of damage, limits and missing modules."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import random
import shutil
import struct
import subprocess
import sys
import typing as t
import zlib
from pathlib import Path

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import decoders

PLUGINS = Path(decoders.__file__).parents[1]
#: Modules that a Python which somebody has built can lack.
RARE = ("_lzma", "_bz2", "_zstd", "zlib", "_ctypes", "_hashlib", "_blake2", "_uuid", "_queue")

ONE, TWO = os.urandom(300_000), bytes(700_000)


def of_program(compression: str) -> None:
    if shutil.which(compression) is None:
        pytest.skip(f"no program {compression}")


def zstd(content: bytes, *options: str) -> bytes:
    of_program("zstd")
    done = subprocess.run(["zstd", "--stdout", *options], input=content, capture_output=True, check=True)
    return done.stdout


#: A frame that decoders pass over.
SKIPPED = struct.pack("<II", 0x184D2A50, 5) + b"notes"
PACK: dict[str, t.Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstd}
WAYS = [("gzip", True), ("xz", True), ("zstd", True), ("gzip", False), ("xz", False), ("zstd", False)]


def read(content: bytes, compression: str, size: int = 1 << 19) -> bytes:
    with decoders.opened(io.BytesIO(content), compression) as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


@pytest.fixture(params=WAYS, ids=[f"{name} {'in the process' if inside else 'by a program'}" for name, inside in WAYS])
def compression(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name, inside = request.param
    if inside:
        assert decoders._decoder(name), "this machine has no such module, and no library"
    else:
        of_program(name)
        monkeypatch.setitem(decoders._DECODERS, name, ())
    return str(name)


@pytest.mark.parametrize("size", [1000, 1 << 19])
def test_what_comes_out(compression: str, size: int) -> None:
    pack = PACK[compression]
    cases = [
        (pack(ONE), ONE),
        (pack(b""), b""),
        (pack(ONE) + pack(TWO), ONE + TWO),
        (pack(ONE) + pack(b"") + pack(TWO), ONE + TWO),
        (b"".join(pack(b"%d" % number) for number in range(30)), b"".join(b"%d" % number for number in range(30))),
    ]
    if compression == "zstd":
        cases += [(SKIPPED + pack(ONE) + SKIPPED + pack(TWO) + SKIPPED, ONE + TWO)]
    for content, plain in cases:
        assert read(content, compression, size) == plain


def test_damage(compression: str) -> None:
    pack = PACK[compression]
    whole = pack(TWO + ONE + TWO)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x10
    for content in (b"", b"no such stream", bytes(100), pack(ONE) + b"garbage", bytes(flipped), whole + whole[:-9]):
        if content == b"" and compression != "gzip" and not decoders._DECODERS[compression]:
            continue  # for these programs nothing is not too little
        with pytest.raises(decoders.DAMAGED) as damage:
            read(content, compression)
        assert str(damage.value)


def test_wherever_it_is_cut(compression: str) -> None:
    whole = PACK[compression](TWO + ONE[:2000] + TWO)
    inside = bool(decoders._DECODERS[compression])
    for end in random.Random(1).sample(range(1, len(whole)), 200 if inside else 3):
        with pytest.raises(decoders.DAMAGED):
            read(whole[:end], compression)


def test_a_bomb_is_decoded_block_by_block(compression: str) -> None:
    with decoders.opened(io.BytesIO(PACK[compression](bytes(30 << 20))), compression) as stream:
        while block := stream.read(1 << 16):
            assert len(block) <= 1 << 16


def test_zstd_with_a_window_above_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program makes such a frame only of so many bytes: this is its header, of a window of 1 GiB, and an empty block."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(30 - 10) << 3]) + b"\x01\x00\x00"
    for inside in (True, False):
        if not inside:
            of_program("zstd")
            monkeypatch.setitem(decoders._DECODERS, "zstd", ())
        with pytest.raises(Refusal, match=r"a window of at most 128 MiB\. Found data that needs more .*without --long"):
            read(frame, "zstd")


def test_xz_with_a_dictionary_above_the_limit() -> None:
    content = bytearray(lzma.compress(ONE))
    # The size of the dictionary, in the header of the block, and the header's checksum.
    header = content[12 : 12 + (content[12] + 1) * 4]
    header[4] = 38  # 1 GiB
    header[-4:] = struct.pack("<I", zlib.crc32(header[:-4]))
    content[12 : 12 + len(header)] = header
    with pytest.raises(Refusal, match=r"512 MiB of memory.*xz -9"):
        read(bytes(content), "xz")


def test_too_little_memory() -> None:
    class Decoder:
        complete = False

        def take(self, size: int) -> bytes:
            raise MemoryError(size and "")

    stream = decoders._Decoded(io.BytesIO(), t.cast(t.Any, Decoder()), "xz")
    with pytest.raises(Refusal, match=r"not enough memory.*Free memory on that machine"):
        stream.read()


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd"])
def test_no_way_at_all(compression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decoders._DECODERS, compression, ())
    monkeypatch.setenv("PATH", "/nowhere")
    assert not decoders.available(compression)
    with pytest.raises(Refusal, match=f"Expected a way to read {compression}.*Install the package"):
        decoders.opened(io.BytesIO(), compression)


# A Python without the modules that not every one has.

_CHECK = """
import importlib, json, sys
for name in {rare!r}:
    sys.modules[name] = None
failed = {{}}
for name in {names!r}:
    try:
        importlib.import_module("ansible_collections.confidential_containers.runtime.plugins." + name)
    except ImportError as error:
        failed[name] = str(error)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import decoders
files.sync_filesystem("/")
assert not files.is_immutable("/")
print(json.dumps([failed, [decoders._decoder(one) is None for one in ("gzip", "xz", "zstd")]]))
"""


def test_every_module_is_there_without_rare_ones() -> None:
    names = sorted(
        ".".join(path.relative_to(PLUGINS).with_suffix("").parts)
        for room in ("modules", "module_utils")
        for path in (PLUGINS / room).rglob("*.py")
        if path.stem not in ("__init__", "libzstd")  # which is only loaded when ctypes is there
        and path.stem != "payload_archive"  # it works on the controller
    )
    check = _CHECK.format(rare=RARE, names=names)
    done = subprocess.run(
        [sys.executable, "-c", check],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{}, [True, True, True]]
