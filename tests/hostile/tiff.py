"""Hostile TIFFs: strips that overlap, entries and directories without end."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import partial

from tests import pictures
from tests.hostile.hostile import COMPLEX, DAMAGED, LARGE, MEMORY, OK, SLOW, single, sized

_LONG = 4
_RAW, _LZW, _DEFLATE, _PACKBITS = 1, 5, 8, 32773
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOUR, _STRIPS, _SAMPLES, _ROWS, _LENGTHS = (
    256,
    257,
    258,
    259,
    262,
    273,
    277,
    278,
    279,
)


def tiff(tags: Mapping[int, int | Sequence[int]], data: bytes = b"", following: int = 0) -> bytes:
    """One directory at its place 8, the values that do not fit into it, then `data`."""
    entries, values = b"", b""
    values_at = 8 + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        numbers = [value] if isinstance(value, int) else value
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            entries += struct.pack("<HHII", tag, _LONG, len(numbers), values_at + len(values))
            values += packed
        else:
            entries += struct.pack("<HHI", tag, _LONG, 1) + packed
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) + values + data


def _picture(
    width: int, height: int, strips: Sequence[int], lengths: Sequence[int], data: bytes = b"", **more: int
) -> bytes:
    tags: dict[int, int | Sequence[int]] = {
        _WIDTH: width,
        _HEIGHT: height,
        _BITS: more.get("bits", 8),
        _COMPRESSION: more.get("compression", _RAW),
        _COLOUR: 1,
        _STRIPS: strips,
        _SAMPLES: 1,
        _ROWS: more.get("rows", 1),
        _LENGTHS: lengths,
    }
    return tiff(tags, data)


def _a_byte_apart(size: int) -> bytes:
    """64 x 64 with two rows a strip, one byte after the other, as many as fit."""
    count = max(2, (size - 200) // 4)
    return _picture(64, 64, range(8, 8 + count), [128, 128], rows=2)


def _one_strip_for_all(compression: int, size: int) -> bytes:
    """Rows that all lie at one offset, of a picture with as many rows as the offsets allow."""
    rows = max(2, min(900_000, size // 8 - 100))
    row = {_RAW: bytes(50), _DEFLATE: zlib.compress(bytes(50)), _PACKBITS: b"\xcf\0", _LZW: b"\x80\0"}[compression]
    at = 8 + 2 + 12 * 9 + 4 + 8 * rows
    return _picture(50, rows, [at] * rows, [len(row)] * rows, row, compression=compression)


def _few_rows_many_strips(size: int) -> bytes:
    count = max(2, size // 4 - 60)
    return _picture(50, 50, [8] * count, [50, 50])


def _entries(kind: int, size: int) -> bytes:
    """A directory that goes on after what is needed, up to 65,535 entries."""
    body = pictures.encoded(pictures.scene(), "TIFF")
    (at,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, at)
    old = body[at + 2 : at + 2 + 12 * count]
    more = min(65_000, max(1, size // 12))
    extra = b"".join(struct.pack("<HHII", 40_000 + n % 25_000, kind, 400, 8) for n in range(more))
    head = b"II*\0" + struct.pack("<I", len(body))
    return head + body[8:] + struct.pack("<H", count + more) + old + extra + bytes(4)


def _one_long_entry(tag: int, kind: int, width: int, size: int) -> bytes:
    body = bytearray(pictures.encoded(pictures.scene(), "TIFF"))
    (at,) = struct.unpack_from("<I", body, 4)
    (count,) = struct.unpack_from("<H", body, at)
    old = bytes(body[at + 2 : at + 2 + 12 * count])
    values_at = len(body)
    extra = struct.pack("<HHII", tag, kind, size // width, values_at)
    struct.pack_into("<I", body, 4, values_at + size)
    return bytes(body) + b"\1" * size + struct.pack("<H", count + 1) + old + extra + bytes(4)


def _directories(size: int) -> bytes:
    """Each directory names the next."""
    body = pictures.encoded(pictures.scene(), "TIFF")
    one = 2 + 12 + 4
    count = max(1, size // one)
    (at,) = struct.unpack_from("<I", body, 4)
    (entries,) = struct.unpack_from("<H", body, at)
    next_at = at + 2 + 12 * entries
    begun = body[:next_at] + struct.pack("<I", len(body)) + body[next_at + 4 :]
    chain = b"".join(
        struct.pack("<HHHIII", 1, 254, _LONG, 1, 0, len(body) + one * (n + 1) if n + 1 < count else 0)
        for n in range(count)
    )
    return begun + chain


def _tiles(size: int) -> bytes:
    count = max(2, size // 8 - 60)
    tags: dict[int, int | Sequence[int]] = {
        _WIDTH: 16 * min(count, 3_000),
        _HEIGHT: 16,
        _BITS: 8,
        _COMPRESSION: _DEFLATE,
        _COLOUR: 1,
        _SAMPLES: 1,
        322: 16,
        323: 16,
        324: [8] * count,
        325: [10] * count,
    }
    return tiff(tags)


def one_tile(side: int) -> bytes:
    """50 x 50 pixels in one tile of far more."""
    rows = zlib.compress(bytes(100_000))
    tags: dict[int, int | Sequence[int]] = {
        _WIDTH: 50,
        _HEIGHT: 50,
        _BITS: 8,
        _COMPRESSION: _DEFLATE,
        _COLOUR: 1,
        _SAMPLES: 1,
        322: side,
        323: side,
        324: 8 + 2 + 12 * 10 + 4,
        325: len(rows),
    }
    return tiff(tags, rows)


def _bomb() -> bytes:
    rows = zlib.compress(bytes(49_000_000), 9)
    return _picture(7_000, 7_000, [8 + 2 + 12 * 9 + 4], [len(rows)], rows, rows=7_000, compression=_DEFLATE)


_READ = (OK, COMPLEX, DAMAGED)

MAKERS = (
    sized("tiff-strips-a-byte-apart", _a_byte_apart, (DAMAGED, COMPLEX)),
    sized("tiff-few-rows-many-strips", _few_rows_many_strips, (DAMAGED, COMPLEX)),
    sized("tiff-rows-in-one-strip", partial(_one_strip_for_all, _RAW), (DAMAGED, COMPLEX)),
    sized("tiff-folded-rows-in-one-strip", partial(_one_strip_for_all, _DEFLATE), (*_READ, SLOW)),
    sized("tiff-packed-rows-in-one-strip", partial(_one_strip_for_all, _PACKBITS), (*_READ, SLOW)),
    sized("tiff-lzw-rows-in-one-strip", partial(_one_strip_for_all, _LZW), (*_READ, SLOW)),
    sized("tiff-entries-of-rationals", partial(_entries, 5), _READ),
    sized("tiff-entries-of-shorts", partial(_entries, 3), _READ),
    sized("tiff-rationals", partial(_one_long_entry, 40_000, 5, 8), (*_READ, SLOW, MEMORY)),
    sized("tiff-bytes", partial(_one_long_entry, 40_000, 1, 1), (*_READ, SLOW, MEMORY)),
    sized("tiff-doubles", partial(_one_long_entry, 40_000, 12, 8), (*_READ, SLOW, MEMORY)),
    sized("tiff-xmp", partial(_one_long_entry, 700, 1, 1), (*_READ, SLOW, MEMORY)),
    sized("tiff-bits-of-samples", partial(_one_long_entry, 339, 3, 2), (*_READ, SLOW, MEMORY)),
    sized("tiff-directories", _directories, _READ),
    sized("tiff-tiles", _tiles, (*_READ, SLOW)),
    single("tiff-49-megapixels", _bomb, (OK, SLOW)),
    single("tiff-one-tile-of-900-megapixels", partial(one_tile, 30_000), (MEMORY,)),
    single("tiff-one-tile-of-16-megapixels", partial(one_tile, 4_000), (OK, DAMAGED)),
    single("tiff-gigapixels", lambda: _picture(60_000, 60_000, [8], [8]), (LARGE,)),
    single("tiff-no-pixels", lambda: _picture(0, 0, [8], [8]), (DAMAGED,)),
)
