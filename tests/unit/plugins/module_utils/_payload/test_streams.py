# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams that are read ahead, and gzip as gzip itself reads it."""

from __future__ import annotations

import gzip
import io
import os
import random
import threading
import time
import typing as t
import zlib

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import streams

BLOCK = streams.BLOCK


class Source(io.RawIOBase):
    """A stream that counts how often it is asked, and fails behind its last block."""

    def __init__(self, *blocks: bytes, error: BaseException | None = None) -> None:
        super().__init__()
        self._blocks = iter(blocks)
        self._error = error
        self.asked = 0

    def read(self, size: int = -1) -> bytes:
        assert size == BLOCK
        self.asked += 1
        block = next(self._blocks, b"")
        if not block and self._error:
            raise self._error
        return block


@pytest.fixture(autouse=True)
def no_thread_is_left() -> t.Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def ahead(stream: t.Any) -> streams.Ahead:
    return streams.Ahead(t.cast("t.IO[bytes]", stream))


@pytest.mark.parametrize("size", [1, 7, 512, 100_000, BLOCK, BLOCK + 1, 3 * BLOCK, -1])
def test_all_that_is_read_ahead_arrives(size: int) -> None:
    content = os.urandom(20_000 if 0 < size < 512 else 2 * BLOCK + 12_345)
    with ahead(io.BytesIO(content)) as stream:
        pieces = list(iter(lambda: stream.read(size), b""))
        assert b"".join(pieces) == content
        assert size < 0 or {len(piece) for piece in pieces[:-1]} <= {size}
        assert stream.tell() == len(content)
        assert [stream.read(size) for _dummy in range(9)] == [b""] * 9


@pytest.mark.parametrize("offsets", [[0, 10, 10, 512], [BLOCK - 1, BLOCK, 2 * BLOCK + 5], [1 << 62]])
def test_skipping(offsets: list[int]) -> None:
    content = os.urandom(3 * BLOCK)
    with ahead(io.BytesIO(content)) as stream:
        for offset in offsets:
            reached = min(offset, len(content))
            assert stream.seek(offset) == stream.tell() == reached
            assert stream.read(0) == b""
        assert stream.read(3) == content[reached : reached + 3]
        with pytest.raises(ValueError, match="begins before"):
            stream.seek(0)


def test_only_some_blocks_are_read_ahead() -> None:
    source = Source(*[b"x"] * 100)
    with ahead(source) as stream:
        for taken in (0, 1, 10):
            while stream.tell() < taken:
                stream.read(1)
            deadline = time.monotonic() + 10
            while source.asked < taken + streams._AHEAD and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(0.02)
            assert source.asked == taken + streams._AHEAD


def test_an_error_comes_in_its_turn() -> None:
    source = Source(b"one", b"two", error=EOFError("torn off"))
    with ahead(source) as stream:
        assert stream.read(6) == b"onetwo"
        for _dummy in range(3):
            with pytest.raises(EOFError, match="torn off"):
                stream.read(1)
    assert source.asked == 3


@pytest.mark.parametrize("taken", [0, 1, 50])
def test_a_reader_that_stops_early(taken: int) -> None:
    with pytest.raises(KeyError), ahead(Source(*[b"x"] * 100)) as stream:
        stream.read(taken)
        raise KeyError


def test_nobody_needs_so_much_at_once() -> None:
    with ahead(io.BytesIO()) as stream, pytest.raises(ValueError, match=f"a header of {1 << 40} bytes"):
        stream.read(1 << 40)


def test_whole_blocks_are_not_copied() -> None:
    blocks = [os.urandom(BLOCK), os.urandom(BLOCK), b"the end"]
    with ahead(Source(*blocks)) as stream:
        assert stream.read(512) == blocks[0][:512]
        assert stream.read1(BLOCK) == blocks[0][512:]  # what is left of it
        assert stream.read1(BLOCK) is blocks[1]
        assert stream.read1(3) == b"the"
        assert stream.tell() == 2 * BLOCK + 3
        assert [stream.read1(), stream.read1(), stream.read1(1)] == [b" end", b"", b""]


# gzip.


def inflated(packed: bytes, size: int = BLOCK) -> bytes:
    with streams.decompressed(io.BytesIO(packed), "gzip") as stream:
        return b"".join(iter(lambda: stream.read(size), b""))


ONE, TWO = os.urandom(300_000), bytes(700_000)


@pytest.mark.parametrize("size", [1000, BLOCK])
@pytest.mark.parametrize(
    ("packed", "content"),
    [
        pytest.param(gzip.compress(ONE), ONE, id="a member"),
        pytest.param(gzip.compress(b""), b"", id="an empty one"),
        pytest.param(gzip.compress(ONE) + gzip.compress(TWO), ONE + TWO, id="two members"),
        pytest.param(
            gzip.compress(ONE) + gzip.compress(b"") + gzip.compress(TWO), ONE + TWO, id="an empty one between"
        ),
        pytest.param(gzip.compress(ONE) + bytes(600_000), ONE, id="padded"),
        pytest.param(gzip.compress(ONE) + bytes(600_000) + gzip.compress(TWO), ONE + TWO, id="padded in the middle"),
        pytest.param(
            b"".join(gzip.compress(b"%d" % n) for n in range(999)), b"".join(b"%d" % n for n in range(999)), id="many"
        ),
    ],
)
def test_gzip(packed: bytes, content: bytes, size: int) -> None:
    assert gzip.decompress(packed) == content
    assert inflated(packed, size) == content


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no gzip", id="text"),
        pytest.param(bytes(100), id="zeros"),
        pytest.param(gzip.compress(ONE) + b"garbage", id="garbage behind it"),
        pytest.param(gzip.compress(ONE)[:-8] + b"\1" + gzip.compress(ONE)[-7:], id="another checksum"),
        pytest.param(gzip.compress(ONE)[:-1] + b"\1", id="another size"),
        pytest.param(zlib.compress(ONE), id="zlib"),
    ],
)
def test_no_gzip(packed: bytes) -> None:
    with pytest.raises(streams.DAMAGED):
        inflated(packed)


def test_truncated_gzip() -> None:
    packed = gzip.compress(bytes(5_000_000) + ONE[:2000] + bytes(5_000_000))
    for end in random.Random(1).sample(range(len(packed)), 200):
        with pytest.raises(EOFError):
            inflated(packed[:end])


def test_a_bomb_is_inflated_block_by_block() -> None:
    with streams.decompressed(io.BytesIO(gzip.compress(bytes(30 * BLOCK))), "gzip") as stream:
        while block := stream.read(BLOCK):
            assert len(block) <= BLOCK
