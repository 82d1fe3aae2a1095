"""Six views of an image as one answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.archives import cifar10_zip
from training.evaluation.json_records import read_record
from training.views import ViewsRecord, answer_views, main, views

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)


def test_the_weights_of_the_views_sum_to_one_and_the_image_itself_is_the_first():
    seen = list(views(PIXELS))
    assert sum(weight for weight, _ in seen) == 1.0
    np.testing.assert_array_equal(seen[0][1], PIXELS)
    np.testing.assert_array_equal(seen[1][1], PIXELS[:, :, ::-1])


def test_two_views_are_shifted_by_a_pixel_with_the_edge_mirrored():
    (_, down), (_, up) = list(views(PIXELS))[2], list(views(PIXELS))[4]
    np.testing.assert_array_equal(down[:, 1:, 1:], PIXELS[:, :-1, :-1])
    np.testing.assert_array_equal(down[:, 0, 1:], PIXELS[:, 1, :-1])
    np.testing.assert_array_equal(up[:, :-1, :-1], PIXELS[:, 1:, 1:])


def test_the_answer_is_the_weighted_mean_of_the_logits():
    logits = iter([[2.0, 0.0], [4.0, 0.0], [8.0, 0.0], [0.0, 0.0], [0.0, 8.0], [0.0, 0.0]])

    def answer(_: np.ndarray) -> np.ndarray:
        powers = np.exp(next(logits))
        return np.asarray([powers / powers.sum()] * 2, np.float32)

    found = answer_views(answer, PIXELS)
    np.testing.assert_allclose(np.log(found[:, 0] / found[:, 1]), 0.25 * 2 + 0.25 * 4, rtol=1e-4)


@pytest.mark.slow
def test_a_shipped_version_is_measured_with_one_and_with_six_views(tmp_path: Path):
    data, out = cifar10_zip(tmp_path / "cifar-10.zip"), tmp_path / "views.json"
    main(["cifar-10@1", "--data", str(data), "--out", str(out)])
    record = read_record(ViewsRecord, out, "views")
    assert record is not None
    assert {name: split.images for name, split in record.splits.items()} == {"validation": 60, "test": 40}
