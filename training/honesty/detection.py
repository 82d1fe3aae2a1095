"""How well a score tells familiar images from others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from classifier.card import Figure

Floats = npt.NDArray[np.floating]

DRAWS = 200  # of a bootstrap
KEPT = 0.95


def auroc(genuine: Floats, outliers: Floats) -> float:
    """How often a genuine image has the higher score of a genuine image and an outlier, equal ones half: 0..1."""
    _, position, counts = np.unique(np.concatenate([genuine, outliers]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[position]
    above = ranks[: len(genuine)].sum() - len(genuine) * (len(genuine) + 1) / 2
    return float(above / (len(genuine) * len(outliers)))


def auroc_figure(genuine: Floats, outliers: Floats, seed: int = 0) -> Figure:
    """The same with its 95 % bootstrap interval."""
    draw = np.random.default_rng(seed)
    drawn = [auroc(draw.choice(genuine, len(genuine)), draw.choice(outliers, len(outliers))) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, (2.5, 97.5)).tolist()
    return Figure(value=round(auroc(genuine, outliers), 6), interval=(round(low, 6), round(high, 6)))


def false_positive_rate(genuine: Floats, outliers: Floats, kept: float = KEPT) -> float:
    """The share of outliers that get by a threshold that so many genuine images reach."""
    return float((outliers >= np.quantile(genuine, 1 - kept)).mean())
