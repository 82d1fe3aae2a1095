"""Sets of labels that hold the right one as often as asked, where images are like those the quantile was fitted on."""

from __future__ import annotations

from collections.abc import Sequence

from classifier.card import PredictionSetRecord, SetQuantile
from classifier.engines import Probabilities
from classifier.errors import SightlineError
from classifier.ranking import Prediction, rank


class UnknownCoverage(SightlineError):
    """The card has no quantile for the coverage that was asked for, or has none at all."""

    status = 422
    code = "unknown-coverage"
    title = "The coverage is not one that the model's card has"


def quantile_for(sets: PredictionSetRecord | None, coverage: float) -> SetQuantile:
    """The card's entry for a coverage. Raises UnknownCoverage naming those there are."""
    if sets is None:
        raise UnknownCoverage("this version's card has no prediction sets; save it anew to have them fitted")
    for each in sets.quantiles:
        if each.coverage == coverage:
            return each
    known = ", ".join(f"{each.coverage:g}" for each in sets.quantiles)
    raise UnknownCoverage(f"no prediction sets for a coverage of {coverage:g}; there is: {known}")


def prediction_set(probabilities: Probabilities, labels: Sequence[str], quantile: SetQuantile) -> list[Prediction]:
    """The labels of one row, float32 [classes], whose probability is at least 1 - quantile, most probable first.

    The most probable label is always in: without it a set might be empty, and holds the right one no more often.
    """
    ranked = rank(probabilities, labels)
    least = 1.0 - quantile.quantile
    return ranked[:1] + [each for each in ranked[1:] if each.probability >= least]
