"""What came of a fit, in lines for a person."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from classifier.card import Card, Metrics
from training.datasets.dataset import Dataset

SHOWN = 10  # classes
WIDE = 0.1  # an interval of the accuracy that is wider than this comes of few images


def metrics_lines(card: Card) -> list[str]:
    """Accuracy and loss of each split; of the last one, which is the test if there is one, what they are worth too."""
    lines = [
        f"{split}: accuracy {metrics.accuracy:.4f}, loss {metrics.loss:.4f} on {metrics.images:,} images"
        for split, metrics in card.metrics.items()
    ]
    return [*lines, *_worth("test" if "test" in card.metrics else "validation", card)]


def _worth(split: str, card: Card) -> list[str]:
    found = card.metrics[split]
    if found.interval is None or found.majority is None or found.balanced_accuracy is None or found.recall is None:
        return []
    interval, *few = interval_lines(found.interval, found.images, split)
    largest = f"always naming the largest class {found.majority:.4f}"
    return [
        f"  balanced accuracy {found.balanced_accuracy:.4f}, {largest}, {interval}",
        f"  recall: {_recalls(card.labels, found)}",
        *few,
    ]


def interval_lines(interval: tuple[float, float], images: int, split: str) -> list[str]:
    """The interval of an accuracy, and a note where it comes of few images."""
    low, high = interval
    counted = f"{images:,} images" if split == "all" else f"{images:,} {split} images"
    few = [f"note: {counted} are few; of others {low:.0%} to {high:.0%} may be right"]
    return [f"95 % interval {low:.4f} to {high:.4f}", *(few if high - low > WIDE else [])]


def _recalls(labels: Sequence[str], found: Metrics) -> str:
    """The recall of each class; of the classes with the lowest where there are many."""
    assert found.recall is not None  # noqa: S101  (whoever calls this has looked)
    each = [(label, value) for label, value in zip(labels, found.recall, strict=True) if value is not None]
    if len(each) <= SHOWN:
        return ", ".join(f"{label} {value:.4f}" for label, value in each)
    lowest = sorted(each, key=lambda pair: pair[1])[:SHOWN]
    return ", ".join(f"{label} {value:.4f}" for label, value in lowest) + f"; {len(each) - SHOWN:,} others are higher"


def advice_line(dataset: Dataset, wanted: int | None) -> str:
    """Of which class more photos would help most; `wanted` is its column, None where none stands out."""
    if wanted is None:
        return "advice: more photos of any class would help alike"
    label = dataset.labels[wanted]
    return f"advice: {sum(dataset.class_counts[label].values()):,} more photos of {label} would help most"


def next_lines(card: Card, models: Path | None, data: Path) -> list[str]:
    """The commands to go on with; `models` is where they have to look, None where they look anyway."""
    store = f" --models {shlex.quote(str(models))}" if models else ""
    return [
        f"next: sightline serve{store}",
        f"next: sightline evaluate {card.name} --data {shlex.quote(str(data))}{store}",
        f"next: sightline release {card.name} --data {shlex.quote(str(data))}{store}",
    ]
