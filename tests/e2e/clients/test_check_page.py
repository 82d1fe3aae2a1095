"""The page of a data check in a real browser: sorted by keyboard, read aloud, and asking nobody for anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.clients.browsers import MARKS, PHONE, launched, opened
from tests.training.checking.photos import jpeg, photo
from training.checking.check import Checked
from training.checking.finding import Case, Finding
from training.reports.checking.page import page

pytestmark = MARKS


def report(path: Path) -> str:
    import base64

    picture = f"data:image/jpeg;base64,{base64.b64encode(jpeg(photo(1, 96, 96))).decode()}"
    cases = tuple(Case((f"cup/{n}.jpg",), f"labelled cup, looks like plate ({score})", score) for n, score in SCORES)
    findings = (
        Finding("leak", "problem", "1 of 9 test images is in train too", "Keep copies in one split.", 1, cases[:1]),
        Finding("label", "warning", "3 labels look wrong", "Look at the first ones.", 3, cases),
        Finding("stray", "note", "1 file lies there", "Move it.", 1, (Case(("cup/notes.txt",), "no image"),)),
    )
    checked = Checked("photos", ("cup", "plate"), {"train": 20, "test": 9}, findings, 1.0)
    path.write_text(page(checked, {case.files[0]: picture for case in cases}), encoding="utf-8")
    return path.as_uri()


SCORES = ((10, 0.7), (9, 0.9), (2, 0.8))


def test_the_page_sorts_by_keyboard_passes_axe_and_fits_a_phone(tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    url = report(tmp_path / "report.html")
    with launched() as browser:
        for options in ({}, PHONE, {"color_scheme": "dark"}):
            with opened(browser, url, **options) as shown:
                assert axe.run(shown).response["violations"] == []
                assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert shown.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
        with opened(browser, url) as shown:
            table = shown.locator("#finding-2 table")
            names = lambda: [row.inner_text() for row in table.locator("tbody td:nth-child(2)").all()]  # noqa: E731
            assert names() == ["cup/10.jpg", "cup/9.jpg", "cup/2.jpg"]
            table.locator("th button").first.focus()
            shown.keyboard.press("Enter")
            assert names() == ["cup/2.jpg", "cup/9.jpg", "cup/10.jpg"]
            assert table.locator("th[aria-sort=ascending]").inner_text().startswith("files")
