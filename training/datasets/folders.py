"""Anybody's own photos: a folder (or a zip of it) with one sub-folder for each class."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from classifier.card import InputSpec
from training.datasets.archive import Archive, stem_of
from training.datasets.dataset import Dataset, DatasetError, Skipped, Split
from training.datasets.decoding import IMAGE_ENDINGS, LabelledFile, decode_splits
from training.datasets.sampling import check_fraction

LAYOUT = "PHOTOS/CLASS/*.jpg, or PHOTOS/train/CLASS/*.jpg beside PHOTOS/validation/ and PHOTOS/test/"

_SPLIT_OF = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
_ALL = "all"  # where the layout has no split folders

_Classes = dict[str, list[str]]  # image files by class folder, in natural order of the folders


class _Place(NamedTuple):
    split: str
    label: str
    folder: str


class _Layout(NamedTuple):
    splits: dict[str, _Classes]  # by "train", "validation", "test", or _ALL alone; none without an image
    left_out: tuple[Skipped, ...]
    empty: list[str]  # class folders without an image


@dataclass(frozen=True)
class Folders:
    """`CLASS/*.jpg`, or `train/CLASS/*.jpg` beside `validation/` (`valid/`, `val/`) and `test/`; folder, zip or tar.

    Without split folders each class is dealt out at random by seed, so that every class is in every split. A
    validation or test folder that is missing is split off train in the same way. A fraction is of the images dealt
    out; one image at least goes to each split.

    Labels are the folders' names in natural order (`class2` before `class10`). Sub-folders of a class belong to it.
    What does not decode, lies in no class folder, or is a byte-for-byte copy is left out and named in
    `Dataset.skipped`; a copy stays in test rather than in validation, there rather than in train.
    """

    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    split_seed: int = 0

    @property
    def name(self) -> str:
        return "folders"

    def __post_init__(self) -> None:
        check_fraction("validation_fraction", self.validation_fraction)
        check_fraction("test_fraction", self.test_fraction)
        check_fraction("validation_fraction + test_fraction", self.validation_fraction + self.test_fraction)

    def recognises(self, path: Path) -> bool:
        try:
            with Archive(path) as archive:
                return bool(_layout(archive).splits)
        except DatasetError:
            return False

    def load(self, path: Path, spec: InputSpec, *, limit: int | None = None) -> Dataset:
        with Archive(path) as archive:
            layout = _layout(archive)
            labels = _labels(path, layout)
            plan = {name: list(_files(classes, labels)) for name, classes in self._deal(path, layout.splits).items()}
            splits, skipped = decode_splits(archive, plan, spec, limit, drop_copies=True)
        return Dataset(stem_of(path), labels, splits, (*layout.left_out, *skipped))

    def _deal(self, path: Path, given: Mapping[str, _Classes]) -> dict[str, _Classes]:
        """The three splits: those that are given, and the others dealt out of train."""
        fractions = {"validation": self.validation_fraction, "test": self.test_fraction}
        missing = {name: fraction for name, fraction in fractions.items() if name not in given}
        dealt: dict[str, _Classes] = {name: {} for name in ("train", *missing)}
        seeded = np.random.default_rng(self.split_seed)
        for label, files in (given.get(_ALL) or given["train"]).items():
            if len(files) < len(dealt):
                raise DatasetError(
                    f"{path}: class {label} has {len(files)} images, and {', '.join(dealt)} need one each at least; "
                    "add photos or remove the class"
                )
            shuffled = [files[i] for i in seeded.permutation(len(files))]
            for name, fraction in missing.items():
                count = min(max(1, round(len(files) * fraction)), len(shuffled) - 1)
                dealt[name][label], shuffled = sorted(shuffled[:count]), shuffled[count:]
            dealt["train"][label] = sorted(shuffled)
        return {name: dealt.get(name) or given[name] for name in ("train", "validation", "test")}


class ClassFolders(NamedTuple):
    """Images as they lie in class folders: their labels count within `labels`, which may be one only.

    `split` is "all" where there are no split folders.
    """

    name: str
    labels: tuple[str, ...]
    split: str
    images: Split
    skipped: tuple[Skipped, ...]


def read_class_folders(path: Path, spec: InputSpec, split: str) -> ClassFolders:
    """Every image of one split folder, or of all where there are none; nothing is dealt out or asked to be complete.

    Raises DatasetError.
    """
    with Archive(path) as archive:
        splits, left_out, _ = _layout(archive)
        found = split if split in splits else _ALL
        if found not in splits:
            there = f"it has {', '.join(splits)}" if splits else f"layout: {LAYOUT}"
            raise DatasetError(f"{path}: found no images in class folders below {split}/; {there}")
        labels = tuple(sorted(splits[found], key=_natural))
        plan = {"test": list(_files(splits[found], labels))}
        decoded, skipped = decode_splits(archive, plan, spec, limit=None)
    return ClassFolders(stem_of(path), labels, found, decoded["test"], (*left_out, *skipped))


def _layout(archive: Archive) -> _Layout:
    images = {name for name in archive.names if name.lower().endswith(IMAGE_ENDINGS)}
    top = _folder_on_top(images)
    split_of = _split_folders({name.removeprefix(top).partition("/")[0] for name in images if "/" in name})
    splits: dict[str, _Classes] = defaultdict(lambda: defaultdict(list))
    left_out, places = [], set()
    for name in (*archive.names, *archive.folders):
        place = _place(name, top, split_of)
        places.add(place)
        if place and name in images:
            splits[place.split][place.label].append(name)
        elif name in images:
            left_out.append(Skipped(name, "lies in no class folder"))
        elif place and not name.endswith("/"):
            left_out.append(Skipped(name, "no image by its name"))
    empty = sorted(top + place.folder for place in places if place and place.label not in splits[place.split])
    return _Layout({split: classes for split, classes in splits.items() if classes}, tuple(left_out), empty)


def _folder_on_top(images: Iterable[str]) -> str:
    """`photos/` where all images lie in `photos/CLASS/` or `photos/train/CLASS/`, else nothing."""
    tops = {name.partition("/")[0] for name in images if "/" in name}
    deep = any(name.count("/") > 1 for name in images)
    return f"{tops.pop()}/" if deep and len(tops) == 1 and not tops & _SPLIT_OF.keys() else ""


def _split_folders(tops: set[str]) -> dict[str, str]:
    """The split each top folder stands for; empty where the top folders are classes.

    One class may well be called "train"; only beside a validation or test folder, or alone, is it a split.
    """
    split_of = {top: _SPLIT_OF[top.lower()] for top in tops if top.lower() in _SPLIT_OF}
    nothing_else = len(split_of) == len(tops)
    return split_of if nothing_else or {"train"} < set(split_of.values()) else {}


def _place(name: str, top: str, split_of: Mapping[str, str]) -> _Place | None:
    """Where a file or folder belongs, if to any class."""
    *folders, _ = name.removeprefix(top).split("/")
    if not name.startswith(top) or len(folders) < (2 if split_of else 1):
        return None
    if not split_of:
        return _Place(_ALL, folders[0], folders[0])
    return _Place(split_of[folders[0]], folders[1], "/".join(folders[:2])) if folders[0] in split_of else None


def _labels(path: Path, layout: _Layout) -> tuple[str, ...]:
    """The classes in column order. Raises DatasetError where they are fewer than two or not the same in each split."""
    splits = layout.splits
    if not splits:
        raise DatasetError(f"{path}: expected images in class folders, found none; layout: {LAYOUT}")
    if layout.empty:
        raise DatasetError(f"{path}: no image in {', '.join(layout.empty)}; put some there or remove the folder")
    if not splits.keys() & {_ALL, "train"}:
        raise DatasetError(f"{path}: expected a train/ folder beside {', '.join(splits)}/; layout: {LAYOUT}")
    labels = sorted({label for classes in splits.values() for label in classes}, key=_natural)
    if len(labels) < 2:
        raise DatasetError(f"{path}: expected two classes or more, found only {', '.join(labels)}; layout: {LAYOUT}")
    for split, classes in splits.items():
        if missing := [label for label in labels if label not in classes]:
            raise DatasetError(
                f"{path}: the {split} folder has no images of {', '.join(missing)}; every class needs some"
            )
    return tuple(labels)


def _natural(label: str) -> list[tuple[int, str]]:
    """`class2` before `class10`, and no matter of capitals."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", label.casefold())]


def _files(classes: _Classes, labels: Sequence[str]) -> Iterator[LabelledFile]:
    for column, label in enumerate(labels):
        for name in classes[label]:
            yield LabelledFile(name, column)
