"""Probabilities by column to predictions by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from classifier.engines import Probabilities


class Prediction(NamedTuple):
    """One label and its probability, 0..1."""

    label: str
    probability: float


def rank(probabilities: Probabilities, labels: Sequence[str], top_k: int | None = None) -> list[Prediction]:
    """Pair one row, float32 [classes], with its labels, most probable first, equal ones in column order."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return [Prediction(labels[i], float(probabilities[i])) for i in order]
