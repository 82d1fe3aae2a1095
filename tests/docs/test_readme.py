"""The README tells the truth: its tables come from code and cards, its links lead somewhere."""

from __future__ import annotations

import re

import pytest

from classifier.store import ModelStore
from docs.tables import BENTO, README, RECIPES_PAGE, ROOT, SETTINGS, bento_page, recipes_page, settings_page, written

TEXT = README.read_text(encoding="utf-8")


@pytest.mark.slow  # asks a shipped network
def test_tables_and_answer_are_what_code_and_cards_say():
    assert written(TEXT) == TEXT, "run `make docs`"


def test_the_pages_of_recipes_and_settings_are_what_the_code_says():
    assert BENTO.read_text(encoding="utf-8") == bento_page(), "run `make docs`"
    assert RECIPES_PAGE.read_text(encoding="utf-8") == recipes_page(), "run `make docs`"
    assert SETTINGS.read_text(encoding="utf-8") == settings_page(), "run `make docs`"


def test_the_readme_can_be_read_in_one_go():
    assert len(TEXT.splitlines()) < 150


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_every_link_of_the_readme_leads_somewhere(link: str):
    assert (ROOT / link).exists()


def test_the_readme_begins_with_what_it_is_then_the_two_commands_then_a_request_then_ones_own_images():
    order = ["Train, package and serve", "make serve", "make test", "curl --data-binary", "## Train on your own images"]
    positions = [TEXT.index(mark) for mark in order]
    assert positions == sorted(positions)


def test_the_three_models_are_shipped_at_version_one():
    shipped = ModelStore(ROOT / "models").versions()
    assert {name for name, versions in shipped.items() if 1 in versions} >= {"asl", "cats-vs-dogs", "cifar-10"}


def test_the_locked_requirements_name_no_package_index():
    for path in [ROOT / "pyproject.toml", *sorted((ROOT / "requirements").glob("*.txt"))]:
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text()), path


def test_every_locked_requirement_has_a_version_and_hashes():
    for path in (ROOT / "requirements").glob("*.txt"):
        for entry in re.split(r"\n(?=\S)", path.read_text().strip()):
            assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,-]+\])?==\S+", entry), f"{path}: {entry[:80]}"
            assert "--hash=sha256:" in entry, f"{path}: {entry[:80]}"
