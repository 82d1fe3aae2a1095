"""CONTRIBUTING.md leads a newcomer to files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGES = re.search(r"## Ten changes.*?\n\|---\|---\|\n(.*?)\n\n", TEXT, flags=re.DOTALL)
ROWS = CHANGES[1].splitlines() if CHANGES else []
FILES = [(row.split("|")[1].strip(), file) for row in ROWS for file in re.findall(r"`([\w/]+\.py)`", row)]


def test_ten_changes_are_listed():
    assert len(ROWS) == 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_change_touches_one_or_two_files(row: str):
    assert 1 <= len(re.findall(r"`[\w/]+\.py`", row)) <= 2


@pytest.mark.parametrize(("change", "file"), FILES, ids=[f"{change}: {file}" for change, file in FILES])
def test_the_file_that_a_change_touches_exists(change: str, file: str):
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_every_link_leads_somewhere(link: str):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z0-9-]+)", TEXT))))
def test_every_target_exists(target: str):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
