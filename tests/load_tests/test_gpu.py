"""Promises of `load_tests.gpu`, as far as they need no GPU and no second process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from classifier.store import ModelStore
from load_tests.gpu.fake_server import FakeEngine
from tests.tiny_models import COLOUR


def test_a_network_that_sleeps_takes_its_time_and_gives_the_samples_answer(tiny_models_root: Path) -> None:
    card = ModelStore(tiny_models_root).card(COLOUR)
    engine = FakeEngine(card, images_per_s=1_000.0)
    began = time.monotonic()
    rows = engine.infer(np.zeros((20, 8, 8, 3), np.uint8))
    assert time.monotonic() - began >= 0.02
    np.testing.assert_array_equal(rows, np.tile(np.float32(card.sample.probabilities), (20, 1)))
    engine.close()
