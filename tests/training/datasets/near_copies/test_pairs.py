"""`training.datasets.near_copies`: pictures that are the same, or nearly."""

from __future__ import annotations

import numpy as np

from training.datasets.near_copies import Pairs, groups, leaders
from training.datasets.near_copies.multi_index import MultiIndex
from training.datasets.near_copies.pairs import find_pairs
from training.datasets.near_copies.small_picture import SIDE

NONE = np.empty((0, 2), np.int64)


def test_the_index_finds_what_comparing_all_with_all_finds() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, 500, np.uint64)
    changed = hashes.copy()
    for _ in range(11):
        changed ^= np.uint64(1) << rng.integers(0, 64, 500).astype(np.uint64)
    far = np.bitwise_count(changed[:, None] ^ hashes[None])
    expected = {(int(i), int(j)) for i, j in zip(*np.nonzero(far <= 11), strict=True)}
    near = [
        pair for asked, entries in MultiIndex(hashes).near(changed, 11) for pair in zip(asked, entries, strict=True)
    ]
    assert {(int(i), int(j)) for i, j in near} == expected
    assert len(near) == len(expected) >= 500


def test_pairs_join_into_groups() -> None:
    pairs = np.array([[3, 5], [0, 1], [1, 5], [7, 8]])
    assert [list(group) for group in groups(pairs, 10)] == [[0, 1, 3, 5], [7, 8]]
    assert groups(np.empty((0, 2), np.int64), 3) == []


def test_the_smallest_digest_of_a_group_leads_it() -> None:
    pairs = Pairs(exact=np.array([[0, 3]]), near=np.array([[1, 3]]))
    assert leaders(pairs, [b"c", b"b", b"a", b"d"]) == {b"c": b"b", b"b": b"b", b"d": b"b"}
    assert leaders(Pairs(NONE, NONE), [b"a", b"b"]) == {}


def test_of_many_pictures_of_two_scenes_each_has_few_partners_and_all_are_joined() -> None:
    rng = np.random.default_rng(0)
    scenes = rng.integers(0, 256, (2, SIDE, SIDE))
    count, most = 200, 5
    grey = np.clip(scenes[np.arange(count) % 2] + rng.normal(0, 3, (count, SIDE, SIDE)), 0, 255).astype(np.uint8)
    found = find_pairs(np.arange(count, dtype=np.uint64), grey, partners=most)
    assert len(found.exact) == 0
    assert len(found.near) <= count * most
    assert [list(group) for group in groups(found.near, count)] == [list(range(first, count, 2)) for first in (0, 1)]
