"""docs/honest-answers.md says what the cards say, and its pictures are there."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from docs.honesty import PAGE
from docs.tables import written_honesty

TEXT = PAGE.read_text(encoding="utf-8")
PICTURES = re.findall(r"!\[.+?\]\(([^)]+\.png)\)", TEXT)
MOST_BYTES = 150_000


def test_the_tables_are_what_the_cards_say() -> None:
    assert written_honesty(TEXT) == TEXT, "run `make docs`"


def test_there_are_reliability_diagrams_and_odd_images() -> None:
    assert PICTURES == ["reliability.png", "odd-images.png"]


@pytest.mark.parametrize("file", PICTURES)
def test_a_picture_is_there_small_and_not_empty(file: str) -> None:
    path = PAGE.parent / file
    assert path.stat().st_size < MOST_BYTES
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.slow  # imports what trains
def test_the_odd_images_are_made_by_code_or_are_the_projects_own() -> None:
    pytest.importorskip("tensorflow")
    from docs.honest_pictures import ODD

    assert list(ODD) == ["truck", "hand", "screenshot", "noise", "black", "chart"]
    for make in ODD.values():
        picture = make()
        assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)
