"""`training.reports.fonts`: names of every script are drawn or escaped, without a warning."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from training.reports.fonts import DEFAULT, drawable, fonts_for
from training.reports.plots import draw_confusion

CONFUSION = np.array([[3, 1], [0, 4]])


def test_names_of_the_default_font_stay_as_they_are():
    assert drawable("Tasse, über-größe é Ω кот") == "Tasse, über-größe é Ω кот"


def test_another_font_is_taken_for_what_the_default_lacks():
    found = "\u1d81"  # in STIX, which comes with Matplotlib as the default does
    assert drawable(f"{found} cat") == f"{found} cat"
    with fonts_for([found]):
        assert mpl.rcParams["font.family"][0] == DEFAULT
        assert len(mpl.rcParams["font.family"]) == 2
    with fonts_for(["cat"]):
        assert mpl.rcParams["font.family"] == ["sans-serif"]


def test_what_no_font_has_is_escaped():
    assert drawable("\ue123 cat") == r"\ue123 cat"  # of the area for private use
    assert drawable("\U0010fffd") == r"\U0010fffd"


def test_a_dollar_is_no_formula():
    assert drawable("$5 and $6") == r"\$5 and \$6"


def test_control_characters_are_blanks():
    assert drawable("a\tb\nc") == "a b c"


@pytest.mark.parametrize(
    "labels", [("猫", "犬"), ("$a_b$", "$"), ("قط", "کلب"), ("\U0001f431", "a\tb"), ("x^2", "\\frac")], ids=ascii
)
def test_a_confusion_matrix_is_drawn_whatever_the_names(labels: tuple[str, str], tmp_path: Path):
    draw_confusion(CONFUSION, labels, tmp_path / "confusion.png", f"{labels[0]}: test")  # warnings are errors
    assert (tmp_path / "confusion.png").stat().st_size > 1000
