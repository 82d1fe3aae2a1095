"""Hashes that differ in few bits, found without comparing all with all.

A hash has four bands of 16 bits. Of two hashes that differ in at most 11 bits, one band at least differs in 2 bits or
fewer. So each band is looked up in a table, as it is and with any one or two bits changed (Norouzi, Punjani and Fleet
2012). Hashes that differ in 12 bits are missed only where these are spread as 3, 3, 3 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

BANDS, BAND_BITS = 4, 16
CHANGED = 2  # bits of a band at most
LOOKED_UP = 256  # hashes at a time
COMPARED = 2_000_000  # pairs at a time; what that needs is some 60 MB

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_MASKS = np.array(
    [sum(1 << bit for bit in bits) for count in range(CHANGED + 1) for bits in combinations(range(BAND_BITS), count)],
    np.int64,
)


class MultiIndex:
    """Hashes uint64 [n] in tables by band."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._tables = [_table(_band(hashes, number)) for number in range(BANDS)]

    def near(self, asked: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
        """Pairs (index in `asked`, index in the tables) of hashes that differ in at most `radius` bits, each once.

        They come in parts; a hash is near to itself.
        """
        for start in range(0, len(asked), LOOKED_UP):
            some = asked[start : start + LOOKED_UP]
            found = [pair for number in range(BANDS) for pair in self._in_band(some, number, radius)]
            query, entry = np.concatenate(found, axis=1) if found else np.empty((2, 0), np.int64)
            pairs = np.sort(query * len(self._hashes) + entry)  # as one number: far quicker than by rows
            pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # quicker than np.unique: docs/tuning.md#near-duplicates
            yield pairs // len(self._hashes) + start, pairs % len(self._hashes)

    def _in_band(self, some: Hashes, number: int, radius: int) -> Iterator[Indices]:
        order, starts = self._tables[number]
        keys = (_band(some, number)[:, None] ^ _MASKS).ravel()
        asked = np.repeat(np.arange(len(some)), len(_MASKS))
        first, count = starts[keys], starts[keys + 1] - starts[keys]
        there = count > 0
        asked, first, count = asked[there], first[there], count[there]
        for part in _parts(count):
            repeated = count[part]
            offsets = np.arange(repeated.sum()) - np.repeat(np.cumsum(repeated) - repeated, repeated)
            entry = order[np.repeat(first[part], repeated) + offsets]
            query = np.repeat(asked[part], repeated)
            near = np.bitwise_count(some[query] ^ self._hashes[entry]) <= radius
            yield np.stack([query[near], entry[near]])


def _band(hashes: Hashes, number: int) -> Indices:
    return ((hashes >> np.uint64(BAND_BITS * number)) & np.uint64((1 << BAND_BITS) - 1)).astype(np.int64)


def _table(band: Indices) -> tuple[Indices, Indices]:
    """Where each value of a band stands: indices in the order of values, and where those of each value begin."""
    counts = np.bincount(band, minlength=1 << BAND_BITS)
    return np.argsort(band, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def _parts(counts: Indices) -> Iterator[slice]:
    """Slices with about COMPARED pairs each, or one row."""
    begin = np.searchsorted(np.cumsum(counts), np.arange(0, counts.sum(), COMPARED), side="right")
    edges = [*np.unique(begin).tolist(), len(counts)]
    yield from (slice(one, other) for one, other in pairwise(edges) if other > one)
