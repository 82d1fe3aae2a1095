"""Probabilities by column to predictions by label."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from classifier.engines import Probabilities

_PROBABILITY = itemgetter(0)


class Prediction(NamedTuple):
    """One label and its probability, 0..1."""

    label: str
    probability: float


def rank(probabilities: Probabilities, labels: Sequence[str], top_k: int | None = None) -> list[Prediction]:
    """Pair one row, float32 [classes], with its labels, most probable first, equal ones in column order."""
    return [Prediction(label, probability) for probability, label in ranked(probabilities, labels, top_k)]


def ranked(probabilities: Probabilities, labels: Sequence[str], top_k: int | None = None) -> list[tuple[float, str]]:
    """The same as plain pairs, probability first: a server makes very many of them."""
    # A handful of numbers is sorted before NumPy has begun. Sorting keeps the order of equals also in reverse.
    return sorted(zip(probabilities.tolist(), labels, strict=True), key=_PROBABILITY, reverse=True)[:top_k]
