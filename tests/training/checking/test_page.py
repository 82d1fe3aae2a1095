"""The page of a check: one strict file with everything in it, whatever files are called."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from classifier.commands.cli import main
from tests.archives import folder_of
from tests.training.checking.photos import folder_files
from training.checking.check import Checked
from training.checking.finding import Case, Finding
from training.reports.checking.page import MOST_CASES, page


def test_the_page_shows_what_was_found_with_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = folder_files({"cup": range(10), "plate": range(50, 60)})
    data = folder_of(tmp_path / "photos", files | {"plate/x.jpg": files["cup/1.jpg"], "cup/no.jpg": b""})
    assert main(["check", str(data), "--features", "none", "--html", str(tmp_path / "new" / "report.html")]) == 0
    assert capsys.readouterr().out.endswith("report.html\n")
    html = (tmp_path / "new" / "report.html").read_text()
    assert "<title>Data check of photos</title>" in html
    assert html.count("data:image/jpeg;base64,") >= 2
    assert "2 images lie under two labels" in html
    assert "Put the problems right before you fit" in html


def test_pictures_take_no_more_bytes_than_a_page_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = folder_files({"cup": range(10), "plate": range(50, 60)})
    data = folder_of(tmp_path / "photos", files | {f"plate/x{n}.jpg": files[f"cup/{n}.jpg"] for n in range(10)})
    command = ["check", str(data), "--features", "none", "--html"]

    def shown(page: Path) -> list[bytes]:
        assert main([*command, str(page)]) == 0
        assert page.read_text().count("<br>plate/x") == 10
        return [base64.b64decode(each) for each in re.findall(r"data:image/jpeg;base64,([^\"]+)", page.read_text())]

    whole = shown(tmp_path / "whole.html")
    monkeypatch.setattr("training.reports.checking.thumbnails.MOST_BYTES", sum(map(len, whole)) // 2)
    fewer = shown(tmp_path / "fewer.html")
    assert 0 < len(fewer) < len(whole)
    assert sum(map(len, fewer)) <= sum(map(len, whole)) // 2


def test_the_page_asks_nobody_for_anything_and_runs_nothing_but_its_own_script() -> None:
    html = page(Checked("photos", ("a", "b"), {"train": 2}, (), 1.0), {})
    assert not re.search(r"(src|href)=[\"']?(?!data:|#)", html)
    assert re.search(r"default-src 'none'; img-src data:; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'", html)
    assert "Nothing stands against a fit" in html


def test_names_of_files_are_text_and_never_markup() -> None:
    evil = '<img src=x onerror="alert(1)">"><b>.jpg'
    finding = Finding("leak", "problem", f"a {evil}", "do", 1, (Case((evil,), evil, 0.5),))
    html = page(Checked(evil, ("a", "b"), {"train": 2}, (finding,), 1.0), {evil: "data:image/jpeg;base64,AA=="})
    assert "<b>" not in html
    assert 'alt="&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&quot;&gt;&lt;b&gt;.jpg"' in html


def test_a_long_finding_is_cut_and_says_so() -> None:
    cases = tuple(Case((f"cup/{n}.jpg",), "unlike") for n in range(MOST_CASES + 7))
    html = page(Checked("photos", ("a", "b"), {}, (Finding("outlier", "note", "57", "look", 57, cases),), 1.0), {})
    assert html.count("<tr>") == MOST_CASES + 1
    assert "and 7 more" in html
