"""What the shipped versions' cards say of how far answers can be trusted: the tables of docs/honest-answers.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from classifier.card import CalibrationRecord, Card, FamiliarityRecord, Figure, PredictionSetRecord, Share
from classifier.store import ModelStore
from load_tests.reporting.tables import table
from training.honesty.conformal import exchangeable_interval, position_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "honest-answers.md"
STORE = ModelStore(ROOT / "models")


def calibrations() -> Iterable[str]:
    """One row per calibrated version: its expected calibration error on the test images before and after."""
    return table(
        (
            "version",
            "images",
            "temperature",
            "before, by width",
            "after, by width",
            "after, by mass",
            "least, by width",
        ),
        [_calibration(card, card.calibration) for card in _cards() if card.calibration],
    )


def familiarities() -> Iterable[str]:
    """One row per version that has a familiarity: what it costs, what it doubts and what it catches."""
    return table(
        ("version", "cost", "genuine rejected", "AUROC / caught"),
        [_familiarity(card, card.familiarity) for card in _cards() if card.familiarity],
    )


def prediction_sets() -> Iterable[str]:
    """One row per version: how often sets of test images hold the right label, for each coverage."""
    known = [(card, card.prediction_sets) for card in _cards() if card.prediction_sets]
    coverages = [each.coverage for each in known[0][1].quantiles]
    return table(
        ("version", "fitted on", "checked on", *(f"{coverage:g}" for coverage in coverages)),
        [_sets(card, sets) for card, sets in known],
    )


def _cards() -> Iterator[Card]:
    for name, versions in STORE.versions().items():
        for version in versions:
            yield STORE.card(name, version)


def _calibration(card: Card, record: CalibrationRecord) -> tuple[str, ...]:
    before, after = record.before, record.after
    return (
        f"`{card.name}` {card.version}",
        f"{record.images:,}",
        f"{record.temperature:.2f}",
        _figure(before.error_by_width),
        _figure(after.error_by_width),
        _figure(after.error_by_mass),
        f"{record.least_error_by_width:.4f}",
    )


def _figure(figure: Figure) -> str:
    return f"{figure.value:.4f} ({figure.interval[0]:.4f}-{figure.interval[1]:.4f})"


def _familiarity(card: Card, record: FamiliarityRecord) -> tuple[str, ...]:
    point = record.point
    kinds = [
        f"{kind} {record.auroc[kind].value:.3f} / {share.value:.0%} of {share.images:,}"
        for kind, share in point.caught.items()
    ]
    cost = "not counted" if record.cost is None else f"{record.cost:.1%}"
    return f"`{card.name}` {card.version}", cost, _share(point.rejected), ", ".join(kinds)


def _share(share: Share) -> str:
    return f"{share.value:.1%} ({share.interval[0]:.1%}-{share.interval[1]:.1%})"


def _sets(card: Card, record: PredictionSetRecord) -> tuple[str, ...]:
    fitted, checked = record.fitted_images, record.quantiles[0].held.images
    cells = []
    for each in record.quantiles:
        position = position_of(each.coverage, fitted)
        low, high = each.exchangeable or exchangeable_interval(position, fitted, checked)  # older cards do not say
        cells.append(f"{each.held.value:.3f} ({low:.3f}-{high:.3f})")
    return f"`{card.name}` {card.version}", f"{fitted:,}", f"{checked:,}", *cells
