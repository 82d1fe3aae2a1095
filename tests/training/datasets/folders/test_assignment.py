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
