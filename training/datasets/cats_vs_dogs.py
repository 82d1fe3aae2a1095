"""Cats vs. Dogs: photos of two kinds, numbered within each; the articles' subsets are ranges of these numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from classifier.card import InputSpec
from training.datasets.archive import ONE_FOLDER_ON_TOP, Archive, names_in
from training.datasets.dataset import Dataset
from training.datasets.decoding import LabelledFile, decode_splits
from training.datasets.listing import Listed, Listing
from training.errors import DatasetError
from training.progress import Progress, silent

LABELS = ("cat", "dog")

_KAGGLE = re.compile(rf"(?:{ONE_FOLDER_ON_TOP}train/)?(cat|dog)\.(\d+)\.jpg")
_MICROSOFT = re.compile(rf"(?:{ONE_FOLDER_ON_TOP}PetImages/)?(Cat|Dog)/(\d+)\.jpg")

_Numbered = dict[tuple[str, int], str]  # ("cat", 17) -> the file's name in the archive


@dataclass(frozen=True)
class CatsVsDogs:
    """Kaggle's `train/cat.N.jpg` or Microsoft's `PetImages/Cat/N.jpg`, in a folder or zip.

    Each range holds numbers N of *each* class; an empty `test` makes a data set without that split. Kaggle numbers
    0..12499 are all readable. About 60 of Microsoft's files are empty or no images (`Cat/666.jpg`, `Dog/11702.jpg`):
    they are skipped, so a range that holds some gives fewer images than its length; `Dataset.skipped` names them.

    A range with files missing is an error. With a `limit` it is one only where too few are left to reach the limit.
    """

    train: range
    validation: range
    test: range

    @property
    def name(self) -> str:
        return "cats-vs-dogs"

    def __post_init__(self) -> None:
        if not self.train or not self.validation:
            raise DatasetError(f"expected numbers to train on and to validate on, got {self.train}, {self.validation}")
        for (one, numbers), (other, others) in combinations(self._ranges(), 2):
            if shared := set(numbers) & set(others):
                raise DatasetError(f"number {min(shared)} is in both {one} and {other}; no image may be in two splits")

    def recognises(self, path: Path) -> bool:
        return {kind for kind, _ in _numbered(names_in(path))} == set(LABELS)

    def load(self, path: Path, spec: InputSpec, *, limit: int | None = None, progress: Progress = silent) -> Dataset:
        with Archive(path) as archive:
            numbered = _numbered(archive.names)
            for split, numbers in self._ranges():
                _check_range(path, numbered, split, numbers, limit)
            plan = {split: list(_files(numbered, numbers)) for split, numbers in self._ranges()}
            splits, skipped = decode_splits(archive, plan, spec, limit, progress=progress)
        return Dataset(self.name, LABELS, splits, skipped)

    def listing(self, archive: Archive) -> Listing:
        numbered = _numbered(archive.names)
        images = tuple(
            Listed(file.name, split, file.label)
            for split, numbers in self._ranges()
            for file in _files(numbered, numbers)
        )
        return Listing(self.name, LABELS, images, lambda i: archive.read(images[i].name))

    def _ranges(self) -> list[tuple[str, range]]:
        named = (("train", self.train), ("validation", self.validation), ("test", self.test))
        return [(split, numbers) for split, numbers in named if numbers]


def _numbered(names: Iterable[str]) -> _Numbered:
    matches = ((name, _KAGGLE.fullmatch(name) or _MICROSOFT.fullmatch(name)) for name in names)
    return {(match[1].lower(), int(match[2])): name for name, match in matches if match}


def _check_range(path: Path, numbered: _Numbered, split: str, numbers: range, limit: int | None) -> None:
    expected = len(numbers) if limit is None else min(len(numbers), -(-limit // len(LABELS)))
    for kind in LABELS:
        found = sum((kind, number) in numbered for number in numbers)
        if found < expected:
            raise DatasetError(
                f"{path}: expected {expected:,} {kind}s numbered {numbers[0]} to {numbers[-1]} for {split}, "
                f"found {found:,}; get the full archive, or choose ranges it holds"
            )


def _files(numbered: _Numbered, numbers: range) -> Iterator[LabelledFile]:
    for label, kind in enumerate(LABELS):
        for number in numbers:
            if (kind, number) in numbered:
                yield LabelledFile(numbered[kind, number], label)
