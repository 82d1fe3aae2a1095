"""What a data set is once it has been read: splits of uint8 pixels with labels, and a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from classifier.card import DatasetRecord, InputSpec
from training.datasets.pixel_block import PixelBlock, PixelFile, new_block, taken
from training.errors import DatasetError
from training.progress import Progress, silent

HASHED_AT_ONCE = 64  # images; no effect on the hash
AT_ONCE_BYTES = 2**20  # of the images that a network answers at once


@dataclass(frozen=True)
class Split:
    """Images and their classes: pixels uint8 [n, height, width, channels], labels int64 [n] (column index).

    Pixels that are too many for memory are in a file; slices and indices give arrays all the same.
    `files` are the images' names in the folder or archive, where the reader keeps them: of anybody's own photos.
    `as_jpeg` makes the same images as JPEG shows them, where a fit is to see them so in every other pass.
    """

    pixels: PixelBlock
    labels: npt.NDArray[np.int64]
    files: tuple[str, ...] | None = None
    as_jpeg: Callable[[], PixelBlock] | None = None

    def __post_init__(self) -> None:
        if len(self.pixels) != len(self.labels):
            raise DatasetError(f"{len(self.pixels)} images but {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> PixelBlock:
        """What a network takes of them: the pixels."""
        return self.pixels

    def jpegs(self) -> PixelBlock | None:
        """The images as JPEG shows them, of the shape of the pixels; None where no fit is to see them so.

        They are made at each call, since only a fit needs them.
        """
        made = self.as_jpeg and self.as_jpeg()
        if made is not None and made.shape != self.pixels.shape:
            raise DatasetError(f"images {self.pixels.shape}, but as JPEG {made.shape}")
        return made

    def take(self, chosen: npt.NDArray[np.int64]) -> Split:
        """The images of these indices, in this order."""
        files = self.files and tuple(self.files[i] for i in chosen)
        as_jpeg = self.as_jpeg
        of_chosen = as_jpeg and (lambda: taken(as_jpeg(), chosen))
        return Split(taken(self.pixels, chosen), self.labels[chosen], files, of_chosen)


def gathered(splits: Iterable[Split], files: Sequence[str]) -> Split:
    """The images of these files, in this order, out of splits whose files are known; one at least must be there."""
    known = {file: (split, i) for split in splits for i, file in enumerate(split.files or ())}
    found = {file: known[file] for file in files if file in known}
    height, width, channels = next(split for split, _ in found.values()).pixels.shape[1:]
    pixels = new_block(len(found), (height, width, channels), beside=len(known) - len(found))
    for to, (split, i) in enumerate(found.values()):
        pixels[to] = split.pixels[i]
    return Split(pixels, np.array([split.labels[i] for split, i in found.values()], np.int64), tuple(found))


class Examples(Protocol):
    """What batches are made of: a split's pixels, or what a backbone has made of them, and the labels."""

    @property
    def inputs(self) -> npt.NDArray[Any] | PixelFile: ...

    @property
    def labels(self) -> npt.NDArray[np.int64]: ...

    def __len__(self) -> int: ...


def images_at_once(inputs: npt.NDArray[Any] | PixelFile) -> int:
    """How many images of a split a network answers at once: what its layers hold is far more than the pixels.

    No effect on the answers. docs/tuning.md#memory-of-a-fit
    """
    return max(1, min(64, AT_ONCE_BYTES // (inputs.dtype.itemsize * int(np.prod(inputs.shape[1:])))))


def in_parts(inputs: npt.NDArray[Any] | PixelFile, size: int | None = None) -> Iterator[npt.NDArray[Any]]:
    """The images of a split in their order, `size` at a time or as many as a network answers at once."""
    size = size or images_at_once(inputs)
    for i in range(0, len(inputs), size):
        yield inputs[i : i + size]


@dataclass(frozen=True, order=True)
class Skipped:
    """A file that was left out, and why. `file` may hold bytes that are not UTF-8, as `os.fsdecode` gives them."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.file)}: {self.reason}"


def printable(file: str) -> str:
    """A file's name with what is not UTF-8 in it escaped, as `caf\\udce9.jpg`."""
    return file.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class Dataset:
    """Splits by name ("train", "validation", "test"), label names in column order, and what was left out.

    `warnings` are sentences for a person, as on class names that differ in capitals alone.
    """

    name: str
    labels: tuple[str, ...]
    splits: Mapping[str, Split]
    skipped: tuple[Skipped, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name, split in self.splits.items():
            missing = [label for i, label in enumerate(self.labels) if not (split.labels == i).any()]
            if missing:
                raise DatasetError(
                    f"{self.name}: the {name} split of {len(split)} images has none of {', '.join(missing)}; "
                    "every class needs images in every split"
                )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over label names, pixels and labels of all splits: the same images give the same fingerprint."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for name in sorted(self.splits):
            split = self.splits[name]
            digest.update(f"{name} {split.pixels.shape}".encode())
            for i in range(0, len(split), HASHED_AT_ONCE):
                digest.update(np.ascontiguousarray(split.pixels[i : i + HASHED_AT_ONCE]).data)
            digest.update(np.ascontiguousarray(split.labels).data)
        return digest.hexdigest()

    @property
    def record(self) -> DatasetRecord:
        """What a card says of it."""
        images = {name: len(split) for name, split in self.splits.items()}
        return DatasetRecord(name=self.name, fingerprint=self.fingerprint, images=images)

    @property
    def class_counts(self) -> dict[str, dict[str, int]]:
        """Images by label, in column order, and by split."""
        counts = {name: np.bincount(split.labels, minlength=len(self.labels)) for name, split in self.splits.items()}
        return {label: {n: int(c[i]) for n, c in counts.items()} for i, label in enumerate(self.labels)}

    def describe(self) -> str:
        """One line for a person: `cats-vs-dogs: train 2,000, validation 1,000, test 2,000 images; 2 classes`."""
        sizes = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        skipped = f"; files skipped: {len(self.skipped):,}" if self.skipped else ""
        return f"{self.name}: {sizes} images; {len(self.labels)} classes{skipped}"


class Reader(Protocol):
    """Reads one layout from a folder or from a zip of it."""

    @property
    def name(self) -> str: ...

    def recognises(self, path: Path) -> bool:
        """Whether `path` (a folder or a zip) looks like this layout. Never raises for a path that exists."""

    def load(self, path: Path, spec: InputSpec, *, limit: int | None = None, progress: Progress = silent) -> Dataset:
        """Read, check and decode. `limit` is the most images a split may have, spread evenly over the classes.

        Raises DatasetError.
        """
