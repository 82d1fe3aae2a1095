"""Many images at once: encoded files or raw arrays into one uint8 block, by the decoding that serving uses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from classifier.engines.processors import usable_processors
from classifier.errors import ImageError
from classifier.images import decode, from_array
from training.datasets.archive import Archive
from training.datasets.dataset import Skipped, Split
from training.datasets.pixel_block import PixelBlock, PixelFile, new_block
from training.datasets.sampling import spread
from training.errors import DatasetError
from training.progress import Counted, Progress, silent

IMAGE_ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
)

_FILES_PER_TASK = 64  # to hand over one 32x32 JPEG costs about as much as to decode it
# Threads fight over the interpreter when files are tiny: docs/tuning.md#threads-that-read-data-sets.
_WORTH_A_THREAD_BYTES = 4_000


class LabelledFile(NamedTuple):
    """One image file of an archive and the column of its class."""

    name: str
    label: int


def decode_splits(
    archive: Archive,
    plan: Mapping[str, Sequence[LabelledFile]],
    spec: InputSpec,
    limit: int | None,
    *,
    may_be_empty: bool = False,
    keep_names: bool = False,
    progress: Progress = silent,
) -> tuple[dict[str, Split], tuple[Skipped, ...]]:
    """Decode the files of each split, in their order; those that do not decode are left out and returned by name.

    `limit` is applied before anything is decoded. With `keep_names` the splits have their `files`. Raises DatasetError
    when a split has no readable image, unless it `may_be_empty`.
    """
    chosen = {name: [files[i] for i in spread([f.label for f in files], limit)] for name, files in plan.items()}
    total = sum(len(files) for files in chosen.values())
    counted = Counted(progress, "reading images", total)
    splits: dict[str, Split] = {}
    skipped: list[Skipped] = []
    for name, files in chosen.items():
        pixels = new_block(len(files), spec.shape, beside=total - len(files))
        split, left_out = _decode_files(archive, files, spec, counted, pixels)
        splits[name] = split if keep_names else replace(split, files=None)
        skipped += left_out
        if files and not len(splits[name]) and not may_be_empty:
            raise DatasetError(f"{archive.path}: none of {len(files)} {name} images decodes: {skipped[-1].reason}")
    return splits, tuple(skipped)


def prepare_arrays(
    images: Iterable[npt.NDArray[np.uint8]], count: int, spec: InputSpec, *, beside: int = 0
) -> PixelBlock:
    """Bring `count` raw images, uint8 [h, w] or [h, w, 1 or 3], to the network's input as one block.

    `beside` is how many images the data set has besides.
    """
    pixels = new_block(count, spec.shape, beside=beside)
    for i, image in enumerate(images):
        pixels[i] = from_array(image, spec)
    return pixels


def _decode_files(
    archive: Archive, files: Sequence[LabelledFile], spec: InputSpec, counted: Counted, pixels: PixelBlock
) -> tuple[Split, list[Skipped]]:
    """Decode into `pixels`, which has room for all files."""

    def decode_one(i: int) -> tuple[int, str] | None:
        try:
            pixels[i] = decode(archive.read(files[i].name), spec)
        except (DatasetError, ImageError) as error:
            return i, str(error)
        return None

    reasons = _run(decode_one, len(files), _threads(archive, files), counted)
    kept = [i for i in range(len(files)) if i not in reasons]
    labels = np.array([files[i].label for i in kept], np.int64)
    split = Split(_close_gaps(pixels, kept), labels, tuple(files[i].name for i in kept))
    return split, [Skipped(files[i].name, reason) for i, reason in sorted(reasons.items())]


def _run(
    decode_one: Callable[[int], tuple[int, str] | None], count: int, threads: int, counted: Counted
) -> dict[int, str]:
    """Decode images 0..count; returns why, by index, for those that did not."""

    def decode_some(start: int) -> list[tuple[int, str]]:
        return [fault for i in range(start, min(start + _FILES_PER_TASK, count)) if (fault := decode_one(i))]

    reasons: dict[int, str] = {}
    starts = range(0, count, _FILES_PER_TASK)
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # damaged EXIF: the pixels are fine
        for start, faults in zip(starts, pool.map(decode_some, starts), strict=True):
            reasons.update(faults)
            counted.add(min(_FILES_PER_TASK, count - start))
    return reasons


def _threads(archive: Archive, files: Sequence[LabelledFile]) -> int:
    if not files or _bytes(archive, files[0]) < _WORTH_A_THREAD_BYTES:
        return 1
    return min(8, usable_processors())


def _bytes(archive: Archive, file: LabelledFile) -> int:
    try:
        return len(archive.read(file.name))
    except DatasetError:
        return 0


def _close_gaps(pixels: PixelBlock, kept: Sequence[int]) -> PixelBlock:
    """The kept images; in memory they are moved to the front: a copy would need the memory twice."""
    if len(kept) == len(pixels):
        return pixels
    if isinstance(pixels, PixelFile):
        return pixels.take(np.array(kept, np.int64))
    for to, origin in enumerate(kept):
        pixels[to] = pixels[origin]
    return pixels[: len(kept)]
