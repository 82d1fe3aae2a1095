"""`training.datasets.folders.labels`: one order and one spelling, whatever the file system gives."""

from __future__ import annotations

import itertools
import os
import unicodedata

import pytest

from training.datasets.folders.labels import in_order, label_of, lookalikes
from training.errors import DatasetError


@pytest.mark.parametrize(
    "labels",
    [("Cat", "cat"), ("01", "1", "001"), ("straße", "strasse"), ("class10", "Class2", "class1"), ("a", "A", "b", "B")],
    ids=" ".join,
)
def test_the_order_does_not_depend_on_how_names_come(labels: tuple[str, ...]):
    assert len({in_order(each) for each in itertools.permutations(labels)}) == 1


def test_numbers_stand_by_their_value_and_capitals_beside_small_letters():
    assert in_order(("b", "10", "2", "B", "a", "01", "1")) == ("01", "1", "2", "10", "a", "B", "b")


def test_both_ways_to_write_an_accent_are_one_label():
    assert label_of(unicodedata.normalize("NFD", "café")) == label_of("café") == "café"


def test_a_name_that_is_not_utf_8_is_refused_with_its_bytes():
    with pytest.raises(DatasetError, match=r"caf\\xe9.*rename"):
        label_of(os.fsdecode(b"caf\xe9"))


@pytest.mark.parametrize(
    "pair", [("Cat", "cat"), ("1", "01"), ("my cup", "my_cup"), ("cup ", "cup"), ("\uff21", "a")], ids=repr
)
def test_a_pair_that_looks_alike_is_warned_of(pair: tuple[str, str]):
    (warning,) = lookalikes((*pair, "other"))
    assert all(repr(label) in warning for label in pair)
    assert "other" not in warning


def test_other_labels_are_not_warned_of():
    assert lookalikes(("cat", "dog", "class1", "class10", "猫", "犬")) == ()
