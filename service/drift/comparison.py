"""What a version answered lately beside what its card expects: labels, confidence and familiarity, each judged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from classifier.card import Card, ExpectedAnswers, FamiliarityRecord, Histogram
from classifier.errors import SightlineError
from service.drift.scrape import Counted, UnusableMetrics
from service.drift.stability import Stability, stability

CHANGED, DRIFTED = 0.1, 0.25  # of the index; service.drift.stability says whose limits these are
LEAST_IMAGES = 100
LEAST_A_CATEGORY = 10  # images, in the mean: of fewer the interval is too narrow

Verdict = Literal["as expected", "changed", "drifted", "not certain", "too few images"]


class NothingExpected(SightlineError):
    """The card does not say what answers are expected."""

    code = "nothing-expected"
    title = "The card expects nothing"


class Row(NamedTuple):
    """One thing that is compared. Both counts are by `categories`; `needs` is how many images either is to have."""

    what: str
    categories: tuple[str, ...]
    expected: tuple[int, ...]
    now: tuple[int, ...]
    needs: int
    found: Stability | None
    verdict: Verdict

    def moved(self) -> list[tuple[str, float, float]]:
        """Each category with its share of the images expected and now, those that add most to the index first."""
        if self.found is None:
            return []
        shares = [
            (part, name, before / sum(self.expected), after / sum(self.now))
            for part, name, before, after in zip(
                self.found.parts, self.categories, self.expected, self.now, strict=True
            )
        ]
        return [(name, before, after) for _, name, before, after in sorted(shares, key=lambda one: -one[0])]

    def as_json(self) -> dict[str, Any]:
        found = self.found._asdict() if self.found else {}
        index = {key: round(found[key], 6) if found else None for key in ("psi", "low", "high", "plain")}
        categories = [
            {"category": name, "expected": before, "now": after}
            for name, before, after in zip(self.categories, self.expected, self.now, strict=True)
        ]
        return {
            "what": self.what,
            "verdict": self.verdict,
            **index,
            "needs_images": self.needs,
            "categories": categories,
        }


def rows(card: Card, counted: Counted) -> list[Row]:
    """Raises NothingExpected, and UnusableMetrics where the counts are in other categories than the card's."""
    expected = _expected(card)
    if strange := sorted(counted.labels.keys() - set(card.labels)):
        raise UnusableMetrics(
            f"the metrics count {', '.join(map(repr, strange[:5]))}, which are no labels of "
            f"{card.name}@{card.version}; are they of another version?"
        )
    labels = tuple(counted.labels.get(label, 0) for label in card.labels)
    found = [
        _row("labels", card.labels, expected.labels, labels),
        _row("confidence", _words(expected.confidence), *_probabilities(expected.confidence, counted.confidence)),
    ]
    if card.familiarity is not None and counted.familiarity:
        found.append(_familiarity_row(card.familiarity, counted.familiarity))
    return found


def _familiarity_row(record: FamiliarityRecord, counts: dict[float, int]) -> Row:
    """By those of the card's thresholds that the metrics count up to; the card has the genuine images below each."""
    below = {p.threshold: round(p.rejected.value * p.rejected.images) for p in record.points if p.threshold in counts}
    images = record.points[0].rejected.images
    bounds = sorted(below)
    expected = np.diff([0, *(below[bound] for bound in bounds), images])
    reached = [sum(count for bound, count in counts.items() if bound <= threshold) for threshold in bounds]
    now = np.diff([0, *reached, sum(counts.values())])
    edges = [0.0, *bounds, 1.0]
    words = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    return _row("familiarity", words, tuple(expected.tolist()), tuple(now.tolist()))


def _expected(card: Card) -> ExpectedAnswers:
    if card.expected is None:
        raise NothingExpected(
            f"the card of {card.name}@{card.version} does not say what answers are expected; "
            f"`sightline evaluate {card.name}@{card.version} --data PATH --expected` writes that into it"
        )
    return card.expected


def _row(what: str, categories: Sequence[str], expected: tuple[int, ...], now: tuple[int, ...]) -> Row:
    needs = max(LEAST_IMAGES, LEAST_A_CATEGORY * len(categories))
    found = stability(expected, now) if sum(now) else None
    enough = min(sum(expected), sum(now)) >= needs
    verdict = _judged(found) if found and enough else "too few images"
    return Row(what, tuple(categories), expected, now, needs, found, verdict)


def _judged(found: Stability) -> Verdict:
    """By the whole interval, so that chance alone makes no alarm."""
    if found.high < CHANGED:
        return "as expected"
    if found.low >= DRIFTED:
        return "drifted"
    return "changed" if found.low >= CHANGED else "not certain"


def _probabilities(expected: Histogram, counts: dict[float, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both counts by the card's buckets. Raises UnusableMetrics where the metrics have others."""
    bounds = sorted(bound for bound in counts if bound <= 1)  # beyond lies what was rounded up
    if bounds != list(expected.bounds):
        raise UnusableMetrics(
            f"the metrics count probabilities up to {_listed(bounds)}, the card up to {_listed(expected.bounds)}; "
            "`sightline evaluate MODEL --data PATH --expected` writes the card's anew"
        )
    now = [counts[bound] for bound in bounds]
    now[-1] += sum(images for bound, images in counts.items() if bound > 1)
    return expected.counts, tuple(now)


def _words(histogram: Histogram) -> tuple[str, ...]:
    lower = (0.0, *histogram.bounds)
    return tuple(f"{low:g} to {high:g}" for low, high in zip(lower, histogram.bounds, strict=False))


def _listed(bounds: Sequence[float]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


def lines(card: Card, compared: Sequence[Row], shown: int = 5) -> Iterator[str]:
    """A table for people, and the categories that have moved most."""
    expected = _expected(card)
    yield f"{card.name} version {card.version}: {sum(compared[0].now):,} images answered"
    yield f"expected: as of {expected.images:,} images of {expected.data}, {expected.split}"
    yield ""
    yield f"{'':12}{'PSI (95 % interval)':26}verdict"
    for row in compared:
        index = f"{row.found.psi:.3f} ({row.found.low:.3f} to {row.found.high:.3f})" if row.found else "-"
        needs = f": {row.needs:,} are needed, answered and expected" if row.verdict == "too few images" else ""
        yield f"{row.what:12}{index:26}{row.verdict}{needs}"
    for row in compared:
        if moved := row.moved()[:shown]:
            wide = max(len(name) for name, _, _ in moved) + 2
            yield ""
            yield f"{row.what:{wide + 12}}expected     now"
            yield from (f"{'':12}{name:{wide}}{before:8.1%}{after:8.1%}" for name, before, after in moved)
