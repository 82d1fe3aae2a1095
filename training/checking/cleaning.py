"""A cleaned copy of class folders: links to the files of the original, which is never written to."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from training.checking.plan import Step
from training.datasets.archive import Archive
from training.datasets.dataset import printable
from training.datasets.folders.labels import label_of
from training.datasets.folders.layout import ALL
from training.datasets.listing import Listing
from training.errors import DatasetError


class Done(NamedTuple):
    """How many files the copy has, how many were left out, and how many of them are elsewhere than in the original."""

    files: int
    dropped: int
    moved: int


def clean(steps: list[Step], data: Path, listing: Listing, out: Path) -> Done:
    """Make the folder `out` with all images but those that the steps drop, under the labels and splits they say.

    Files are hard links where `data` is a folder on the same file system, else copies. `out` must not exist, or be
    empty. Raises DatasetError, before anything is written, where a step does not fit the data.
    """
    targets = _targets(steps, listing)
    _check_out(data, out)
    with Archive(data) as archive:
        for name, target in targets.items():
            to = out / target
            to.parent.mkdir(parents=True, exist_ok=True)
            _put(archive, data, name, to)
    moved = sum(name != target for name, target in targets.items())
    return Done(len(targets), len(listing) - len(targets), moved)


def _targets(steps: list[Step], listing: Listing) -> dict[str, str]:
    """Where each file that stays goes."""
    images = {printable(image.name): image for image in listing.images}
    strays = {printable(each.file) for each in listing.left_out}
    by_file = {step.file: step for step in steps}
    if unknown := [file for file in by_file if file not in images and file not in strays]:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise DatasetError(f"the plan names {unknown[0]}{more}, which is not in the data; was the data changed since?")
    at = _class_at(listing)
    targets = {
        image.name: _target(image.name, at, image.split, by_file.get(shown))
        for shown, image in images.items()
        if shown not in by_file or by_file[shown].action != "drop"
    }
    twice = [target for target, count in Counter(targets.values()).items() if count > 1]
    if twice:
        raise DatasetError(f"two files would become {printable(twice[0])}; rename one of them")
    return targets


def _class_at(listing: Listing) -> int:
    """Which folder of an image's path is its class, counted from the top. Raises DatasetError where none is."""
    of_all = [
        {i for i, part in enumerate(image.name.split("/")[:-1]) if label_of(part) == listing.labels[image.label]}
        for image in listing.images
    ]
    if not (common := set.intersection(*of_all)):
        raise DatasetError(f"{listing.name}: only class folders can be cleaned, and these images are in none")
    return min(common)


def _target(name: str, at: int, split: str, step: Step | None) -> str:
    """The path of a file under the class or split that its step says."""
    if step is None or step.action == "keep":
        return name
    parts = name.split("/")
    if step.action == "relabel":
        parts[at] = step.to
    elif split == ALL or not at:
        raise DatasetError(f"{printable(name)}: there are no split folders to move it to; drop it, or make them")
    else:
        parts[at - 1] = step.to
    return "/".join(parts)


def _check_out(data: Path, out: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if any(out.iterdir()):
            raise DatasetError(f"{out}: is not empty; name a folder that is not there yet")
    here, there = data.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise DatasetError(f"{out}: lies in {data}, or around it; name a folder elsewhere")


def _put(archive: Archive, data: Path, name: str, to: Path) -> None:
    if data.is_dir():
        origin = (data / name).resolve()  # a link to a link would lead elsewhere
        try:
            os.link(origin, to)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
                raise
            shutil.copyfile(origin, to)
    else:
        to.write_bytes(archive.read(name))
