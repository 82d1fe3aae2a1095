"""CIFAR-10: 32x32 colour pictures of ten kinds, as class folders of images or as the official pickles."""

from __future__ import annotations

import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from classifier.card import InputSpec
from training.datasets.archive import ONE_FOLDER_ON_TOP, Archive, names_in
from training.datasets.dataset import Dataset, Skipped, Split
from training.datasets.decoding import IMAGE_ENDINGS, LabelledFile, decode_splits, prepare_arrays
from training.datasets.listing import Listed, Listing
from training.datasets.pixel_block import PixelBlock
from training.datasets.restricted_pickle import loads
from training.datasets.sampling import Indices, check_fraction, hold_out, spread
from training.errors import DatasetError
from training.progress import Progress, silent

# The official column order, which happens to be alphabetical.
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
BATCH_ROWS = 10_000  # of an official batch
QUALITIES = range(60, 96)  # of JPEG, from which one is drawn for each image

_IMAGE = re.compile(rf"{ONE_FOLDER_ON_TOP}(train|test)/([^/]+)/[^/]+\.(?:{'|'.join(e[1:] for e in IMAGE_ENDINGS)})")
_BATCH = re.compile(rf"{ONE_FOLDER_ON_TOP}(data_batch_[1-5]|test_batch|batches\.meta)")


class _Batch(NamedTuple):
    images: npt.NDArray[np.uint8]  # [n, 32, 32, 3]
    labels: Indices


@dataclass(frozen=True)
class Cifar10:
    """`train/CLASS/*.jpg` and `test/CLASS/*.jpg`, or the official `data_batch_1` … `test_batch`; folder, zip or tar.

    Validation is a seeded random part of the training images; test is never touched. The two layouts hold the same
    pictures in another order, so the same seed holds out different ones.

    The official pictures are without loss, and what is sent to a server seldom is. So with `jpegs` the training images
    are encoded as JPEG too, each once: docs/tuning.md#what-jpeg-costs-pictures-of-32-pixels. A fit sees each image as
    it is published and as JPEG by turns. The folders of images are JPEG files already, and stay as they are.
    """

    validation_fraction: float = 0.3
    split_seed: int = 777
    jpegs: bool = False

    @property
    def name(self) -> str:
        return "cifar-10"

    def __post_init__(self) -> None:
        check_fraction("validation_fraction", self.validation_fraction)

    def recognises(self, path: Path) -> bool:
        names = names_in(path)
        return bool(_batch_files(names)) or {file for _, file in _class_folders(names)} == set(LABELS)

    def load(self, path: Path, spec: InputSpec, *, limit: int | None = None, progress: Progress = silent) -> Dataset:
        with Archive(path) as archive:
            read = self._from_batches if _batch_files(archive.names) else self._from_folders
            splits, skipped = read(archive, spec, limit, progress)
        return Dataset(self.name, LABELS, splits, skipped)

    def listing(self, archive: Archive) -> Listing:
        if _batch_files(archive.names):
            return self._list_batches(archive)
        images = tuple(
            Listed(file.name, split, file.label) for split, files in self._plan(archive).items() for file in files
        )
        return Listing(self.name, LABELS, images, lambda i: archive.read(images[i].name))

    def _list_batches(self, archive: Archive) -> Listing:
        train, test = _read_batches(archive)
        kept, held = hold_out(len(train.labels), self.validation_fraction, self.split_seed)
        parts = {"train": (train, kept), "validation": (train, held), "test": (test, np.arange(len(test.labels)))}
        rows = [(split, batch, int(i)) for split, (batch, chosen) in parts.items() for i in chosen]
        images = tuple(Listed(_row_name(split, i), split, int(batch.labels[i])) for split, batch, i in rows)
        return Listing(self.name, LABELS, images, lambda at: rows[at][1].images[rows[at][2]])

    def _plan(self, archive: Archive) -> dict[str, list[LabelledFile]]:
        folders = _class_folders(archive.names)
        _check_folders(archive.path, folders)
        train = _in_column_order(folders, "train")
        kept, held = hold_out(len(train), self.validation_fraction, self.split_seed)
        return {
            "train": [train[i] for i in kept],
            "validation": [train[i] for i in held],
            "test": _in_column_order(folders, "test"),
        }

    def _from_folders(
        self, archive: Archive, spec: InputSpec, limit: int | None, progress: Progress
    ) -> tuple[dict[str, Split], tuple[Skipped, ...]]:
        return decode_splits(archive, self._plan(archive), spec, limit, progress=progress)

    def _from_batches(
        self, archive: Archive, spec: InputSpec, limit: int | None, progress: Progress
    ) -> tuple[dict[str, Split], tuple[Skipped, ...]]:
        train, test = _read_batches(archive)
        kept, held = hold_out(len(train.labels), self.validation_fraction, self.split_seed)
        everything = np.arange(len(test.labels))
        parts = {"train": (train, kept), "validation": (train, held), "test": (test, everything)}
        images = sum(len(chosen) for _, chosen in parts.values()) if limit is None else 0
        splits = {name: _take(batch, chosen, spec, limit, images) for name, (batch, chosen) in parts.items()}
        if self.jpegs:
            as_jpeg = partial(_take_as_jpeg, train, kept, spec, limit, images, self.split_seed)
            splits["train"] = replace(splits["train"], as_jpeg=as_jpeg)
        return splits, ()


def _row_name(split: str, row: int) -> str:
    """As in `data_batch_2:17`: batch and row, counted from 0."""
    if split == "test":
        return f"{TEST_BATCH}:{row}"
    return f"{TRAIN_BATCHES[row // BATCH_ROWS]}:{row % BATCH_ROWS}" if row < 5 * BATCH_ROWS else f"train:{row}"


def _class_folders(names: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Files by ("train" or "test", class folder)."""
    folders = defaultdict(list)
    for name in names:
        if match := _IMAGE.fullmatch(name.lower()):
            folders[match[1], match[2]].append(name)
    return folders


def _check_folders(path: Path, folders: dict[tuple[str, str], list[str]]) -> None:
    expected = {(split, label) for split in ("train", "test") for label in LABELS}
    if missing := sorted("/".join(folder) for folder in expected - folders.keys()):
        raise DatasetError(f"{path}: CIFAR-10 has no images in {', '.join(missing)}; fetch it again")
    if strange := sorted("/".join(folder) for folder in folders.keys() - expected):
        raise DatasetError(f"{path}: not a class of CIFAR-10: {', '.join(strange)}; expected {', '.join(LABELS)}")


def _in_column_order(folders: dict[tuple[str, str], list[str]], split: str) -> list[LabelledFile]:
    return [LabelledFile(name, i) for i, label in enumerate(LABELS) for name in folders[split, label]]


def _batch_files(names: Iterable[str]) -> dict[str, str]:
    """Names in the archive by the official file names; empty where the layout is another."""
    found = {match[1]: name for name in names if (match := _BATCH.fullmatch(name))}
    return found if found.keys() & {*TRAIN_BATCHES, TEST_BATCH} else {}


def _read_batches(archive: Archive) -> tuple[_Batch, _Batch]:
    files = _batch_files(archive.names)
    if missing := [name for name in (*TRAIN_BATCHES, TEST_BATCH) if name not in files]:
        raise DatasetError(f"{archive.path}: expected CIFAR-10's six batches, {', '.join(missing)} is missing")
    if meta := files.get("batches.meta"):
        _check_meta(meta, _load(archive, meta).get(b"label_names"))
    train = [_read_batch(archive, files[name]) for name in TRAIN_BATCHES]
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return _Batch(images, labels), _read_batch(archive, files[TEST_BATCH])


def _read_batch(archive: Archive, name: str) -> _Batch:
    batch = _load(archive, name)
    rows, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        raise DatasetError(f"{name}: expected b'data' to be uint8 [n, 3072], got {_kind(rows)}")
    if not isinstance(labels, list) or len(labels) != len(rows) or not set(labels) <= set(range(len(LABELS))):
        raise DatasetError(f"{name}: expected b'labels' to be {len(rows)} numbers 0..9, got {_kind(labels)}")
    return _Batch(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.array(labels, np.int64))


def _as_jpeg(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "JPEG", quality=quality)
    return np.asarray(Image.open(encoded))


def _load(archive: Archive, name: str) -> dict[object, object]:
    loaded = loads(archive.read(name), name)
    if not isinstance(loaded, dict):
        raise DatasetError(f"{name}: expected a pickled dict, got {_kind(loaded)}")
    return loaded


def _check_meta(name: str, label_names: object) -> None:
    if label_names != [label.encode() for label in LABELS]:
        raise DatasetError(f"{name}: expected the classes {', '.join(LABELS)}, got {label_names!r}")


def _take(batch: _Batch, chosen: Indices, spec: InputSpec, limit: int | None, beside: int) -> Split:
    chosen = chosen[spread(batch.labels[chosen], limit)]
    images = (batch.images[i] for i in chosen)
    return Split(prepare_arrays(images, len(chosen), spec, beside=beside - len(chosen)), batch.labels[chosen])


def _take_as_jpeg(
    batch: _Batch, chosen: Indices, spec: InputSpec, limit: int | None, beside: int, seed: int
) -> PixelBlock:
    """The images that `_take` gives as JPEG shows them, each of a quality of its own, which follows from the seed."""
    qualities = np.random.default_rng(seed).choice(QUALITIES, len(batch.labels))
    chosen = chosen[spread(batch.labels[chosen], limit)]
    images = (_as_jpeg(batch.images[i], int(qualities[i])) for i in chosen)
    return prepare_arrays(images, len(chosen), spec, beside=beside - len(chosen))


def _kind(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, Sequence) else type(value).__name__
