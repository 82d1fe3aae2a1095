"""Which file of a folder belongs to which class and split, by the folders' names alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from training.datasets.archive import Archive
from training.datasets.dataset import Skipped
from training.datasets.decoding import IMAGE_ENDINGS
from training.datasets.folders.contents import PlacedFile
from training.datasets.folders.foreign_formats import format_by_name
from training.datasets.folders.labels import in_order, label_of
from training.errors import DatasetError

LAYOUT = "PHOTOS/CLASS/*.jpg, or PHOTOS/train/CLASS/*.jpg beside PHOTOS/validation/ and PHOTOS/test/"
ALL = "all"  # the split of a layout without split folders

_SPLIT_OF = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "validation",  # "test" where another folder is the validation
    "evaluation": "validation",
}
_EITHER = ("eval", "evaluation")
# Pairs of folders, in lower case, that say that labels are boxes or texts in files of their own.
_OF_DETECTORS = (("images", "labels"), ("images", "annotations"), ("jpegimages", "annotations"))


class _Location(NamedTuple):
    split: str
    folder: str  # of the class, as it is called
    path: str  # of that folder, below the top


class Layout(NamedTuple):
    """`files` are the images in class folders; `empty` are class folders without one."""

    files: tuple[PlacedFile, ...]
    left_out: tuple[Skipped, ...]
    empty: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that have images, as their folders come."""
        return tuple(dict.fromkeys(file.split for file in self.files))


def read_layout(archive: Archive) -> Layout:
    """Raises DatasetError for the layouts of detectors, and for folders whose meaning is open."""
    images = [name for name in archive.names if name.lower().endswith(IMAGE_ENDINGS)]
    pictures = [*images, *(name for name in archive.names if format_by_name(name))]
    _refuse_detectors(archive.path, archive)
    top = _folder_on_top(pictures)
    split_of = _split_folders(archive.path, [name.removeprefix(top) for name in pictures])
    files, left_out, locations, image_names = [], list(archive.left_out), set(), set(images)
    for name in (*archive.names, *archive.folders):
        location = _locate(name, top, split_of)
        locations.add(location)
        if location and name in image_names:
            files.append(PlacedFile(name, location.split, label_of(location.folder)))
        elif name in image_names:
            left_out.append(Skipped(name, "lies in no class folder"))
        elif not name.endswith("/") and (location or format_by_name(name)):
            left_out.append(Skipped(name, _why_no_image(name)))
    _refuse_collisions(archive.path, [location for location in locations if location])
    filled = {(file.split, file.label) for file in files}
    empty = {top + each.path for each in locations if each and (each.split, label_of(each.folder)) not in filled}
    return Layout(tuple(files), tuple(left_out), tuple(sorted(empty)))


def labels_of(path: Path, layout: Layout) -> tuple[str, ...]:
    """The classes in column order. Raises DatasetError where they are fewer than two or not the same in each split."""
    splits = layout.splits
    if not splits or layout.empty:
        raise DatasetError(f"{path}: {_without_images(layout)}")
    if not {*splits} & {ALL, "train"}:
        raise DatasetError(f"{path}: expected a train/ folder beside {', '.join(splits)}/; layout: {LAYOUT}")
    labels = in_order(file.label for file in layout.files)
    if len(labels) < 2:
        raise DatasetError(f"{path}: expected two classes or more, found only {', '.join(labels)}; layout: {LAYOUT}")
    there = {(file.split, file.label) for file in layout.files}
    for split in splits:
        if missing := [label for label in labels if (split, label) not in there]:
            raise DatasetError(
                f"{path}: the {split} folder has no images of {', '.join(missing)}; every class needs some"
            )
    return labels


def _without_images(layout: Layout) -> str:
    """What is missing, and which pictures there are instead."""
    where = f"no image in {', '.join(layout.empty)}" if layout.empty else "expected images in class folders, found none"
    foreign = Counter(found for each in layout.left_out if (found := format_by_name(each.file)))
    if not foreign:
        return f"{where}; " + ("put some there or remove the folder" if layout.empty else f"layout: {LAYOUT}")
    counts = ", ".join(f"{count:,} {name} files" for name, count in foreign.most_common())
    return f"{where} that can be read, but {counts}; convert them to JPEG or PNG"


def _why_no_image(name: str) -> str:
    found = format_by_name(name)
    return f"{found} is not read; convert it to JPEG or PNG" if found else "no image by its name"


def _folder_on_top(pictures: Sequence[str]) -> str:
    """`photos/` where all pictures lie in `photos/CLASS/` or `photos/train/CLASS/`, else nothing."""
    tops = {name.partition("/")[0] for name in pictures if "/" in name}
    deep = any(name.count("/") > 1 for name in pictures)
    return f"{tops.pop()}/" if deep and len(tops) == 1 and not {t.lower() for t in tops} & _SPLIT_OF.keys() else ""


def _split_folders(path: Path, pictures: Iterable[str]) -> dict[str, str]:
    """The split each top folder stands for; empty where the top folders are classes.

    One class may well be called "train"; only beside a validation or test folder, or alone, is it a split.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for name in pictures:
        first, *more = name.split("/")
        if more:
            below[first].update(more[:-1][:1])
    split_of = {top: _SPLIT_OF[top.lower()] for top in below if top.lower() in _SPLIT_OF}
    for top in split_of:
        if top.lower() in _EITHER and "validation" in [split for other, split in split_of.items() if other != top]:
            split_of[top] = "test"
    others = below.keys() - split_of.keys()
    if not others or {"train"} < set(split_of.values()):
        _refuse_one_split_twice(path, split_of)
        return split_of
    for top, other in ((top, other) for top in split_of for other in sorted(others)):
        if len(below[top] & below[other]) > 1:
            raise DatasetError(
                f"{path}: {top}/ and {other}/ hold the same classes ({', '.join(sorted(below[top] & below[other]))}), "
                f"but {other} is not the name of a split; call it train, validation or test"
            )
    return {}


def _refuse_one_split_twice(path: Path, split_of: Mapping[str, str]) -> None:
    for split in ("train", "validation", "test"):
        if len(tops := sorted(top for top, stands_for in split_of.items() if stands_for == split)) > 1:
            raise DatasetError(
                f"{path}: {' and '.join(f'{top}/' for top in tops)} both stand for {split}; "
                "keep one, or rename the other"
            )


def _refuse_detectors(path: Path, archive: Archive) -> None:
    folders = {parent.lower() for name in (*archive.names, *archive.folders) for parent in name.split("/")[:-1]}
    described = any(name.lower().endswith((".txt", ".xml", ".json")) for name in archive.names)
    for images, labels in _OF_DETECTORS:
        if described and {images, labels} <= folders:
            raise DatasetError(
                f"{path}: {images}/ beside {labels}/ is a layout for object detection (YOLO, VOC or COCO), "
                f"whose labels are boxes in text files; put the images into one folder for each class: {LAYOUT}"
            )


def _refuse_collisions(path: Path, locations: Iterable[_Location]) -> None:
    """Two folders of one split whose names differ in their bytes, yet read the same."""
    spelled: dict[tuple[str, str], set[str]] = defaultdict(set)
    for location in locations:
        spelled[location.split, label_of(location.folder)].add(location.path)
    for (_, label), paths in sorted(spelled.items()):
        if len(paths) > 1:
            shown = " and ".join(ascii(each) for each in sorted(paths))
            raise DatasetError(f"{path}: {len(paths)} folders are called {label} ({shown}); put their images into one")


def _locate(name: str, top: str, split_of: Mapping[str, str]) -> _Location | None:
    """Where a file or folder belongs, if to any class."""
    *folders, _ = name.removeprefix(top).split("/")
    if not name.startswith(top) or len(folders) < (2 if split_of else 1):
        return None
    if not split_of:
        return _Location(ALL, folders[0], folders[0])
    return _Location(split_of[folders[0]], folders[1], "/".join(folders[:2])) if folders[0] in split_of else None
