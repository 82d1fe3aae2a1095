"""Copies are found, pictures that are different are not, and what a copy means follows from where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from tests.archives import folder_of
from tests.training.checking.photos import COPIES, folder_files, jpeg, photo, png
from training.checking.check import Checked, check, check_decoded
from training.checking.finding import Finding
from training.datasets import Folders, open_listing


def checked(path: Path) -> Checked:
    with open_listing(path) as listing:
        return check(listing)


def found(path: Path, kind: str) -> list[Finding]:
    return [each for each in checked(path).findings if each.kind == kind]


@pytest.fixture(scope="module")
def clean() -> dict[str, bytes]:
    """60 photos, in splits of a folder each."""
    files = {}
    for at, split in enumerate(("train", "validation", "test")):
        numbers = folder_files({"cup": range(100 * at, 100 * at + 10), "plate": range(100 * at + 50, 100 * at + 60)})
        files |= {f"{split}/{name}": body for name, body in numbers.items()}
    return files


def test_nothing_is_said_of_clean_photos(tmp_path: Path, clean: dict[str, bytes]) -> None:
    assert not {"leak", "conflict", "copies", "near-copies"} & {
        each.kind for each in checked(folder_of(tmp_path / "photos", clean)).findings
    }


@pytest.mark.parametrize("kind", COPIES)
def test_a_photo_of_train_that_is_in_test_again_is_a_leak(tmp_path: Path, clean: dict[str, bytes], kind: str) -> None:
    rng = np.random.default_rng(0)
    copies = {f"test/cup/copy-{n}.jpg": COPIES[kind](photo(n), rng) for n in range(10)}
    (leak,) = found(folder_of(tmp_path / "photos", clean | copies), "leak")
    assert {case.files for case in leak.cases} == {(f"test/cup/copy-{n}.jpg", f"train/cup/{n}.jpg") for n in range(10)}
    assert (leak.severity, leak.images) == ("problem", 10)
    assert "10 of 30 test images are in train or validation too (33.3%)" in leak.title


def test_the_same_pixels_are_known_in_another_format_too(tmp_path: Path, clean: dict[str, bytes]) -> None:
    lossless = {"train/cup/a.png": png(photo(7_000)), "test/cup/b.bmp": b""}
    image = photo(7_000)
    image.save(bmp := tmp_path / "b.bmp")
    lossless["test/cup/b.bmp"] = bmp.read_bytes()
    (leak,) = found(folder_of(tmp_path / "photos", clean | lossless), "leak")
    assert leak.title.endswith("1 of them pixel for pixel") or leak.title.endswith("(4.8%)")
    assert [case.said for case in leak.cases] == ["test and train: the same pixels"]


def test_one_photo_under_two_labels_is_a_conflict(tmp_path: Path) -> None:
    files = folder_files({"cup": range(10), "plate": range(50, 60)})
    files["plate/stray.jpg"] = files["cup/3.jpg"]
    files["cup/almost.jpg"] = jpeg(photo(55), quality=50)
    exact, near = found(folder_of(tmp_path / "photos", files), "conflict")
    assert (exact.severity, near.severity) == ("problem", "warning")
    assert [case.files for case in exact.cases] == [("cup/3.jpg", "plate/stray.jpg")]
    assert [case.files for case in near.cases] == [("cup/almost.jpg", "plate/55.jpg")]
    assert near.cases[0].said == "cup and plate: nearly the same"


def test_copies_within_a_class_are_only_noted(tmp_path: Path, clean: dict[str, bytes]) -> None:
    files = clean | {f"train/cup/again-{n}.jpg": clean["train/cup/0.jpg"] for n in range(3)}
    (copies,) = found(folder_of(tmp_path / "photos", files), "copies")
    assert copies.severity == "note"
    assert copies.images == 3
    assert copies.cases[0].files[0] == "train/cup/0.jpg"


def test_photos_without_splits_are_dealt_as_a_fit_deals_them(tmp_path: Path) -> None:
    files = folder_files({"cup": range(30), "plate": range(50, 80)})
    files |= {f"cup/again-{n}.jpg": jpeg(photo(n), quality=60) for n in range(30)}
    path = folder_of(tmp_path / "photos", files)
    fitted = Folders().load(path, InputSpec(height=64, width=64, channels=3))
    result = checked(path)
    assert result.images == {name: len(split) for name, split in fitted.splits.items()}
    assert [each.kind for each in result.findings if each.severity == "problem"] == []  # near copies share a split
    (copies,) = [each for each in result.findings if each.kind == "near-copies"]
    assert copies.images == 30


def test_a_fit_finds_no_copies_across_the_splits_that_it_dealt(tmp_path: Path) -> None:
    files = folder_files({"cup": range(30), "plate": range(50, 80)})
    files |= {f"plate/again-{n}.jpg": jpeg(photo(n), quality=60) for n in range(50, 80)}
    dataset = Folders().load(folder_of(tmp_path / "photos", files), InputSpec(height=48, width=48, channels=3))
    assert check_decoded(dataset).record.leaked == {}


def test_a_class_of_one_scene_is_dealt_image_by_image_and_that_is_said(tmp_path: Path) -> None:
    files = folder_files({"plate": range(50, 80)}) | {f"cup/{n}.jpg": jpeg(photo(0), 60 + n) for n in range(30)}
    kinds = [each.kind for each in checked(folder_of(tmp_path / "photos", files)).findings]
    assert kinds[:2] == ["leak", "leak"]


def test_things_on_one_table_are_told_apart(tmp_path: Path) -> None:
    files = {}
    for label, start in (("cup", 0), ("plate", 500)):
        for n in range(8):
            table = photo(9_999)
            table.paste(photo(start + n, 45, 40), (25, 15))
            files[f"{label}/{n}.jpg"] = jpeg(table)
    assert not {"leak", "conflict", "near-copies"} & {
        each.kind for each in checked(folder_of(tmp_path / "photos", files)).findings
    }


def test_pictures_of_one_colour_are_no_copies_of_each_other(tmp_path: Path) -> None:
    files = folder_files({"cup": range(5), "plate": range(50, 55)})
    for n in range(3):
        image = photo(0)
        image.paste((250 - n, 250, 250), (0, 0, *image.size))
        files[f"cup/blank-{n}.png"] = png(image)
    result = checked(folder_of(tmp_path / "photos", files))
    assert [each.title for each in result.findings if each.kind == "blank"] == [
        "3 files show one colour and nothing else"
    ]
    assert not [each for each in result.findings if each.kind in ("leak", "near-copies")]
