"""Comparisons as they might be found, without networks."""

from __future__ import annotations

from typing import Any

from training.evaluation.comparison.mcnemar import mcnemar_exact
from training.evaluation.comparison.record import (
    ClassFigures,
    Comparison,
    DataRecord,
    Figures,
    LabelChanges,
    Pairs,
)
from training.evaluation.scores import wilson_interval

IMAGES = 1000


def figures(version: int, right: int, **changes: Any) -> Figures:
    """A version that gets `right` of the 1,000 images right."""
    return Figures(
        **{
            "model": "cups",
            "version": version,
            "recipe": "features",
            "engine": "openvino",
            "precision": "float32",
            "parameters": 1234,
            "accuracy": right / IMAGES,
            "interval": wilson_interval(right, IMAGES),
            "calibration_error": 0.01,
            "p50_ms": 2.0,
            "memory_bytes": None,
            "size_bytes": 1_000_000,
        }
        | changes
    )


def comparison(
    only_candidate: int = 0,
    only_baseline: int = 0,
    *,
    neither: int = 50,
    candidate: dict[str, Any] | None = None,
    classes: tuple[ClassFigures, ...] = (),
    labels: LabelChanges = LabelChanges(),
    alone: bool = False,
) -> Comparison:
    """Version 2 beside version 1, or `alone`; the counts are images. `candidate` changes figures of version 2."""
    both = IMAGES - only_candidate - only_baseline - neither
    pairs = Pairs(
        both=both,
        only_candidate=only_candidate,
        only_baseline=only_baseline,
        neither=neither,
        p_value=mcnemar_exact(only_candidate, only_baseline),
    )
    return Comparison(
        candidate=figures(2, both + only_candidate, **(candidate or {})),
        baseline=None if alone else figures(1, both + only_baseline),
        data=DataRecord(
            name="photos",
            split="test",
            images=IMAGES,
            fingerprint="0" * 64,
            left_out=0,
            unknown_to=(),
            other_labels=0,
            skipped=0,
        ),
        labels=labels,
        pairs=None if alone else pairs,
        classes=classes,
        date="2026-11-26T12:00:00Z",
        commit="unknown",
        machine="a processor, 2 cores",
    )
