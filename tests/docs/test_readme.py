"""The README tells the truth: its tables come from code and cards, its commands exist."""

from __future__ import annotations

import re
import shlex

import pytest

from classifier import commands
from classifier.commands.cli import load
from classifier.store import ModelStore
from docs.tables import BENTO, README, RECIPES_PAGE, ROOT, SETTINGS, bento_page, recipes_page, settings_page, written
from training.__main__ import COMMANDS as TRAINING_COMMANDS

TEXT = README.read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]


def test_tables_and_answer_are_what_code_and_cards_say():
    assert written(TEXT) == TEXT, "run `make docs`"


def test_the_pages_of_recipes_and_settings_are_what_the_code_says():
    assert BENTO.read_text(encoding="utf-8") == bento_page(), "run `make docs`"
    assert RECIPES_PAGE.read_text(encoding="utf-8") == recipes_page(), "run `make docs`"
    assert SETTINGS.read_text(encoding="utf-8") == settings_page(), "run `make docs`"


def test_the_readme_can_be_read_in_one_go():
    assert len(TEXT.splitlines()) < 150


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_every_make_target_of_the_readme_exists(command: str):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert command.split()[1] in targets


@pytest.mark.parametrize("command", [c for c in COMMANDS if re.search(r"sightline |-m (training|classifier) ", c)])
def test_every_command_of_the_readme_is_understood(command: str):
    name, *rest = shlex.split(re.split(r"sightline |-m (?:training|classifier) ", command)[1])
    known = TRAINING_COMMANDS if " -m training " in command else commands.COMMANDS
    load(name, known[name]).make_context(name, rest)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", TEXT))
def test_every_link_of_the_readme_leads_somewhere(link: str):
    assert (ROOT / link).exists()


def test_the_readme_begins_with_what_it_is_then_the_two_commands_then_a_request_then_ones_own_images():
    order = ["Train, package and serve", "make serve", "make test", "curl --data-binary", "## Train on your own images"]
    places = [TEXT.index(mark) for mark in order]
    assert places == sorted(places)


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
