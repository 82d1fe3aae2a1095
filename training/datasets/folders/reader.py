"""Reads class folders: into the splits of a data set, or as they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classifier.card import InputSpec
from training.datasets.archive import Archive, stem_of
from training.datasets.dataset import Dataset, Skipped, Split
from training.datasets.decoding import LabelledFile, decode_splits
from training.datasets.folders.assignment import Digest
from training.datasets.folders.contents import PlacedFile, read_digests, without_repetitions
from training.datasets.folders.dealing import Dealer
from training.datasets.folders.foreign_formats import format_by_name
from training.datasets.folders.labels import in_order, lookalikes
from training.datasets.folders.layout import ALL, LAYOUT, Layout, labels_of, read_layout
from training.datasets.listing import Leaders, Listed, Listing
from training.datasets.sampling import check_fraction
from training.errors import DatasetError
from training.progress import Progress, silent


@dataclass(frozen=True)
class Folders:
    """`CLASS/*.jpg`, or `train/CLASS/*.jpg` beside `validation/` (`valid`, `val`, `dev`, `eval`) and `test/`.

    Without split folders, `assign` says from its content which split each image belongs to; near copies share one. A
    validation or test folder that is missing is split off train in the same way. A fraction is the part of the images
    that is expected there; every class has one image at least in every split. With a limit only the images that it
    takes are compared.

    Labels are the folders' names in natural order (`class2` before `class10`). Sub-folders of a class belong to it.
    What does not decode, lies in no class folder, or is a copy is left out and named in `Dataset.skipped`; a copy stays
    in test rather than in validation, there rather than in train. One image under two labels is an error, or with
    `drop_conflicts` left out too. The order of images follows from their contents.
    """

    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    split_seed: int = 0
    drop_conflicts: bool = False

    @property
    def name(self) -> str:
        return "folders"

    def __post_init__(self) -> None:
        check_fraction("validation_fraction", self.validation_fraction)
        check_fraction("test_fraction", self.test_fraction)
        check_fraction("validation_fraction + test_fraction", self.validation_fraction + self.test_fraction)

    def recognises(self, path: Path) -> bool:
        """Whether any picture lies in a class folder, be it of a format or a layout that `load` then refuses."""
        try:
            with Archive(path) as archive:
                try:
                    layout = read_layout(archive)
                except DatasetError:
                    return True
                return bool(layout.files) or any("/" in f.file and format_by_name(f.file) for f in layout.left_out)
        except DatasetError:
            return False

    def load(self, path: Path, spec: InputSpec, *, limit: int | None = None, progress: Progress = silent) -> Dataset:
        with Archive(path) as archive:
            layout = read_layout(archive)
            labels = labels_of(path, layout)
            digests, unreadable = read_digests(archive, layout.files, progress)
            readable = [file for file in layout.files if file.name in digests]
            files, repeated = without_repetitions(readable, digests, self.drop_conflicts)
            left_out = [*layout.left_out, *unreadable, *repeated]
            dealer = self._dealer(path, layout, digests, (*unreadable, *repeated))
            splits, damaged = _decode(archive, files, dealer, spec, limit, progress)
            splits = dealer.together(splits, files, limit, progress)
        return Dataset(stem_of(path), labels, splits, (*left_out, *damaged), lookalikes(labels))

    def listing(self, archive: Archive) -> Listing:
        """Every image in a class folder, also of folders that `load` refuses; then `refused` says why."""
        layout = read_layout(archive)
        labels = in_order(file.label for file in layout.files)
        images = tuple(Listed(file.name, file.split, labels.index(file.label)) for file in layout.files)
        return Listing(
            stem_of(archive.path),
            labels,
            images,
            read=lambda i: archive.read(images[i].name),
            left_out=layout.left_out,
            warnings=lookalikes(labels),
            refused=_why_refused(archive.path, layout),
            deal=lambda *known: self._dealt(archive.path, layout, *known),
        )

    def _dealt(
        self,
        path: Path,
        layout: Layout,
        listed: Sequence[Listed],
        digests: Mapping[int, Digest],
        near_copies: Leaders,
    ) -> list[str]:
        """The split of each image, as `load` deals them; copies go where the one that is kept goes."""
        known = {listed[i].name: digest for i, digest in digests.items()}
        files, _ = without_repetitions([f for f in layout.files if f.name in known], known, drop_conflicts=True)
        try:
            plan = self._dealer(path, layout, known).plan(files, near_copies=near_copies)
        except DatasetError as error:
            raise DatasetError(_reason(path, error)) from None
        dealt = {known[file.name]: split for split, chosen in plan.items() for file in chosen}
        given = {image.split for image in listed} - {ALL}
        return [
            split if image.split == ALL or (image.split == "train" and split not in given) else image.split
            for i, image in enumerate(listed)
            for split in [dealt.get(digests.get(i, b""), image.split)]
        ]

    def _dealer(
        self, path: Path, layout: Layout, digests: Mapping[str, Digest], left_out: Sequence[Skipped] = ()
    ) -> Dealer:
        fractions = {"test": self.test_fraction, "validation": self.validation_fraction}
        return Dealer(path, layout.files, digests, fractions, self.split_seed, left_out)


def _decode(
    archive: Archive,
    files: Sequence[PlacedFile],
    dealer: Dealer,
    spec: InputSpec,
    limit: int | None,
    progress: Progress,
) -> tuple[dict[str, Split], tuple[Skipped, ...]]:
    """The splits of the images that decode.

    Where all images of a class in a split are damaged, the splits are assigned anew without them.
    """
    damaged: dict[str, Skipped] = {}
    while True:
        sound = [file for file in files if file.name not in damaged]
        plan = dealer.plan(sound, [*damaged.values()])
        splits, skipped = decode_splits(
            archive, plan, spec, limit, may_be_empty=True, keep_names=True, progress=progress
        )
        damaged |= {each.file: each for each in skipped}
        if not skipped or all(_has_every_class(split, len(dealer.labels)) for split in splits.values()):
            return splits, tuple(damaged.values())


def _why_refused(path: Path, layout: Layout) -> str | None:
    try:
        labels_of(path, layout)
    except DatasetError as error:
        return _reason(path, error)
    return None


def _reason(path: Path, error: DatasetError) -> str:
    return str(error).removeprefix(f"{path}: ")


def _has_every_class(split: Split, classes: int) -> bool:
    return len({*split.labels.tolist()}) == classes


class ClassFolders(NamedTuple):
    """Images as they lie in class folders: their labels count within `labels`, which may be one only.

    `split` is "all" where there are no split folders.
    """

    name: str
    labels: tuple[str, ...]
    split: str
    images: Split
    skipped: tuple[Skipped, ...]


def read_class_folders(path: Path, spec: InputSpec, split: str, progress: Progress = silent) -> ClassFolders:
    """Every image of one split folder, or of all where there are none; nothing is dealt out or asked to be complete.

    Raises DatasetError.
    """
    with Archive(path) as archive:
        layout = read_layout(archive)
        found = split if split in layout.splits else ALL
        if found not in layout.splits:
            there = f"it has {', '.join(layout.splits)}" if layout.splits else f"layout: {LAYOUT}"
            raise DatasetError(f"{path}: found no images in class folders below {split}/; {there}")
        files = [file for file in layout.files if file.split == found]
        labels = in_order(file.label for file in files)
        plan = {"test": [LabelledFile(f.name, c) for c, label in enumerate(labels) for f in files if f.label == label]}
        decoded, skipped = decode_splits(archive, plan, spec, limit=None, progress=progress)
    return ClassFolders(stem_of(path), labels, found, decoded["test"], (*layout.left_out, *skipped))
