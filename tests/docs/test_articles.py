"""The walk-throughs of the articles: their figures are those of the records, and their links and pictures are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.article_tables import PAGES, written
from training.recipes import RECIPES

ROOT = Path(__file__).parents[2]
LINKS = [
    (page, link)
    for page in [*PAGES, ROOT / "docs" / "tutorial.md", ROOT / "docs" / "index.md"]
    for link in re.findall(r"\]\((?!http)([^)#]*)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    if link
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_are_those_of_the_records(page: Path):
    text = page.read_text(encoding="utf-8")
    assert written(text) == text, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_says_what_is_taught_how_to_do_it_what_came_and_what_surprised(page: Path):
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", text, flags=re.MULTILINE) == [
        "What it teaches",
        "Do it",
        "What came of it here",
        "The surprises",
    ]
    assert "curves.png" in text


def test_every_recipe_of_an_article_is_walked_through():
    walked = {name for page in PAGES for name in re.findall(r"sightline fit (\S+)", page.read_text(encoding="utf-8"))}
    articles = {name for name in RECIPES if not name.startswith(("features", "finetuned"))}
    assert articles - walked <= {"cifar-10-features", "asl-features"}  # no article has them
    assert walked <= set(RECIPES)


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.stem}: {link}" for page, link in LINKS])
def test_every_link_and_picture_is_there(page: Path, link: str):
    assert (page.parent / link).exists()


def test_a_page_without_a_table_is_no_page_of_an_article():
    with pytest.raises(ValueError, match="expected a table of runs"):
        written("# An article\n")
