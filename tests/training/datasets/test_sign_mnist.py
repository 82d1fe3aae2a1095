"""`training.datasets.sign_mnist`: two CSV files in one of two numberings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.images import from_array
from tests.archives import (
    COURSE_LETTERS,
    KAGGLE_LETTERS,
    cats_vs_dogs_zip,
    folder_of,
    picture,
    sign_mnist_csv,
    sign_mnist_zip,
    zip_of,
)
from training.datasets import DatasetError, SignMnist

SPEC = InputSpec(height=28, width=28, channels=1, contrast="stretch")
READER = SignMnist(validation_fraction=0.4)  # each letter must be in each split, and the tests make few rows
READER_LABELS = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")
KAGGLE = sign_mnist_csv(KAGGLE_LETTERS, 12)
COURSE = sign_mnist_csv(COURSE_LETTERS, 12)


def test_the_labels_are_the_24_letters_a_still_hand_can_show() -> None:
    labels = READER_LABELS
    assert len(labels) == 24
    assert "J" not in labels
    assert "Z" not in labels


def test_kaggles_and_the_courses_numbering_give_the_same_data_set(tmp_path: Path) -> None:
    kaggle = {"sign_mnist_train.csv": KAGGLE, "sign_mnist_test.csv": sign_mnist_csv(KAGGLE_LETTERS, 1)}
    course = {"asl/sign_mnist_train.csv": COURSE, "asl/sign_mnist_valid.csv": sign_mnist_csv(COURSE_LETTERS, 1)}
    one = READER.load(zip_of(tmp_path / "kaggle.zip", kaggle), SPEC)
    other = READER.load(folder_of(tmp_path / "course", course), SPEC)
    assert one.fingerprint == other.fingerprint
    assert {name: len(split) for name, split in one.splits.items()} == {"train": 173, "validation": 115, "test": 24}


def test_a_row_becomes_the_pixels_serving_would_make_of_it(tmp_path: Path) -> None:
    test = READER.load(sign_mnist_zip(tmp_path / "s.zip", 12, 1), SPEC).splits["test"]
    grey = picture(10, 24, 1000, 28).mean(axis=2).astype(np.uint8)
    row = test.labels.tolist().index(READER_LABELS.index("L"))
    assert np.array_equal(test.pixels[row], from_array(grey, SPEC))
    assert (test.pixels[row].min(), test.pixels[row].max()) == (0, 255)


def test_one_file_alone_may_leave_the_numbering_open(tmp_path: Path) -> None:
    few = sign_mnist_csv([n for n in KAGGLE_LETTERS if n != 24], 12)
    files = {"sign_mnist_train.csv": few, "sign_mnist_test.csv": sign_mnist_csv(KAGGLE_LETTERS, 1)}
    with pytest.raises(DatasetError, match="none of Y"):  # the numbering is found; the letter is missed
        READER.load(zip_of(tmp_path / "s.zip", files), SPEC)


def test_two_numberings_in_one_data_set_are_refused(tmp_path: Path) -> None:
    files = {"sign_mnist_train.csv": COURSE, "sign_mnist_test.csv": sign_mnist_csv(KAGGLE_LETTERS, 1)}
    with pytest.raises(DatasetError, match="take both files from one source"):
        READER.load(zip_of(tmp_path / "s.zip", files), SPEC)


def test_rows_that_leave_the_numbering_open_are_refused(tmp_path: Path) -> None:
    open_either_way = sign_mnist_csv([n for n in range(24) if n != 9], 2)
    files = {"sign_mnist_train.csv": open_either_way, "sign_mnist_test.csv": open_either_way}
    with pytest.raises(DatasetError, match="neither label 9 nor label 24 occurs"):
        READER.load(zip_of(tmp_path / "s.zip", files), SPEC)


def test_kaggles_zip_with_each_file_twice_is_read_once(tmp_path: Path) -> None:
    files = {
        "sign_mnist_test/sign_mnist_test.csv": b"the copy",
        "sign_mnist_test.csv": sign_mnist_csv(KAGGLE_LETTERS, 1),
        "sign_mnist_train.csv": KAGGLE,
        "sign_mnist_train/sign_mnist_train.csv": b"the copy",
        "amer_sign2.png": b"",
    }
    assert len(READER.load(zip_of(tmp_path / "s.zip", files), SPEC).splits["test"]) == 24


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "s.zip", {"sign_mnist_train.csv": KAGGLE})
    assert READER.recognises(path)
    with pytest.raises(DatasetError, match=r"found sign_mnist_train\.csv$"):
        READER.load(path, SPEC)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected the header label,pixel1"),
        (b"label,pixel1,pixel2\n3,1,2\n", r"\(785 columns\), found 3 columns, label, pixel1, pixel2"),
        (KAGGLE.replace(b"label,", b"pixel0,", 1), "expected the header"),
        (KAGGLE.split(b"\n")[0] + b"\n", "expected rows below the header"),
        (b"\n".join([*KAGGLE.split(b"\n")[:3], b"3,1,2"]), r"785 to 3 at row 3"),
        (KAGGLE.split(b"\n")[0] + b"\n3,1,2\n", r"row 1: expected 785 values, found 3"),
        (KAGGLE.replace(b"\n1,", b"\nB,", 1), r"could not convert string 'B' to int16 at row 2, column 1"),
        (KAGGLE.replace(b"\n1,", b"\n25,", 1), r"row 2: label 25 is not within 0\.\.24"),
        (KAGGLE.replace(b"\n1,", b"\n1,-1,", 1).replace(b"\n", b"", 0), r"785 to 786 at row 2"),
        (b"\n".join([KAGGLE.split(b"\n")[0], b"3" + b",256" * 784]), r"row 1: pixel 256 is not within 0\.\.255"),
        (b"\n".join([KAGGLE.split(b"\n")[0], b"3" + b",99999" * 784]), r"'99999' to int16 at row 1, column 2"),
    ],
)
def test_a_faulty_file_is_refused_with_its_name_and_row(content: bytes, said: str, tmp_path: Path) -> None:
    files = {"sign_mnist_train.csv": content, "sign_mnist_test.csv": sign_mnist_csv(KAGGLE_LETTERS, 1)}
    with pytest.raises(DatasetError, match=rf"sign_mnist_train\.csv: .*{said}"):
        READER.load(zip_of(tmp_path / "s.zip", files), SPEC)


def test_windows_line_ends_and_quoted_headers_are_read(tmp_path: Path) -> None:
    header, _, rows = KAGGLE.partition(b"\n")
    quoted = b"\xef\xbb\xbf" + b",".join(b'"%s"' % name for name in header.split(b","))
    files = {
        "sign_mnist_train.csv": (quoted + b"\n" + rows).replace(b"\n", b"\r\n"),
        "sign_mnist_test.csv": sign_mnist_csv(KAGGLE_LETTERS, 1),
    }
    assert len(READER.load(zip_of(tmp_path / "s.zip", files), SPEC).splits["train"]) == 173


def test_a_limit_is_spread_over_the_letters(tmp_path: Path) -> None:
    dataset = READER.load(sign_mnist_zip(tmp_path / "s.zip", 12), SPEC, limit=24)
    assert all(sorted(split.labels) == list(range(24)) for split in dataset.splits.values())


def test_other_archives_are_not_recognised(tmp_path: Path) -> None:
    assert not READER.recognises(cats_vs_dogs_zip(tmp_path / "a.zip", 1))


def test_the_real_archive_loads(shared_data: Path) -> None:
    dataset = SignMnist().load(shared_data / "sign-mnist.zip", SPEC)
    sizes = {name: len(split) for name, split in dataset.splits.items()}
    assert sizes == {"train": 4065, "validation": 717, "test": 1195}
