"""Sign Language MNIST: 28x28 grey hands showing 24 letters, as rows of two CSV files.

Rows come from few hands and near-duplicates are many: a random split of one file flatters the accuracy.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from training.datasets.archive import Archive, names_in
from training.datasets.dataset import Dataset, Split
from training.datasets.decoding import prepare_arrays
from training.datasets.listing import Listed, Listing
from training.datasets.sampling import Indices, check_fraction, hold_out, spread
from training.errors import DatasetError
from training.progress import Progress, silent

LABELS = tuple("ABCDEFGHIKLMNOPQRSTUVWXY")  # J and Z are movements, no picture shows them
SIDE = 28
COLUMNS = ("label", *(f"pixel{i}" for i in range(1, SIDE * SIDE + 1)))

_CSV = re.compile(r"(?:[^/]+/)*sign_mnist_(train|test|valid)\.csv")
_J = 9  # in Kaggle's numbering, where A..Z are 0..25; the course's gapless numbering calls K 9
_KAGGLE_Y = 24


class _Rows(NamedTuple):
    file: str
    numbers: Indices  # as they stand in the file, in either numbering
    images: npt.NDArray[np.uint8]  # [n, 28, 28]


@dataclass(frozen=True)
class SignMnist:
    """`sign_mnist_train.csv` and `sign_mnist_test.csv` (Kaggle) or `sign_mnist_valid.csv` (a course), folder or zip.

    Train and validation are a seeded random split of the first file, test is the second; where both second files are
    there, the one called test. Kaggle numbers the letters 0..24 without 9, the course 0..23 without a gap; which it is
    shows in the rows of both files together, and where it does not, that is an error.
    """

    validation_fraction: float = 0.15
    split_seed: int = 0

    @property
    def name(self) -> str:
        return "sign-mnist"

    def __post_init__(self) -> None:
        check_fraction("validation_fraction", self.validation_fraction)

    def recognises(self, path: Path) -> bool:
        return bool(_csv_files(names_in(path)))

    def load(self, path: Path, spec: InputSpec, *, limit: int | None = None, progress: Progress = silent) -> Dataset:
        with Archive(path) as archive:
            parts, columns = self._parts(archive)
        splits = {name: _take(rows, chosen, columns, spec, limit) for name, (rows, chosen) in parts.items()}
        return Dataset(self.name, LABELS, splits)

    def listing(self, archive: Archive) -> Listing:
        parts, columns = self._parts(archive)
        rows = [(split, part, int(i)) for split, (part, chosen) in parts.items() for i in chosen]
        images = tuple(Listed(f"{part.file}:{i + 1}", split, int(columns[part.numbers[i]])) for split, part, i in rows)
        return Listing(self.name, LABELS, images, lambda at: rows[at][1].images[rows[at][2]])

    def _parts(self, archive: Archive) -> tuple[dict[str, tuple[_Rows, Indices]], Indices]:
        """The rows of each split, and the column of each number in the files."""
        train, test = _read_both(archive)
        kept, held = hold_out(len(train.numbers), self.validation_fraction, self.split_seed)
        parts = {"train": (train, kept), "validation": (train, held), "test": (test, np.arange(len(test.numbers)))}
        return parts, _columns(train, test)


def _csv_files(names: Iterable[str]) -> dict[str, str]:
    """Archive names by "train", "test" or "valid". Kaggle's zip holds each file twice; the upper one is read."""
    deepest_first = sorted(names, key=lambda name: -name.count("/"))
    return {match[1]: name for name in deepest_first if (match := _CSV.fullmatch(name))}


def _read_both(archive: Archive) -> tuple[_Rows, _Rows]:
    files = _csv_files(archive.names)
    test = files.get("test") or files.get("valid")
    if "train" not in files or test is None:
        raise DatasetError(
            f"{archive.path}: expected sign_mnist_train.csv and sign_mnist_test.csv (or sign_mnist_valid.csv), "
            f"found {', '.join(sorted(files.values())) or 'neither'}"
        )
    return _read_csv(archive, files["train"]), _read_csv(archive, test)


def _read_csv(archive: Archive, name: str) -> _Rows:
    """Rows count from 1 below the header in what is said of them."""
    header, _, body = archive.read(name).partition(b"\n")
    columns = [column.strip(' "') for column in header.decode("utf-8-sig", "replace").strip().split(",")]
    if columns != list(COLUMNS):
        came = f"{len(columns)} columns, {', '.join(columns[:3])[:60]}, …"
        raise DatasetError(f"{name}: expected the header label,pixel1,…,pixel784 (785 columns), found {came}")
    if not body.strip():
        raise DatasetError(f"{name}: expected rows below the header, found none; the download is incomplete")
    try:
        table = np.loadtxt(io.BytesIO(body), dtype=np.int16, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise DatasetError(f"{name}: expected 785 whole numbers in each row: {_counted_from_1(str(error))}") from error
    return _checked(name, table)


def _counted_from_1(message: str) -> str:
    """numpy's own words; it counts rows from 0 in one message and from 1 in another."""
    if message.startswith("could not convert"):
        message = re.sub(r"at row (\d+)", lambda row: f"at row {int(row[1]) + 1}", message)
    return message.split(";")[0].rstrip(".")


def _checked(name: str, table: npt.NDArray[np.int16]) -> _Rows:
    if table.shape[1] != len(COLUMNS):
        raise DatasetError(f"{name}: row 1: expected {len(COLUMNS)} values, found {table.shape[1]}")
    for allowed, columns, what in ((_KAGGLE_Y, table[:, :1], "label"), (255, table[:, 1:], "pixel")):
        outside = (columns < 0) | (columns > allowed)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            raise DatasetError(f"{name}: row {row + 1}: {what} {columns[row, column]} is not within 0..{allowed}")
    return _Rows(name, table[:, 0].astype(np.int64), table[:, 1:].astype(np.uint8).reshape(-1, SIDE, SIDE))


def _columns(train: _Rows, test: _Rows) -> Indices:
    """The column of each number, found from the numbers that occur in both files together."""
    occurring = {*train.numbers.tolist(), *test.numbers.tolist()}
    if _KAGGLE_Y in occurring and _J in occurring:
        raise DatasetError(
            f"{train.file} and {test.file}: label 24 occurs in Kaggle's numbering only, label 9 in the course's only, "
            "and here are both; take both files from one source"
        )
    if _KAGGLE_Y not in occurring and _J not in occurring:
        raise DatasetError(
            f"{train.file} and {test.file}: neither label 9 nor label 24 occurs, so Kaggle's numbering (no J) and the "
            "course's (without gaps) cannot be distinguished; take the full files"
        )
    numbers = np.arange(_KAGGLE_Y + 1)
    return np.where(numbers > _J, numbers - 1, numbers) if _KAGGLE_Y in occurring else numbers


def _take(rows: _Rows, chosen: Indices, columns: Indices, spec: InputSpec, limit: int | None) -> Split:
    labels = columns[rows.numbers[chosen]]
    picked = spread(labels, limit)
    return Split(prepare_arrays((rows.images[i] for i in chosen[picked]), len(picked), spec), labels[picked])
