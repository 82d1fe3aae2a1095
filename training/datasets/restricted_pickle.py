"""Unpickling that can only make uint8 arrays and plain containers: a pickle from the net must not run code."""

from __future__ import annotations

import io
import pickle

import numpy as np
from numpy._core.multiarray import _reconstruct

from training.errors import DatasetError


def _uint8(name: object, *_: object) -> np.dtype[np.uint8]:
    """Replaces `numpy.dtype`; the old batches call it in a way that newer versions of numpy warn of."""
    if name not in (b"u1", "u1"):
        raise pickle.UnpicklingError(f"it holds an array of {name!r}, image batches hold uint8 (u1) only")
    return np.dtype(np.uint8)


# All that CIFAR-10's batches refer to; Python 2 wrote numpy's old module name, numpy 2 writes the new one.
ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _uint8,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> object:
        try:
            return ADMITTED[module_name, global_name]
        except KeyError:
            asked_for = f"{module_name}.{global_name}"
            raise pickle.UnpicklingError(f"it asks for {asked_for}, which is no part of an image batch") from None


def loads(pickled: bytes, name: str) -> object:
    """Unpickle `pickled`, Python 2 strings as bytes. Raises DatasetError, naming the file `name`, for anything else."""
    try:
        return _Unpickler(io.BytesIO(pickled), encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise nearly anything from the objects it half builds
        raise DatasetError(f"{name}: not a pickle of arrays and plain values: {error}; fetch it again") from error
