"""`training.reports.comparison`: the page needs no other file, and the sheet shows both kinds of disagreement."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from tests.training.comparisons import comparison
from training.evaluation.comparison.compare import Disagreement
from training.evaluation.comparison.record import ClassFigures
from training.reports.comparison.page import page
from training.reports.comparison.sheet import SHOWN_OF_EACH, caption, shown_of

EVIL = "<script>alert('cup')</script>"


def disagreement(position: int, right: int, file: str | None = None) -> Disagreement:
    return Disagreement(position, file, "cup", right, "cups@1", "plate", round(1 - position / 100, 2))


class Balance(HTMLParser):
    """Counts tags that are open, and keeps what tags refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_refers_to_nothing_outside_of_it() -> None:
    found = comparison(10, 4, classes=(ClassFigures(label=EVIL, images=5, candidate=3, baseline=4),))
    text = page(found, [("Reliability of cups version 2", b"\x89PNG")])
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.references == ["data:image/png;base64,iVBORw=="]
    assert not re.search(r"https?://|@import|url\(", text)
    assert "<title>cups version 2 and cups version 1</title>" in text
    assert "<td>-0.2000</td>" in text


def test_names_of_labels_are_text_and_never_markup() -> None:
    text = page(comparison(classes=(ClassFigures(label=EVIL, images=5, candidate=3, baseline=4),)), [])
    assert EVIL not in text
    assert "&lt;script&gt;" in text


def test_the_sheet_shows_the_surest_mistakes_of_each_version() -> None:
    many = [disagreement(n, n % 2) for n in range(50)]
    shown = shown_of(many)
    assert [each.right for each in shown] == [0] * SHOWN_OF_EACH + [1] * SHOWN_OF_EACH
    assert [each.position for each in shown[:3]] == [0, 2, 4]


def test_a_caption_names_the_file_where_it_has_a_name() -> None:
    assert caption(disagreement(6, 0, "cup/a.jpg")) == "cup/a.jpg\ncup; cups@1: plate 0.94"
    assert caption(disagreement(6, 0)).startswith("image 7\n")
