"""`training.reports.findings`: what a person sees of a data set before a fit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from training.datasets.dataset import Dataset, Skipped, Split
from training.reports.findings import class_lines, findings, left_out_lines


def dataset(classes: int = 2, skipped: tuple[Skipped, ...] = (), warnings: tuple[str, ...] = ()) -> Dataset:
    labels = np.repeat(np.arange(classes), 3)
    split = Split(np.zeros((len(labels), 1, 1, 3), np.uint8), labels)
    names = tuple(f"class{i}" for i in range(classes))
    return Dataset(
        "photos", names, {"train": split, "test": split.take(np.arange(0, len(labels), 3))}, skipped, warnings
    )


def test_classes_stand_with_their_counts_by_split():
    assert class_lines(dataset()) == ["  class0: 3 train, 1 test", "  class1: 3 train, 1 test"]


def test_many_classes_are_counted():
    lines = class_lines(dataset(classes=120))
    assert len(lines) == 11
    assert lines[-1] == "  and 110 more classes"


def test_ten_files_are_named_and_no_list_is_written(tmp_path: Path):
    skipped = [Skipped(f"cup/{i}.jpg", "damaged") for i in range(10)]
    lines = left_out_lines(skipped, tmp_path / "list.txt")
    assert lines == ["10 files are left out:", *(f"  cup/{i}.jpg: damaged" for i in range(10))]
    assert not (tmp_path / "list.txt").exists()


def test_more_files_are_all_in_a_list(tmp_path: Path):
    skipped = [Skipped(f"cup/{i}.jpg", "damaged") for i in range(25)]
    listing = tmp_path / "new" / "list.txt"
    lines = left_out_lines(skipped, listing)
    assert len(lines) == 12
    assert lines[-1] == f"  and 15 more, all in {listing}"
    assert listing.read_text().splitlines() == [str(each) for each in skipped]


def test_a_name_that_is_not_utf_8_can_be_printed(tmp_path: Path):
    (_, line) = left_out_lines([Skipped(os.fsdecode(b"caf\xe9.jpg"), "damaged")], tmp_path / "list.txt")
    assert line.encode() == b"  caf\\udce9.jpg: damaged"


def test_warnings_stand_between_classes_and_files(tmp_path: Path):
    data = dataset(skipped=(Skipped("x.jpg", "damaged"),), warnings=("'A' and 'a' are taken as 2 classes",))
    lines = findings(data, tmp_path / "list.txt")
    assert lines[0].startswith("photos: train 6, test 2 images; 2 classes")
    assert lines[3:] == ["note: 'A' and 'a' are taken as 2 classes", "1 file is left out:", "  x.jpg: damaged"]


def test_a_clean_data_set_has_no_list(tmp_path: Path):
    assert len(findings(dataset(), tmp_path / "list.txt")) == 3
