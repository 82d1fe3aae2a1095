"""What people have in their folders, and what `check`, `fit` and `evaluate` make of it."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pytest

from classifier.card import InputSpec, Sample
from classifier.commands.cli import main
from tests.archives import folder_of
from tests.tiny_models import tiny_card
from tests.training.checking.photos import jpeg, photo
from training.checking.check import check
from training.datasets import DatasetError, Folders, open_listing
from training.evaluation.images import read_images
from training.reports.checking.text import lines

SPEC = InputSpec(height=16, width=16, channels=3)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


class Situation(NamedTuple):
    """What lies in the folder `home`, the classes that are found, the images of each split, and what the check says.

    `refused` is why a fit does not take it; empty where it does. `evaluated` are the images of each class that an
    evaluation finds, in the test folder or wherever they lie.
    """

    name: str
    make: Callable[[Path], object]
    classes: tuple[str, ...]
    images: dict[str, int]
    evaluated: dict[str, int]
    says: str = ""
    refused: str = ""


def photos(**counts: int) -> Callable[[Path], Path]:
    """So many photos in each folder; `__` in a folder's name stands for `/`."""

    def make(home: Path) -> Path:
        names = [f"{name.replace('__', '/')}/{n}.jpg" for name, count in counts.items() for n in range(count)]
        return folder_of(home, {name: jpeg(photo(crc32(name.encode()), 40, 32)) for name in names})

    return make


def all_heic(home: Path) -> None:
    folder_of(home, {f"{label}/{n}.heic": HEIC + label.encode() + bytes([n]) for label in "ab" for n in range(3)})


def linked(home: Path) -> None:
    """One class is a link to a folder elsewhere, which holds a link back."""
    photos(a=5)(home)
    elsewhere = photos(c=5)(home.parent / "elsewhere") / "c"
    (home / "b").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(home)


def two_spellings(home: Path) -> None:
    photos(**{"train/café": 4, "train/b": 4})(home)
    photos(**{f"test/{unicodedata.normalize('NFD', 'café')}": 2, "test/b": 2})(home)


def with_empty_class(home: Path) -> None:
    photos(a=5, b=5)(home)
    (home / "c").mkdir()


def junk(home: Path) -> None:
    photos(a=5, b=5)(home)
    names = ("a/.DS_Store", "__MACOSX/a/._0.jpg", "a/._a.jpg", "Thumbs.db", "a/.ipynb_checkpoints/0-checkpoint.jpg")
    folder_of(home, dict.fromkeys(names, b"x"))


THREE = {"train": 4, "validation": 2, "test": 2}
SITUATIONS = [
    Situation(
        "train, valid and test",
        photos(train__a=2, train__b=2, valid__a=1, valid__b=1, test__a=1, test__b=1),
        ("a", "b"),
        THREE,
        {"a": 1, "b": 1},
    ),
    Situation(
        "train, val and test",
        photos(train__a=2, train__b=2, val__a=1, val__b=1, test__a=1, test__b=1),
        ("a", "b"),
        THREE,
        {"a": 1, "b": 1},
    ),
    Situation(
        "200, 2 and 1 images",
        photos(a=200, b=2, c=1),
        ("a", "b", "c"),
        {"all": 203},
        {"a": 200, "b": 2, "c": 1},
        "A class with one image cannot be both learned and tested: c",
        "class b has 2 images, and train, validation, test need one each at least",
    ),
    Situation("one class", photos(a=5), ("a",), {}, {"a": 5}, refused="expected two classes or more, found only a"),
    Situation("an empty class", with_empty_class, ("a", "b"), {}, {"a": 5, "b": 5}, refused="no image in c"),
    Situation(
        "a class that test lacks",
        photos(train__a=4, train__b=4, test__a=2),
        ("a", "b"),
        {},
        {"a": 2},
        refused="the test folder has no images of b",
    ),
    Situation(
        "a class that only test has",
        photos(train__a=4, test__a=2, test__b=2),
        ("a", "b"),
        {},
        {"a": 2, "b": 2},
        refused="the train folder has no images of b",
    ),
    Situation(
        "only HEIC without its reader",
        all_heic,
        ("a", "b"),
        {},
        {},
        "6 files cannot be read",
        "class a has 0 images besides 3 files that are left out",
    ),
    Situation(
        "a link to a class, and links in a circle",
        linked,
        ("a", "b"),
        {},
        {"a": 5, "b": 5},
        "b/round: a link to a folder that it lies in",
    ),
    Situation("both spellings of an accent", two_spellings, ("b", "café"), {}, {"b": 2, "café": 2}),
    Situation("what systems leave behind", junk, ("a", "b"), {}, {"a": 5, "b": 5}),
    Situation(
        "an empty file",
        lambda home: folder_of(photos(a=5, b=5)(home), {"a/0.png": b""}),
        ("a", "b"),
        {},
        {"a": 5, "b": 5},
        "a/0.png: the file is empty",
    ),
    Situation(
        "capitals",
        photos(Cat=4, cat=4),
        ("Cat", "cat"),
        {},
        {"Cat": 4, "cat": 4},
        "'Cat' and 'cat' are taken as 2 classes",
    ),
    Situation(
        "odd names",
        photos(**{"日本": 4, "a [b] #1": 4, "-rf": 4}),
        ("-rf", "a [b] #1", "日本"),
        {},
        {"-rf": 4, "a [b] #1": 4, "日本": 4},
    ),
]


@pytest.fixture(params=SITUATIONS, ids=lambda situation: situation.name)
def situation(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Situation:
    """What lies in the folder `photos`."""
    monkeypatch.setattr("classifier.formats.READS_HEIC", False)
    found: Situation = request.param
    found.make(tmp_path / "photos")
    return found


def test_the_check_says_what_a_person_should_see(situation: Situation, tmp_path: Path) -> None:
    with open_listing(tmp_path / "photos") as listing:
        checked = check(listing)
    assert checked.classes == situation.classes
    assert not situation.images or checked.images == situation.images
    said = "\n".join(lines(checked))
    assert situation.says in said
    assert situation.refused in said
    assert situation.says or not [each for each in checked.findings if each.kind in ("unreadable", "stray")]
    assert situation.refused or "refused" not in {each.kind for each in checked.findings}


def test_a_fit_refuses_what_the_check_says_it_does(situation: Situation, tmp_path: Path) -> None:
    if situation.refused:
        with pytest.raises(DatasetError, match=re.escape(situation.refused)):
            Folders().load(tmp_path / "photos", SPEC)
    else:
        dataset = Folders().load(tmp_path / "photos", SPEC)
        assert dataset.labels == situation.classes
        assert not situation.images or {name: len(split) for name, split in dataset.splits.items()} == situation.images


def test_an_evaluation_finds_each_class_by_its_name_whatever_else_is_missing(
    situation: Situation, tmp_path: Path
) -> None:
    labels = ("another", *reversed(situation.classes))
    card = tiny_card(labels=labels, sample=Sample(label="another", probabilities=(1.0, *(0.0 for _ in labels[1:]))))
    if not situation.evaluated:
        with pytest.raises(DatasetError, match="none of 6 test images decodes: this is a HEIC picture"):
            read_images(tmp_path / "photos", card, "test")
    else:
        found = read_images(tmp_path / "photos", card, "test")
        assert Counter(labels[column] for column in found.images.labels) == situation.evaluated


def test_the_data_are_never_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = photos(a=6, b=6)(tmp_path / "photos")
    for path in [*home.rglob("*"), home]:
        os.utime(path, (1, 1))
    saved = [str(tmp_path / name) for name in ("report.html", "plan.csv")]
    assert main(["check", str(home), "--html", saved[0], "--fix", saved[1], "--features", "none"]) == 0
    assert capsys.readouterr().out.endswith("plan.csv\n")
    assert len(Folders().load(home, SPEC).skipped) == 0
    assert len(read_images(home, tiny_card(), "test").images) == 12
    assert {path.stat().st_mtime for path in [*home.rglob("*"), home]} == {1.0}
    assert sum(path.is_file() for path in home.rglob("*")) == 12


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "json"])
def test_names_that_a_terminal_cannot_show_are_escaped(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    home = folder_of(photos(日本=4, a=4)(tmp_path / "photos"), {"日本/カップ.png": b""})
    assert main(["check", str(home), "--features", "none", *more]) == 0
    assert rb"\u65e5\u672c/\u30ab\u30c3\u30d7.png" in written.getvalue()
