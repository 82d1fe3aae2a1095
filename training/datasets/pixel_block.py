"""The decoded images of a data set: in memory where they are few, else in a temporary file."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from training.errors import DatasetError

IN_MEMORY_BYTES = 400_000_000  # of all splits together; docs/tuning.md#images-in-memory

Array: TypeAlias = npt.NDArray[np.uint8]
Indices: TypeAlias = npt.NDArray[np.int64]


class _Descriptor:
    """An open file, closed with the last object that refers to it."""

    def __init__(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, os.close, number)


class PixelFile:
    """Images, uint8 [n, height, width, channels], in a nameless temporary file that goes with the object.

    It is read like an array by its first axis: `[i]`, `[i:j]` and `[indices]` give arrays in memory. Writing and
    reading are safe in several threads. The file lies in TMPDIR, or in /var/tmp, which unlike /tmp is never memory.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int, shape: tuple[int, int, int]) -> None:
        self._image_shape = shape
        self._image_bytes = int(np.prod(shape))
        self._order: Indices = np.arange(count)
        folder = _folder()
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                _reserve(file.fileno(), max(1, count * self._image_bytes))
                self._file = _Descriptor(os.dup(file.fileno()))
        except OSError as error:
            raise DatasetError(
                f"{folder}: {count * self._image_bytes / 1e9:.1f} GB for decoded images cannot be kept there "
                f"({os.strerror(error.errno or 0)}); free some space, or name another folder in TMPDIR"
            ) from error

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._image_shape)

    def __len__(self) -> int:
        return len(self._order)

    def __setitem__(self, index: int, image: Array) -> None:
        body = np.ascontiguousarray(image, np.uint8).tobytes()
        os.pwrite(self._file.number, body, int(self._order[index]) * self._image_bytes)

    def __getitem__(self, chosen: Any) -> Array:
        rows = self._order[chosen]
        images = np.empty((rows.size, *self._image_shape), np.uint8)
        for image, row in zip(images, rows.ravel(), strict=True):
            read = os.preadv(self._file.number, [image.data.cast("B")], int(row) * self._image_bytes)
            if read != self._image_bytes:
                raise DatasetError("the temporary file of decoded images was cut short; start again")
        return images if rows.ndim else images[0]

    def take(self, chosen: Indices) -> PixelFile:
        """The images of these indices, in this order, without copying any."""
        part = object.__new__(PixelFile)
        part.__dict__ = self.__dict__ | {"_order": self._order[chosen]}
        return part


PixelBlock: TypeAlias = Array | PixelFile


def new_block(count: int, shape: tuple[int, int, int], *, beside: int = 0) -> PixelBlock:
    """Room for `count` images; in memory unless they and `beside` others of this shape are too many for it.

    Raises DatasetError where the temporary file does not fit.
    """
    if (count + beside) * int(np.prod(shape)) <= IN_MEMORY_BYTES:
        return np.empty((count, *shape), np.uint8)
    return PixelFile(count, shape)


def taken(block: PixelBlock, chosen: Indices) -> PixelBlock:
    """The images of these indices, in this order."""
    return block.take(chosen) if isinstance(block, PixelFile) else block[chosen]


def joined(blocks: list[PixelBlock]) -> PixelBlock:
    """The images of all blocks, one after the other."""
    arrays = [block for block in blocks if isinstance(block, np.ndarray)]
    if len(arrays) == len(blocks):
        return np.concatenate(arrays)
    height, width, channels = blocks[0].shape[1:]
    whole = new_block(sum(map(len, blocks)), (height, width, channels))
    written = 0
    for block in blocks:
        for i in range(len(block)):
            whole[written] = block[i]
            written += 1
    return whole


def _folder() -> str:
    if named := os.environ.get("TMPDIR"):
        return named
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108


def _reserve(descriptor: int, size: int) -> None:
    """Take the space now, so that a full disk is an error before anything is decoded."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        os.ftruncate(descriptor, size)
