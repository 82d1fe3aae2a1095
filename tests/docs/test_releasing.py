"""docs/releasing.md: its commands do what it says; those that need a server are in tests/e2e/packaging/test_docs.py."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from classifier import rollout_file
from classifier.commands.cli import main
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.training.tiny_backbone import on_tiny, optimizer
from training.recipes import FOR_ANY_IMAGES
from training.releasing.policy import Policy

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
SIGHTLINE = ".venv/bin/sightline "


def blocks_below(heading: str) -> list[list[str]]:
    """The arguments of each `sightline` command in the sections from this heading up to the one after."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)).splitlines()
    return [shlex.split(line.removeprefix(SIGHTLINE), comments=True) for line in lines if line.startswith(SIGHTLINE)]


@pytest.mark.parametrize("key", Policy.model_fields)
def test_every_key_of_the_policy_has_a_row_with_its_default(key: str) -> None:
    default = Policy.model_fields[key].default
    shown = "none" if default is None else json.dumps(default)
    assert re.search(rf"^\| `{key}` \| {re.escape(shown)} \|", TEXT, flags=re.MULTILINE)


def test_no_section_has_commands_that_no_test_runs() -> None:
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert [heading for heading, text in sections if "```sh" in text] == [
        "From photos to a release",
        "What is refused",
        "To all of the traffic, and back",
        "Without a restart",
        "Whether pictures change",
    ]


@pytest.mark.slow
def test_the_commands_lead_from_photos_to_a_released_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGHTLINE_MODELS", raising=False)
    small = replace(on_tiny(), epochs=40, optimizer=optimizer)  # EfficientNet takes two minutes for the same
    monkeypatch.setitem(FOR_ANY_IMAGES, small.name, small)
    commands = blocks_below("From photos to a release")
    assert [command[0] for command in commands] == ["fit", "evaluate", "release", "fit", "compare", "release"]
    photo_folders(tmp_path / "my_photos", per_class=40)
    for number, command in enumerate(commands):
        if number == 3:  # new photos have come
            photo_folders(tmp_path / "my_photos", per_class=60)
        assert main(command) == 0, command
    assert rollout_file.read(Path("models"))["my-photos"].stable == 2
    record = ModelStore(Path("models")).card("my-photos").released
    assert record is not None
    assert record.compared_with == 1
    assert Path("compare.html").is_file()
    (forced,) = blocks_below("What is refused")
    assert main(forced) == 0
    *_, expect = blocks_below("Whether pictures change")
    assert main(expect) == 0
    assert ModelStore(Path("models")).card("my-photos").expected is not None
