"""`training.datasets.restricted_pickle`: a pickle from the net must not run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.archives import python2_pickle
from training.datasets.restricted_pickle import loads
from training.errors import DatasetError


class _Intruder:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_batches_as_python_2_wrote_them_are_read_with_byte_strings() -> None:
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3)
    loaded = loads(python2_pickle({"data": rows, "labels": [1, 2], "name": "x"}), "batch")
    assert isinstance(loaded, dict)
    assert loaded[b"labels"] == [1, 2]
    assert loaded[b"name"] == b"x"
    assert np.array_equal(loaded[b"data"], rows)


def test_batches_as_todays_python_writes_them_are_read_too() -> None:
    loaded = loads(pickle.dumps({b"data": np.ones((2, 3), np.uint8)}, protocol=4), "batch")
    assert isinstance(loaded, dict)
    assert loaded[b"data"].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_code_in_a_pickle_is_named_and_not_run(tmp_path: Path) -> None:
    pickled = pickle.dumps({b"data": _Intruder(tmp_path / "trace")})
    with pytest.raises(DatasetError, match=r"data_batch_1: .* asks for (posix|nt)\.mkdir, which is no part"):
        loads(pickled, "data_batch_1")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", ["builtins\neval", "os\nsystem", "numpy\nload", "numpy.core.multiarray\nfromstring"])
def test_nothing_is_admitted_by_its_module_alone(name: str) -> None:
    with pytest.raises(DatasetError, match="no part of an image batch"):
        loads(f"c{name}\n.".encode(), "batch")


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(DatasetError, match="image batches hold uint8"):
        loads(pickle.dumps(np.array([{}], dtype=object), protocol=4), "batch")


@pytest.mark.parametrize("body", [b"", b"garbage", python2_pickle({"data": np.ones((9, 9), np.uint8)})[:-30]])
def test_a_damaged_pickle_is_an_error_with_the_files_name(body: bytes) -> None:
    with pytest.raises(DatasetError, match="batch: not a pickle of arrays"):
        loads(body, "batch")
