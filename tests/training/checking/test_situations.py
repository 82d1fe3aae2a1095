"""What people have in their folders, and what the check says of it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from classifier.commands.cli import main
from tests.archives import folder_of
from tests.training.checking.photos import jpeg, photo
from training.checking.check import check
from training.datasets import open_listing
from training.reports.checking.text import lines

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


class Situation(NamedTuple):
    """What lies in the folder `home`, the classes that are found, the images of each split, and what is said."""

    name: str
    make: Callable[[Path], object]
    classes: tuple[str, ...]
    images: dict[str, int]
    says: str = ""


def photos(**counts: int) -> Callable[[Path], Path]:
    """So many photos in each folder; `__` in a folder's name stands for `/`."""

    def make(home: Path) -> Path:
        names = [f"{name.replace('__', '/')}/{n}.jpg" for name, count in counts.items() for n in range(count)]
        return folder_of(home, {name: jpeg(photo(seed, 40, 32)) for seed, name in enumerate(names)})

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
    ),
    Situation(
        "train, val and test",
        photos(train__a=2, train__b=2, val__a=1, val__b=1, test__a=1, test__b=1),
        ("a", "b"),
        THREE,
    ),
    Situation(
        "200, 2 and 1 images",
        photos(a=200, b=2, c=1),
        ("a", "b", "c"),
        {"all": 203},
        "A class with one image cannot be both learned and tested: c",
    ),
    Situation("one class", photos(a=5), ("a",), {}, "expected two classes or more, found only a"),
    Situation("an empty class", with_empty_class, ("a", "b"), {}, "no image in c"),
    Situation(
        "a class that test lacks",
        photos(train__a=4, train__b=4, test__a=2),
        ("a", "b"),
        {},
        "the test folder has no images of b",
    ),
    Situation(
        "a class that only test has",
        photos(train__a=4, test__a=2, test__b=2),
        ("a", "b"),
        {},
        "the train folder has no images of b",
    ),
    Situation("only HEIC without its reader", all_heic, ("a", "b"), {}, "6 files cannot be read"),
    Situation("a link to a class, and links in a circle", linked, ("a", "b"), {}, "round"),
    Situation("both spellings of an accent", two_spellings, ("b", "café"), {}, ""),
    Situation("what systems leave behind", junk, ("a", "b"), {}, ""),
    Situation(
        "an empty file",
        lambda home: folder_of(photos(a=5, b=5)(home), {"a/0.png": b""}),
        ("a", "b"),
        {},
        "a/0.png: the file is empty",
    ),
    Situation("capitals", photos(Cat=4, cat=4), ("Cat", "cat"), {}, "'Cat' and 'cat' are taken as 2 classes"),
    Situation("odd names", photos(**{"日本": 4, "a [b] #1": 4, "-rf": 4}), ("-rf", "a [b] #1", "日本"), {}, ""),
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_the_check_says_what_a_person_should_see(
    situation: Situation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifier.formats.READS_HEIC", False)
    home = tmp_path / "photos"
    situation.make(home)
    with open_listing(home) as listing:
        checked = check(listing)
    assert checked.classes == situation.classes
    assert not situation.images or checked.images == situation.images
    assert situation.says in "\n".join(lines(checked))
    assert situation.says or not [each for each in checked.findings if each.kind in ("refused", "unreadable", "stray")]


def test_the_data_are_never_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = photos(a=6, b=6)(tmp_path / "photos")
    for path in [*home.rglob("*"), home]:
        os.utime(path, (1, 1))
    saved = [str(tmp_path / name) for name in ("report.html", "plan.csv")]
    assert main(["check", str(home), "--html", saved[0], "--fix", saved[1], "--features", "none"]) == 0
    assert {path.stat().st_mtime for path in [*home.rglob("*"), home]} == {1.0}
    assert sum(path.is_file() for path in home.rglob("*")) == 12
    assert capsys.readouterr().out.endswith("plan.csv\n")
