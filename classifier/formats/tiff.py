"""TIFF: a directory of entries, and strips or tiles anywhere in the file (TIFF 6.0). The first directory counts.

Nothing keeps strips from overlapping. Pillow reads each up to where the next begins, with what is left of those before;
so strips that are not compressed have to be as far apart as their rows need.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from classifier.formats.outline import Outline, damaged, sized, too_many

MOST_ENTRIES = 1_000  # of the first directory; cameras write some tens
MOST_STRIPS = 65_536  # or tiles

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _ROWS, _PLANES = 256, 257, 258, 259, 273, 277, 278, 284
_TILES = 324
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}  # by type
_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I"}


class _Entry(NamedTuple):
    letter: str | None  # of `struct`, for numbers
    values: int
    at: int


def outline(body: bytes) -> Outline:
    """The outline of a TIFF's first picture. Raises UndecodableImage, TooComplexImage or ImageTooLarge."""
    try:
        return _outline(body, ">" if body.startswith(b"MM") else "<")
    except (struct.error, IndexError, KeyError):
        raise damaged("TIFF", "its directory is incomplete") from None


def _outline(body: bytes, order: str) -> Outline:
    entries = _directory(body, order)
    width, height = (_numbers(body, order, entries[tag])[0] for tag in (_WIDTH, _HEIGHT))
    found = sized(Outline("TIFF", width, height, body))
    for tag in (_STRIPS, _TILES):
        if tag in entries and entries[tag].values > MOST_STRIPS:
            raise too_many("TIFF", MOST_STRIPS, "strips or tiles")
    if _one(body, order, entries, _COMPRESSION, 1) == 1 and _STRIPS in entries:
        _check_strips(body, order, entries, found)
    return found


def _directory(body: bytes, order: str) -> Mapping[int, _Entry]:
    (at,) = struct.unpack_from(f"{order}I", body, 4)
    (count,) = struct.unpack_from(f"{order}H", body, at)
    if count > MOST_ENTRIES:
        raise too_many("TIFF", MOST_ENTRIES, "entries in its directory")
    entries: dict[int, _Entry] = {}
    for entry_at in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, values = struct.unpack_from(f"{order}HHI", body, entry_at)
        value_at = entry_at + 8
        if values * _SIZES.get(kind, 1) > 4:
            (value_at,) = struct.unpack_from(f"{order}I", body, value_at)
        entries.setdefault(tag, _Entry(_LETTERS.get(kind), values, value_at))  # of two, Pillow takes the first
    return entries


def _numbers(body: bytes, order: str, entry: _Entry) -> tuple[int, ...]:
    if entry.letter is None:
        raise damaged("TIFF", "its sides are not whole numbers")
    return struct.unpack_from(f"{order}{entry.values}{entry.letter}", body, entry.at)


def _one(body: bytes, order: str, entries: Mapping[int, _Entry], tag: int, default: int) -> int:
    return _numbers(body, order, entries[tag])[0] if tag in entries else default


def _check_strips(body: bytes, order: str, entries: Mapping[int, _Entry], found: Outline) -> None:
    rows = min(_one(body, order, entries, _ROWS, found.height) or 1, found.height)
    planes = _one(body, order, entries, _SAMPLES, 1) if _one(body, order, entries, _PLANES, 1) == 2 else 1
    offsets = sorted(_numbers(body, order, entries[_STRIPS]))
    if len(offsets) > -(-found.height // rows) * max(planes, 1):
        raise damaged("TIFF", f"{len(offsets):,} strips are more than its rows need")
    bits = _one(body, order, entries, _BITS, 1)
    strip_bytes = rows * (found.width * bits // 8)
    if any(later - earlier < strip_bytes for earlier, later in pairwise(offsets)):
        raise damaged("TIFF", "its strips overlap")
