"""Promises of `load_tests.gpu`, as far as they need no GPU and no second process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from classifier.store import ModelStore
from load_tests.gpu import reference
from load_tests.gpu.fake_server import FakeEngine
from load_tests.gpu.pack import OF_KERAS, locked
from tests.tiny_models import COLOUR


def test_pictures_are_the_same_on_every_machine(tiny_models_root: Path) -> None:
    card = ModelStore(tiny_models_root).card(COLOUR)
    assert reference.pixels(card, 2)[1, 0, :2].tolist() == [[247, 33, 126], [220, 72, 124]]
    np.testing.assert_array_equal(reference.pixels(card, 3)[:2], reference.pixels(card, 2))


def test_what_is_packed_is_locked_by_hashes_and_leaves_out_what_a_gpu_machine_has() -> None:
    lines = locked().splitlines()
    names = {line.split("==")[0] for line in lines if "==" in line}
    assert {"bentoml", "pydantic-core", *OF_KERAS} <= names
    assert not {"openvino", "tensorflow", "jax", "jaxlib", "numpy", "pillow", "torch"} & names
    assert sum("--hash=sha256:" in line for line in lines) >= len(names)


def test_a_network_that_sleeps_takes_its_time_and_gives_the_samples_answer(tiny_models_root: Path) -> None:
    card = ModelStore(tiny_models_root).card(COLOUR)
    engine = FakeEngine(card, images_per_s=1_000.0)
    began = time.monotonic()
    rows = engine.infer(np.zeros((20, 8, 8, 3), np.uint8))
    assert time.monotonic() - began >= 0.02
    np.testing.assert_array_equal(rows, np.tile(np.float32(card.sample.probabilities), (20, 1)))
    engine.close()
