"""How many images each class has."""

from __future__ import annotations

import numpy as np

from training.checking.evidence import Evidence
from training.checking.finding import Case, Finding, Severity
from training.fitting.class_weights import IMBALANCE

VERY_UNEVEN = 10.0  # times as many images as another class
ENOUGH = 30  # images of each class for `features`; docs/tuning.md#images-of-a-class


def find_imbalance(evidence: Evidence) -> list[Finding]:
    """Classes with far fewer images than others, with few, and with one."""
    classes, sizes = evidence.pictures.classes, evidence.class_sizes
    found = []
    if len(sizes) > 1 and sizes.min() > 0 and sizes.max() >= IMBALANCE * sizes.min():
        ratio = sizes.max() / sizes.min()
        severity: Severity = "problem" if ratio >= VERY_UNEVEN else "warning"
        most, least = classes[int(sizes.argmax())], classes[int(sizes.argmin())]
        found.append(
            Finding(
                "balance",
                severity,
                f"{most} has {ratio:.1f} times the images of {least} ({sizes.max():,} and {sizes.min():,})",
                f"Always to say {most} would be right for {sizes.max() / sizes.sum():.1%} of the images: "
                "look at the recall of each class. `fit` weighs rare classes up; more images are better.",
                int(sizes.sum()),
                _cases(evidence),
            )
        )
    if len(few := np.flatnonzero(sizes < ENOUGH)):
        named = ", ".join(classes[i] for i in few[:5]) + (f" and {len(few) - 5:,} more" if len(few) > 5 else "")
        alone = [classes[i] for i in few if sizes[i] == 1]
        advice = f"From some {ENOUGH} images of a class on, `fit features` gains little by more of them."
        if alone:
            advice += f" A class with one image cannot be both learned and tested: {', '.join(alone[:5])}."
        severity = "warning" if sizes[few].min() < ENOUGH // 3 else "note"
        title = f"{named} {'has' if len(few) == 1 else 'have'} fewer than {ENOUGH} images"
        found.append(Finding("balance", severity, title, advice, int(sizes[few].sum()), _cases(evidence)))
    return found


def _cases(evidence: Evidence) -> tuple[Case, ...]:
    """A line for each class, the smallest first."""
    classes, sizes = evidence.pictures.classes, evidence.class_sizes
    return tuple(Case((), f"{classes[i]}: {sizes[i]:,} images") for i in np.argsort(sizes, kind="stable"))
