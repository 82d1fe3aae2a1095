"""`classifier.scoring.decoders`: the processes that decode, and one that dies."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.scoring.decoders import Decoders
from classifier.scoring.decoding import Order, decode
from classifier.scoring.sources import source_of
from tests.classifier.scoring.photos import FAULTS, faulty_pictures, good_pictures

SPEC = InputSpec(height=8, width=8, channels=3, resize="bilinear", contrast="none")


@pytest.mark.slow
def test_images_outlive_the_process_that_was_to_decode_them(tmp_path: Path):
    source = source_of(str(faulty_pictures(good_pictures(tmp_path, 4))))
    orders = [Order(item.name) for item in source.items()]
    expected = decode(source.read, SPEC, orders)
    assert [sight.code for sight in expected.sights if sight.code] == list(FAULTS.values())
    with Decoders(source.read, SPEC, 1) as decoders:
        for _ in range(2):  # the second time by a process that was started anew
            started = decoders.submit(orders)
            for child in multiprocessing.active_children():
                child.kill()
            found = decoders.result(orders, started)
            assert found.sights == expected.sights
            np.testing.assert_array_equal(found.pixels, expected.pixels)
