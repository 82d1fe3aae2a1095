"""Chooses how a version tells unfamiliar images: by what tells made outliers from validation images best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.card import FamiliarityTrial, InputSpec, Method, MethodTrial
from training.datasets.dataset import Dataset, Split, in_parts
from training.honesty import methods
from training.honesty.detection import auroc, false_positive_rate
from training.honesty.distance import Directions, Distance
from training.honesty.features import LOGITS, Features, cost, feature_sets, multiply_adds, reader
from training.honesty.outliers.made import KINDS_TO_CHOOSE, to_choose
from training.progress import Counted, Progress, silent

RANKS = (64, 128)
FEWEST_IMAGES = 100  # validation images, for a scale and a threshold that mean something
TRAINING_IMAGES, GENUINE_IMAGES, OUTLIERS = 5_000, 2_000, 200  # at most, the last of each kind
GOOD = 0.9  # AUROC on more than half of the kinds of outliers; with less, a version rather says nothing
MOST_COST = 0.02  # of the network's own multiply-adds
FREE = 160_000  # multiply-adds that any network may have added: beside an answer's other work they hardly count

Rows = Mapping[str, Features]  # by feature


@dataclass(frozen=True)
class Chosen:
    """A distance that a network can carry: on these features, side by side."""

    features: tuple[str, ...]
    distance: Distance
    cost: float = 0.0  # in multiply-adds, as a share of the network's own


@dataclass(frozen=True)
class _Tried:
    """A trial, what it was of where a network can carry that, and the AUROC of each kind of outlier."""

    trial: MethodTrial
    chosen: Chosen | None
    areas: tuple[float, ...]

    @property
    def good_kinds(self) -> int:
        return sum(area >= GOOD for area in self.areas)

    @property
    def is_good(self) -> bool:
        return 2 * self.good_kinds > len(self.areas)


def choose(
    network: Any, dataset: Dataset, spec: InputSpec, progress: Progress = silent, seed: int = 0
) -> tuple[Chosen | None, FamiliarityTrial | None]:
    """The best distance and the record of all that was tried; no distance where none is good, no record without images.

    `network` is a Keras network from pixels to probabilities.
    """
    validation = dataset.splits["validation"]
    if len(validation) < FEWEST_IMAGES:
        return None, None
    train = _some(dataset.splits["train"], TRAINING_IMAGES, seed)
    genuine = _some(validation, GENUINE_IMAGES, seed)
    own, classes = multiply_adds(network), len(dataset.labels)
    most = max(MOST_COST, FREE / own)
    sets = _carried(network, classes, most * own)
    read = reader(network, dict.fromkeys(feature for names in sets.values() for feature in names))
    counted = Counted(progress, "looking at made outliers", len(train) + len(genuine) + KINDS_TO_CHOOSE * OUTLIERS)
    known, seen = read_counted(read, train.pixels, counted), read_counted(read, genuine.pixels, counted)
    outliers = to_choose(spec, genuine, OUTLIERS, seed)
    others = {kind: read_counted(read, pixels, counted) for kind, pixels in outliers}
    tried = list(
        _all_tried(
            sets, known, train.labels, seen, others, lambda features, rank: cost(network, features, rank, classes) / own
        )
    )
    taken = _best(tried, most)
    record = FamiliarityTrial(
        split="validation",
        images=len(genuine),
        outliers={kind: len(rows[LOGITS]) for kind, rows in others.items()},
        tried=tuple(each.trial for each in tried),
        most_cost=round(most, 6),
        reason=_reason(taken, most),
    )
    return taken.chosen if taken and taken.is_good else None, record


def _carried(network: Any, classes: int, most: float) -> dict[str, tuple[str, ...]]:
    """The features that cost a network no more than so many multiply-adds; the first ones whatever they cost.

    The others may be thousands of numbers of each image. docs/tuning.md#memory-of-a-fit
    """
    first, *more = feature_sets(network).items()
    return dict([first, *(each for each in more if cost(network, each[1], 1, classes) <= most)])


def _best(tried: Iterable[_Tried], most: float) -> _Tried | None:
    """The best of what a network can carry at that cost, the cheaper of equals."""
    affordable = [(each.trial.auroc, -each.chosen.cost, each) for each in tried if each.chosen]
    affordable = [each for each in affordable if -each[1] <= most]
    return max(affordable, key=lambda each: each[:2], default=(0.0, 0.0, None))[2]


def read_counted(read: Any, pixels: Any, counted: Counted) -> Rows:
    """The features of all images, and progress."""
    parts = []
    for some in in_parts(pixels):
        parts.append(read(some))
        counted.add(len(parts[-1][LOGITS]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def side_by_side(rows: Rows, features: Iterable[str]) -> Features:
    """Several features of each image as one row."""
    return np.concatenate([rows[feature] for feature in features], axis=1)


def _some(split: Split, most: int, seed: int) -> Split:
    drawn = np.random.default_rng([seed, 3]).permutation(len(split))[:most]
    return split.take(np.sort(drawn))


def _all_tried(
    sets: Mapping[str, tuple[str, ...]],
    train: Rows,
    labels: npt.NDArray[np.int64],
    genuine: Rows,
    outliers: Mapping[str, Rows],
    cost_of: Callable[[tuple[str, ...], int], float],
) -> Iterator[_Tried]:
    def tried(
        method: Method,
        features: tuple[str, ...],
        score: Any,
        rank: int | None = None,
        chosen: Chosen | None = None,
    ) -> _Tried:
        familiar = score(genuine)
        others = {kind: score(rows) for kind, rows in outliers.items()}
        areas = {kind: auroc(familiar, each) for kind, each in others.items()}
        by_mistake = [false_positive_rate(familiar, each) for each in others.values()]
        trial = MethodTrial(
            method=method,
            features=features,
            rank=rank,
            auroc=round(float(np.mean(list(areas.values()))), 6),
            false_positive_rate=round(float(np.mean(by_mistake)), 6),
            worst=min(areas, key=areas.__getitem__),
            cost=None if chosen is None else round(chosen.cost, 6),
        )
        return _Tried(trial, chosen, tuple(areas.values()))

    yield tried("maximum probability", (LOGITS,), lambda rows: methods.maximum_probability(_softmax(rows[LOGITS])))
    yield tried("energy", (LOGITS,), lambda rows: methods.energy(rows[LOGITS].astype(np.float64)))
    yield tried("generalised entropy", (LOGITS,), lambda rows: methods.generalised_entropy(_softmax(rows[LOGITS])))
    first = next(iter(sets.values()))
    virtual = methods.VirtualLogit(side_by_side(train, first), train[LOGITS].astype(np.float64))
    yield tried(
        "virtual logit",
        (*first, LOGITS),
        lambda rows: virtual(side_by_side(rows, first), rows[LOGITS].astype(np.float64)),
    )
    for features in sets.values():
        known = side_by_side(train, features)
        stored = known[: methods.STORED]
        yield tried(
            "nearest neighbours",
            features,
            lambda rows, stored=stored, f=features: methods.nearest_neighbours(stored, side_by_side(rows, f)),
        )
        directions = Directions.of(known)
        for rank in sorted({directions.supported(rank) for rank in RANKS}):
            near, whole = directions.distance(labels, rank), directions.distance(None, rank)
            yield tried(
                "mahalanobis",
                features,
                lambda rows, near=near, f=features: -near.of(side_by_side(rows, f)),
                rank,
                Chosen(features, near, cost_of(features, rank)),
            )
            yield tried(
                "relative mahalanobis",
                features,
                lambda rows, near=near, whole=whole, f=features: (
                    whole.of(side_by_side(rows, f)) - near.of(side_by_side(rows, f))
                ),
                rank,
            )


def _softmax(logits: Features) -> Features:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _reason(taken: _Tried | None, most: float) -> str:
    limit = f"{most:.2%} of the network's own multiply-adds"
    if taken is None or taken.chosen is None:
        return f"none was taken: all that a network can carry costs more than {limit}"
    trial = taken.trial
    found = (
        f"{trial.method} of rank {trial.rank} on {len(trial.features)} features has a mean AUROC of {trial.auroc:.4f}, "
        f"and at least {GOOD} on {taken.good_kinds} of {len(taken.areas)} kinds of outliers for {taken.chosen.cost:.2%}"
    )
    if not taken.is_good:
        return f"none was taken: {found}, the best that a network can carry for {limit}, and not on most kinds"
    return f"{found}: the best of what a network can carry for {limit}"
