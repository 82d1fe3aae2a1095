"""Promises of `training.reports.mistakes`: every mistake is listed, and the surest are shown."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from classifier.card import InputSpec
from tests.archives import photo_folders
from training.datasets.dataset import Split
from training.datasets.folders import Folders
from training.evaluation.scores import Evaluation
from training.reports.mistakes import LISTING, SHEET, SHOWN, mistakes_of, write_mistakes

LABELS = ("cup", "plate")


def answered(*rows: tuple[str, int, float], channels: int = 3) -> tuple[Split, Evaluation]:
    """A split of files with true columns, and the probability that the network gives to `plate`."""
    files, labels, plates = zip(*rows, strict=True)
    split = Split(np.zeros((len(rows), 8, 8, channels), np.uint8), np.array(labels), tuple(files))
    probabilities = np.array([[1 - plate, plate] for plate in plates], np.float32)
    return split, Evaluation(probabilities, np.array(labels))


def test_mistakes_come_with_the_surest_first_and_right_answers_not_at_all() -> None:
    split, answers = answered(("a.jpg", 0, 0.7), ("b.jpg", 0, 0.1), ("c.jpg", 1, 0.04), ("d.jpg", 1, 0.9))
    found = mistakes_of(split, answers, LABELS)
    assert [each[1:] for each in found] == [("c.jpg", "plate", "cup", 0.96), ("a.jpg", "cup", "plate", 0.7)]


def test_mistakes_have_the_probabilities_that_are_served_once_the_network_is_calibrated() -> None:
    split, answers = answered(("a.jpg", 0, 0.9), ("b.jpg", 1, 0.9))
    (found,) = mistakes_of(split, answers, LABELS, temperature=2.0)
    assert found.probability == 0.75  # odds of 9 to 1 become 3 to 1


def test_images_without_names_give_no_list() -> None:
    split, answers = answered(("a.jpg", 0, 0.7))
    assert mistakes_of(Split(split.pixels, split.labels), answers, LABELS) == []


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_the_list_has_all_mistakes_and_the_sheet_is_a_picture(channels: int, tmp_path: Path) -> None:
    rows = [(f"cup/日本 $ {n:03}\udce9.jpg", 0, 0.6 + n / 100) for n in range(SHOWN + 3)]
    split, answers = answered(*rows, channels=channels)
    write_mistakes(mistakes_of(split, answers, LABELS), split, tmp_path / "cups-1", "cups: test")
    with (tmp_path / "cups-1" / LISTING).open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == SHOWN + 3
    assert listed[0] == {
        "file": f"cup/日本 $ {SHOWN + 2:03}\\udce9.jpg",
        "true": "cup",
        "predicted": "plate",
        "probability": "0.82",
    }
    with Image.open(tmp_path / "cups-1" / SHEET) as picture:
        assert picture.width > 5 * 200


def test_ones_own_photos_keep_their_names_in_every_split(tmp_path: Path) -> None:
    photos = photo_folders(tmp_path / "photos", LABELS, per_class=10)
    (photos / "cup" / "broken.jpg").write_bytes(b"no image")
    splits = Folders().load(photos, InputSpec(height=8, width=8, channels=3)).splits
    named = [name for split in splits.values() for name in split.files or ()]
    assert sorted(named) == sorted(
        path.relative_to(photos).as_posix() for path in photos.glob("*/*") if path.name != "broken.jpg"
    )
    for split in splits.values():
        assert [name.split("/")[0] for name in split.files or ()] == [LABELS[column] for column in split.labels]
        assert split.take(np.array([1])).files == (split.files or ())[1:2]
