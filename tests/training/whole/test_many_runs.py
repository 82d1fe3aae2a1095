"""A few of the many runs; `python -m tests.training.whole.many_runs` makes all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.commands import COMMANDS
from classifier.commands.cli import load
from tests.training.whole.many_runs import Fault, tried
from tests.training.whole.situations import SITUATIONS, Situation, cups, fit

BY_NAME = {situation.name: situation for situation in SITUATIONS}
FEW = (
    "ten of one class to one of the other",
    "twenty damaged files",
    "recorded and reported",
    "evaluated on fewer photos",
)


def test_there_are_more_than_a_hundred_and_each_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(SITUATIONS) > 100


def test_every_option_of_fit_is_tried() -> None:
    options = {name for parameter in load("fit", COMMANDS["fit"]).params for name in parameter.opts}
    words = {word.split("=")[0] for situation in SITUATIONS for command, _ in situation.commands for word in command}
    assert options - {"--help", "-h", "recipe"} <= words


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_a_run_ends_as_it_should(name: str, tmp_path: Path) -> None:
    tried(BY_NAME[name], tmp_path / "home")


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        Situation("another exit code", cups, [(fit("--limit", "1"), 0)]),
        Situation("another number of versions", cups, [(fit("--limit", "1"), 1)], versions=1),
        Situation("another word", cups, [(fit("--limit", "1"), 1)], versions=0, says="all is well"),
    ],
    ids=lambda situation: situation.name,
)
def test_what_a_run_should_not_do_is_found(wrong: Situation, tmp_path: Path) -> None:
    with pytest.raises(Fault):
        tried(wrong, tmp_path / "home")
