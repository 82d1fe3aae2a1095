"""Reads the tensors of a PyTorch weights file without PyTorch, and without running what a pickle may ask for.

The file is of the format that `torch.save` wrote before version 1.6: five pickles and then each storage's numbers. The
pickles: a magic number, the format's number, facts on the machine, a dict of tensors, the names of their storages.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from training.backbones.backbone import BackboneError

Tensors = dict[str, npt.NDArray[Any]]

MAGIC = 0x1950A86A20F9469CFC6C
FORMAT = 1001
MAX_FILE_BYTES = 500_000_000
MAX_PICKLE_BYTES = 4_000_000  # the dict names and describes tensors, their numbers come after it


class BadWeights(BackboneError):
    """The weights file holds something else than tensors, or is damaged."""

    code = "bad-weights"
    title = "The weights cannot be read"


@dataclass(frozen=True)
class _Storage:
    """Where a tensor's numbers will come from; they are read after all pickles."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage: where it begins, and by how many numbers each axis steps through it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


def _tensor(storage: object, offset: Any, shape: Any, steps: Any, grad: object, hooks: object) -> _Tensor:
    """Replaces PyTorch's function of the same arguments."""
    sized = _are_sizes(shape) and _are_sizes(steps) and _are_sizes((offset,)) and len(shape) == len(steps)
    if not isinstance(storage, _Storage) or not sized:
        raise pickle.UnpicklingError("it describes a tensor in a way that PyTorch does not")
    if grad is not False or hooks != OrderedDict():
        raise pickle.UnpicklingError("it holds a tensor with gradients or hooks, weights have neither")
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if math.prod(shape) > storage.count or last >= storage.count:
        raise pickle.UnpicklingError("it holds a tensor that is larger than its storage")
    return _Tensor(storage, offset, shape, steps)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


# All that a dict of weights refers to. The storages are only distinguished, never made.
ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    """Admits tensors only, and outside of the dict of tensors nothing but plain values."""

    def __init__(self, file: BinaryIO, *, tensors: bool) -> None:
        super().__init__(file)
        self._admitted = ADMITTED if tensors else {}

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return self._admitted[module_name, global_name]
        except KeyError:
            asked_for = f"{module_name}.{global_name}"
            raise pickle.UnpicklingError(f"it asks for {asked_for}, which is no part of a tensor") from None

    def persistent_load(self, pid: object, /) -> _Storage:
        match pid:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count), None) if count >= 0 and self._admitted:
                return _Storage(key, dtype, count)
        raise pickle.UnpicklingError("it refers to something outside of itself that is no storage of a tensor")


def read_tensors(path: Path) -> Tensors:
    """Every tensor by its name, float32 or int64. Raises BadWeights; nothing in the file is run."""
    body = path.read_bytes() if path.stat().st_size <= MAX_FILE_BYTES else _refuse(path, "it is too large")
    file = io.BytesIO(body)
    try:
        tensors, keys = _read_pickles(file)
        storages = _read_storages(file, {t.storage.key: t.storage for t in tensors.values()}, keys)
        return {name: _cut(storages[tensor.storage.key], tensor) for name, tensor in tensors.items()}
    except BadWeights:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        _refuse(path, str(error) or type(error).__name__, error)


def _refuse(path: Path, reason: str, cause: Exception | None = None) -> NoReturn:
    raise BadWeights(f"{path.name}: not a file of PyTorch tensors: {reason}; install its package again") from cause


def _read_pickles(file: BinaryIO) -> tuple[dict[str, _Tensor], list[str]]:
    magic, number, facts = (_unpickle(file, tensors=False) for _ in range(3))
    if magic != MAGIC or number != FORMAT or not isinstance(facts, dict) or facts.get("little_endian") is not True:
        raise pickle.UnpicklingError("it does not begin as the files of torch.save do")
    tensors, keys = _unpickle(file, tensors=True), _unpickle(file, tensors=False)
    if not isinstance(tensors, dict) or not all(isinstance(each, _Tensor) for each in tensors.values()):
        raise pickle.UnpicklingError("it holds other things than tensors")
    if not isinstance(keys, list):
        raise pickle.UnpicklingError("it does not name its storages")
    return dict(tensors), keys


def _unpickle(file: BinaryIO, *, tensors: bool) -> object:
    began = file.tell()
    value: object = _Unpickler(file, tensors=tensors).load()
    if file.tell() - began > MAX_PICKLE_BYTES:
        raise pickle.UnpicklingError("its pickles are too long for names and shapes")
    return value


def _read_storages(file: BinaryIO, known: dict[str, _Storage], keys: list[str]) -> Tensors:
    if sorted(known) != sorted(keys):
        raise pickle.UnpicklingError("its tensors and its storages do not belong together")
    storages = {}
    for key in keys:
        storage = known[key]
        count = int.from_bytes(file.read(8), "little")
        numbers = file.read(storage.count * storage.dtype.itemsize)
        if count != storage.count or len(numbers) != storage.count * storage.dtype.itemsize:
            raise pickle.UnpicklingError("it ends too early")
        storages[key] = np.frombuffer(numbers, storage.dtype)
    if file.read(1):
        raise pickle.UnpicklingError("something follows its last storage")
    return storages


def _cut(storage: npt.NDArray[Any], tensor: _Tensor) -> npt.NDArray[Any]:
    steps_in_bytes = [step * storage.itemsize for step in tensor.steps]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, steps_in_bytes, writeable=False)
    return np.ascontiguousarray(view).reshape(tensor.shape)
