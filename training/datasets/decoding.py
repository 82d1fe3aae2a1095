"""Many images at once: encoded files or raw arrays into one uint8 block, by the decoding that serving uses."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from classifier.card import InputSpec
from classifier.errors import ImageError
from classifier.images import Pixels, decode, from_array
from training.datasets.archive import Archive
from training.datasets.dataset import DatasetError, Skipped, Split
from training.datasets.sampling import spread

IMAGE_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

_COPIES_STAY_IN = ("test", "validation", "train")
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
    drop_copies: bool = False,
) -> tuple[dict[str, Split], tuple[Skipped, ...]]:
    """Decode the files of each split, in their order; those that do not decode are left out and returned by name.

    `limit` is applied before anything is decoded. With `drop_copies`, of byte-identical files one is kept: in test
    rather than in validation, there rather than in train. Raises DatasetError when a split has no readable image.
    """
    splits: dict[str, Split] = {}
    skipped: list[Skipped] = []
    first_with: dict[bytes, str] | None = {} if drop_copies else None
    for split_name in sorted(plan, key=_COPIES_STAY_IN.index):
        listed = plan[split_name]
        files = [listed[i] for i in spread([file.label for file in listed], limit)]
        splits[split_name], left_out = _decode_files(archive, files, spec, first_with)
        skipped += left_out
        if files and not len(splits[split_name]):
            raise DatasetError(
                f"{archive.path}: none of {len(files)} {split_name} images decodes: {skipped[-1].reason}"
            )
    return {split_name: splits[split_name] for split_name in plan}, tuple(skipped)


def prepare_arrays(images: Iterable[npt.NDArray[np.uint8]], count: int, spec: InputSpec) -> Pixels:
    """Bring `count` raw images, uint8 [h, w] or [h, w, 1 or 3], to the network's input as one block."""
    pixels = np.empty((count, *spec.shape), np.uint8)
    for i, image in enumerate(images):
        pixels[i] = from_array(image, spec)
    return pixels


def _decode_files(
    archive: Archive, files: Sequence[LabelledFile], spec: InputSpec, first_with: dict[bytes, str] | None
) -> tuple[Split, list[Skipped]]:
    pixels = np.empty((len(files), *spec.shape), np.uint8)
    digests = [b""] * len(files)

    def decode_one(i: int) -> tuple[int, str] | None:
        body = archive.read(files[i].name)
        digests[i] = hashlib.sha256(body).digest() if first_with is not None else b""
        try:
            pixels[i] = decode(body, spec)
        except ImageError as error:
            return i, str(error)
        return None

    reasons = _run(decode_one, len(files), _threads(archive, files))
    if first_with is not None:
        reasons |= _copies(files, digests, reasons, first_with)
    kept = [i for i in range(len(files)) if i not in reasons]
    split = Split(_close_gaps(pixels, kept), np.array([files[i].label for i in kept], np.int64))
    return split, [Skipped(files[i].name, reason) for i, reason in sorted(reasons.items())]


def _run(decode_one: Callable[[int], tuple[int, str] | None], count: int, threads: int) -> dict[int, str]:
    """Decode images 0..count; returns why, by index, for those that did not."""

    def decode_some(start: int) -> list[tuple[int, str]]:
        return [fault for i in range(start, min(start + _FILES_PER_TASK, count)) if (fault := decode_one(i))]

    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # damaged EXIF: the pixels are fine
        return dict(chain.from_iterable(pool.map(decode_some, range(0, count, _FILES_PER_TASK))))


def _threads(archive: Archive, files: Sequence[LabelledFile]) -> int:
    if not files or len(archive.read(files[0].name)) < _WORTH_A_THREAD_BYTES:
        return 1
    return min(8, os.cpu_count() or 1)


def _copies(
    files: Sequence[LabelledFile], digests: Sequence[bytes], unreadable: Container[int], first_with: dict[bytes, str]
) -> dict[int, str]:
    """Why, by index, for each file whose bytes were met before; the others are noted in `first_with`."""
    reasons = {}
    for i, (file, digest) in enumerate(zip(files, digests, strict=True)):
        if i not in unreadable and (first := first_with.setdefault(digest, file.name)) != file.name:
            reasons[i] = f"a copy, byte for byte, of {first}"
    return reasons


def _close_gaps(pixels: Pixels, kept: Sequence[int]) -> Pixels:
    """Move the kept images to the front, in place: a copy would need the memory twice."""
    if len(kept) < len(pixels):
        for to, origin in enumerate(kept):
            pixels[to] = pixels[origin]
    return pixels[: len(kept)]
