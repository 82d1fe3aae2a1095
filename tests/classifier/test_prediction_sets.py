"""Promises of `classifier.prediction_sets`: the labels that together hold the right one, most probable first."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.card import PredictionSetRecord, SetQuantile, Share
from classifier.prediction_sets import UnknownCoverage, prediction_set, quantile_for

SHARE = Share(images=100, value=0.9, interval=(0.8, 0.95))
ROW = np.array([0.25, 0.6, 0.15], np.float32)


def of(coverage: float, quantile: float) -> SetQuantile:
    return SetQuantile(coverage=coverage, quantile=quantile, held=SHARE, held_served=SHARE, size=1.5)


def labels(quantile: float) -> list[str]:
    return [each.label for each in prediction_set(ROW, ("a", "b", "c"), of(0.9, quantile))]


def test_a_set_holds_the_labels_that_are_probable_enough_most_probable_first():
    assert labels(0.8) == ["b", "a"]
    assert labels(0.9) == ["b", "a", "c"]


def test_a_set_is_never_empty():
    assert labels(0.1) == ["b"]


def test_a_coverage_that_the_card_does_not_have_is_refused_naming_those_it_has():
    sets = PredictionSetRecord(fitted_on="validation", fitted_images=100, checked_on="test", quantiles=(of(0.9, 0.5),))
    assert quantile_for(sets, 0.9).quantile == 0.5
    with pytest.raises(UnknownCoverage, match=r"0\.93; there is: 0\.9"):
        quantile_for(sets, 0.93)
    with pytest.raises(UnknownCoverage, match="no prediction sets"):
        quantile_for(None, 0.9)
