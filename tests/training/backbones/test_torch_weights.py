"""`training.backbones.torch_weights`: tensors are read, and nothing else is."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from training.backbones.backbone import BackboneError
from training.backbones.torch_weights import FORMAT, MAGIC, BadWeights, read_tensors

FACTS = {"protocol_version": FORMAT, "little_endian": True, "type_sizes": {"int": 4}}
NUMBERS = np.arange(12, dtype="<f4")


class _Global:
    """Pickled as a reference to a name of a module, which need not exist."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Stored:
    """Pickled as PyTorch pickles a storage: a reference to something outside."""

    def __init__(self, kind: str = "FloatStorage", key: str = "7", count: int = 12) -> None:
        self.reference = ("storage", _Global("torch", kind), key, "cpu", count, None)


class _Tensor:
    def __init__(self, storage: object, *arguments: object, function: str = "_rebuild_tensor_v2") -> None:
        self.function, self.arguments = _Global("torch._utils", function), (storage, *arguments)


class _Pickler(pickle._Pickler):  # the one in Python, whose methods can be replaced
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def persistent_id(self, obj: Any) -> Any:
        return obj.reference if isinstance(obj, _Stored) else None

    def save_global_name(self, obj: Any) -> None:
        self.write(f"c{obj.module}\n{obj.name}\n".encode())

    def save_tensor(self, obj: Any) -> None:
        self.save_reduce(_Callable(obj.function), obj.arguments)

    def save_reduce(self, func: Any, args: Any, *rest: Any, **more: Any) -> None:
        if isinstance(func, _Callable):
            self.save(func.function)
            self.save(args)
            self.write(pickle.REDUCE)
        else:
            super().save_reduce(func, args, *rest, **more)

    dispatch[_Global] = save_global_name
    dispatch[_Tensor] = save_tensor


class _Callable:
    def __init__(self, function: _Global) -> None:
        self.function = function


def pickled(value: object) -> bytes:
    out = io.BytesIO()
    _Pickler(out, protocol=2).dump(value)
    return out.getvalue()


def tensor(offset: int = 0, shape: object = (3, 4), steps: object = (4, 1), **storage: Any) -> _Tensor:
    return _Tensor(_Stored(**storage), offset, shape, steps, False, OrderedDict())


def file_of(
    path: Path,
    tensors: object,
    *,
    numbers: bytes = NUMBERS.tobytes(),
    magic: int = MAGIC,
    facts: object = FACTS,
    keys: object = ("7",),
) -> Path:
    """A file as `torch.save` wrote it before version 1.6."""
    parts = [pickle.dumps(each, 2) for each in (magic, FORMAT, facts)]
    storage = (len(numbers) // 4).to_bytes(8, "little") + numbers
    body = b"".join([*parts, pickled(tensors), pickle.dumps(list(keys), 2), storage])  # type: ignore[call-overload]
    path.write_bytes(body)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


def test_tensors_are_read_by_name_in_their_shape(path: Path):
    read = read_tensors(file_of(path, OrderedDict(weight=tensor(), bias=tensor(offset=8, shape=(4,), steps=(1,)))))
    np.testing.assert_array_equal(read["weight"], NUMBERS.reshape(3, 4))
    np.testing.assert_array_equal(read["bias"], NUMBERS[8:])
    assert read["weight"].dtype == np.float32


def test_a_tensor_that_is_stored_transposed_is_read_the_right_way_round(path: Path):
    read = read_tensors(file_of(path, {"weight": tensor(shape=(4, 3), steps=(1, 4))}))
    np.testing.assert_array_equal(read["weight"], NUMBERS.reshape(3, 4).T)


def test_a_number_alone_is_a_tensor_without_axes(path: Path):
    read = read_tensors(file_of(path, {"batches": tensor(offset=5, shape=(), steps=())}))
    assert (read["batches"].shape, float(read["batches"])) == ((), 5.0)


class _Intruder:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_code_in_the_file_is_named_and_not_run(path: Path, tmp_path: Path):
    with pytest.raises(BadWeights, match=r"asks for (posix|nt)\.mkdir, which is no part of a tensor"):
        read_tensors(file_of(path, {"weight": _Intruder(tmp_path / "trace")}))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("part", ["magic", "facts"])
def test_code_outside_of_the_tensors_is_not_run_either(part: str, path: Path, tmp_path: Path):
    with pytest.raises(BadWeights, match="which is no part of a tensor"):
        read_tensors(file_of(path, {"weight": tensor()}, **{part: _Intruder(tmp_path / "trace")}))
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "os system", "torch load", "torch._utils _rebuild_qtensor", "collections defaultdict"]
)
def test_nothing_is_admitted_by_its_module_alone(name: str, path: Path):
    with pytest.raises(BadWeights, match="which is no part of a tensor"):
        read_tensors(file_of(path, {"weight": _Global(*name.split())}))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        pytest.param(tensor(shape=(3, 5), steps=(5, 1)), "larger than its storage", id="more than it has"),
        pytest.param(tensor(offset=1), "larger than its storage", id="beyond its end"),
        pytest.param(tensor(steps=(4, 3)), "larger than its storage", id="steps out of it"),
        pytest.param(tensor(shape=(1 << 40,), steps=(0,)), "larger than its storage", id="one number, endlessly"),
        pytest.param(tensor(offset=-1), "in a way that PyTorch does not", id="before its beginning"),
        pytest.param(tensor(shape=(-3, -4)), "in a way that PyTorch does not", id="negative lengths"),
        pytest.param(tensor(shape="ab"), "in a way that PyTorch does not", id="no shape"),
        pytest.param(tensor(steps=(1,)), "in a way that PyTorch does not", id="too few steps"),
        pytest.param(tensor(kind="HalfStorage"), "torch.HalfStorage", id="another kind of number"),
        pytest.param("weights", "other things than tensors", id="a word"),
    ],
)
def test_what_is_no_tensor_of_this_file_is_refused(bad: object, said: str, path: Path):
    with pytest.raises(BadWeights, match=said):
        read_tensors(file_of(path, {"weight": bad}))


@pytest.mark.parametrize(
    "change",
    [
        {"magic": 7},
        {"facts": {"little_endian": False}},
        {"keys": ("8",)},
        {"keys": ()},
        {"numbers": NUMBERS[:5].tobytes()},
        {"numbers": NUMBERS.tobytes() + b"more"},
    ],
    ids=str,
)
def test_a_damaged_file_is_an_error_with_its_name(change: dict[str, Any], path: Path):
    with pytest.raises(BadWeights, match=r"weights\.pth: not a file of PyTorch tensors"):
        read_tensors(file_of(path, {"weight": tensor()}, **change))


@pytest.mark.parametrize("cut", [0, 1, 30, -1], ids=str)
def test_a_file_that_ends_too_early_is_an_error(cut: int, path: Path):
    body = file_of(path, {"weight": tensor()}).read_bytes()
    path.write_bytes(body[:cut])
    with pytest.raises(BackboneError, match=r"weights\.pth"):
        read_tensors(path)


def test_todays_zip_files_of_pytorch_are_refused_as_what_they_are(path: Path):
    path.write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(BadWeights):
        read_tensors(path)
