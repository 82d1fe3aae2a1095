"""Promises of `classifier.ranking`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from classifier.ranking import Prediction, rank

ROW = np.asarray([0.25, 0.5, 0.25], np.float32)


def test_the_most_probable_label_comes_first_and_equals_keep_column_order():
    assert rank(ROW, ("a", "b", "c")) == [Prediction("b", 0.5), Prediction("a", 0.25), Prediction("c", 0.25)]


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (99, 3), (None, 3)])
def test_top_k_keeps_at_most_so_many(top_k, count):
    assert rank(ROW, ("a", "b", "c"), top_k) == rank(ROW, ("a", "b", "c"))[:count]


def test_predictions_are_plain_json():
    assert json.dumps(rank(ROW, ("a", "b", "c"), 1)[0]._asdict()) == '{"label": "b", "probability": 0.5}'
