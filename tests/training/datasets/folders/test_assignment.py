"""`training.datasets.folders.assignment`: the split follows from the content alone."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.datasets.folders.assignment import assign, position

FRACTIONS = {"test": 0.2, "validation": 0.2}


def digests(count: int) -> list[bytes]:
    return [hashlib.sha256(str(i).encode()).digest() for i in range(count)]


def test_positions_are_even_and_differ_by_seed():
    positions = [position(each, 0) for each in digests(2000)]
    assert 0 <= min(positions) < max(positions) < 1
    assert abs(sum(p < 0.2 for p in positions) / 2000 - 0.2) < 0.03
    assert positions != [position(each, 1) for each in digests(2000)]


@settings(deadline=None)
@given(st.integers(3, 40), st.integers(-3, 3))
def test_every_split_has_an_image_however_small_the_class(count: int, seed: int):
    assert {*assign(digests(count), FRACTIONS, seed)} == {"train", "validation", "test"}


@settings(deadline=None)
@given(st.permutations(digests(30)))
def test_the_order_in_which_images_come_changes_nothing(shuffled: list[bytes]):
    expected = dict(zip(digests(30), assign(digests(30), FRACTIONS, 0), strict=True))
    assert dict(zip(shuffled, assign(shuffled, FRACTIONS, 0), strict=True)) == expected


@pytest.mark.parametrize("kept", [60, 179])
def test_what_is_added_moves_no_other(kept: int):
    before = assign(digests(kept), FRACTIONS, 0)
    assert assign(digests(180), FRACTIONS, 0)[:kept] == before


def test_an_image_is_lent_to_an_empty_split_until_another_comes():
    tiny = assign(digests(3), FRACTIONS, 0)
    grown = assign(digests(100), FRACTIONS, 0)[:3]
    assert sorted(tiny) == ["test", "train", "validation"]
    assert sum(one != other for one, other in zip(tiny, grown, strict=True)) <= 2


def test_without_missing_splits_all_is_train():
    assert assign(digests(4), {}, 0) == ["train"] * 4


def led(*groups: list[bytes]) -> dict[bytes, bytes]:
    """The leaders of near copies."""
    return {digest: min(group) for group in groups for digest in group}


@settings(deadline=None)
@given(st.integers(20, 60), st.integers(0, 5), st.sets(st.integers(2, 4), min_size=1))
def test_near_copies_share_a_split(count: int, seed: int, sizes: set[int]):
    images = digests(count)
    groups = [images[10 * i : 10 * i + size] for i, size in enumerate(sorted(sizes)) if 10 * i + size <= count]
    splits = dict(zip(images, assign(images, FRACTIONS, seed, led(*groups)), strict=True))
    assert [len({splits[digest] for digest in group}) for group in groups] == [1] * len(groups)
    assert {*splits.values()} == {"train", "validation", "test"}


def test_near_copies_go_where_the_one_with_the_smallest_digest_goes():
    images = digests(100)
    alone = dict(zip(images, assign(images, FRACTIONS, 0), strict=True))
    groups = [images[i : i + 3] for i in range(0, 99, 3)]
    together = dict(zip(images, assign(images, FRACTIONS, 0, led(*groups)), strict=True))
    assert {digest: together[digest] for group in groups for digest in group} == {
        digest: alone[min(group)] for group in groups for digest in group
    }


def test_what_is_added_moves_no_group_but_its_own():
    images = digests(130)
    old, new = images[:129], images[129]
    groups = [old[i : i + 3] for i in range(0, 120, 3)]
    before = dict(zip(old, assign(old, FRACTIONS, 0, led(*groups)), strict=True))
    groups[7] = [*groups[7], new]
    after = dict(zip(images, assign(images, FRACTIONS, 0, led(*groups)), strict=True))
    assert {digest for digest in old if before[digest] != after[digest]} <= {*groups[7]}


@pytest.mark.parametrize(
    ("sizes", "whole"),
    [
        ([4, *[1] * 16], True),
        ([9, *[1] * 11], True),
        ([11, *[1] * 9], False),
        ([10, 10], False),
        ([6, 7, 7], True),
    ],
    ids=["a few", "many", "most", "two groups", "three groups"],
)
def test_a_group_is_kept_whole_where_a_class_can_be_dealt_without_breaking_it(sizes: list[int], whole: bool):
    images, groups, at = digests(20), [], 0
    for size in sizes:
        groups.append(images[at : at + size])
        at += size
    splits = dict(zip(images, assign(images, FRACTIONS, 0, led(*groups)), strict=True))
    assert (len({splits[digest] for digest in groups[0]}) == 1) == whole
    assert {*splits.values()} == {"train", "validation", "test"}


@pytest.mark.parametrize("seed", range(5))
def test_many_near_copies_are_trained_on(seed: int):
    images = digests(50)
    splits = dict(zip(images, assign(images, FRACTIONS, seed, led(images[:20])), strict=True))
    assert {splits[digest] for digest in images[:20]} == {"train"}
