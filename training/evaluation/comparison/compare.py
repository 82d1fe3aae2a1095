"""Runs two versions on the same images and says how they differ."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from classifier import provenance
from classifier.card import Card
from classifier.engines import Probabilities
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore, onnx_file
from training.datasets.dataset import Split
from training.evaluation.comparison.cost import memory_bytes, p50_ms
from training.evaluation.comparison.mcnemar import mcnemar_exact
from training.evaluation.comparison.record import ClassFigures, Comparison, Figures, LabelChanges, Pairs
from training.evaluation.comparison.same_images import SameImages, read_same_images
from training.evaluation.scores import Evaluation, evaluate
from training.progress import Counted, Progress, silent


class Disagreement(NamedTuple):
    """An image that only one version gets right; `wrong` is the label of the other, with its probability, 0..1.

    `right` says which version is: 0 the candidate, 1 the baseline. `other` is MODEL@VERSION of the one that errs.
    """

    position: int
    file: str | None
    true: str
    right: int
    other: str
    wrong: str
    probability: float


class Answered(NamedTuple):
    """One version's answers to the images. `unfamiliar` is the share of them that look so; None: it does not say."""

    evaluation: Evaluation
    unfamiliar: float | None


@dataclass(frozen=True)
class Compared:
    """The record of a comparison, and what its pictures are drawn from: `evaluations` has one for each version."""

    record: Comparison
    images: SameImages
    cards: tuple[Card, ...]
    evaluations: tuple[Evaluation, ...]

    @property
    def disagreements(self) -> list[Disagreement]:
        """Images that only one version gets right, the surest wrong answer first, equal ones by position."""
        if len(self.cards) < 2:
            return []
        found = [
            self._disagreement(int(position), right, 1 - right)
            for right in (0, 1)
            for position in np.flatnonzero(_right(self.evaluations[right]) & ~_right(self.evaluations[1 - right]))
        ]
        return sorted(found, key=lambda each: (-each.probability, each.position))

    def _disagreement(self, position: int, right: int, wrong: int) -> Disagreement:
        split, answers = self.images.splits[0], self.evaluations[wrong]
        column = int(answers.predicted[position])
        return Disagreement(
            position=position,
            file=split.files[position] if split.files else None,
            true=self.images.names[position],
            right=right,
            other=f"{self.cards[wrong].name}@{self.cards[wrong].version}",
            wrong=self.cards[wrong].labels[column],
            probability=round(float(answers.probabilities[position, column]), 4),
        )


def compare(
    models: ModelStore,
    candidate: Card,
    baseline: Card | None,
    data: Path,
    split: str,
    *,
    with_memory: bool = False,
    progress: Progress = silent,
) -> Compared:
    """Run the candidate, and the baseline where there is one, as they are served, on one split of the data.

    Each answers with all its labels, so one that names a label the other lacks is wrong. `with_memory` loads each once
    more, in a process of its own. Raises DatasetError, UnknownModel or BrokenModel.
    """
    cards = (candidate,) if baseline is None else (candidate, baseline)
    images = read_same_images(models, data, cards, split, progress)
    memory = [memory_bytes(models, card.name, card.version) if with_memory else None for card in cards]
    counted = Counted(progress, "evaluating", sum(map(len, images.splits)))
    with _opened(models, cards) as loaded:
        answered = [
            _answered(each, of_version, counted) for each, of_version in zip(loaded, images.splits, strict=True)
        ]
        return compare_answers(loaded, images, answered, memory)


def compare_answers(
    loaded: Sequence[LoadedModel], images: SameImages, answered: Sequence[Answered], memory: Sequence[int | None]
) -> Compared:
    """The comparison of a candidate and its baseline, or of a candidate alone, that have answered the images.

    `memory` is what each takes, in bytes. One image at a time is timed here.
    """
    times = p50_ms([each.engine for each in loaded], images.splits)
    evaluations, cards = tuple(each.evaluation for each in answered), tuple(each.card for each in loaded)
    figures = [
        _figures(each, *found, p50, grown)
        for each, found, p50, grown in zip(loaded, answered, times, memory, strict=True)
    ]
    return Compared(_record(images, figures, cards, evaluations), images, cards, evaluations)


def label_changes(candidate: Sequence[str], baseline: Sequence[str]) -> LabelChanges:
    """What happened to the labels, in column order, from the baseline to the candidate."""
    common = [label for label in candidate if label in baseline]
    return LabelChanges(
        added=tuple(label for label in candidate if label not in baseline),
        removed=tuple(label for label in baseline if label not in candidate),
        reordered=common != [label for label in baseline if label in candidate],
    )


@contextlib.contextmanager
def _opened(models: ModelStore, cards: Sequence[Card]) -> Iterator[list[LoadedModel]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.closing(LoadedModel.open(models, card.name, card.version))) for card in cards
        ]


def _answered(loaded: LoadedModel, split: Split, counted: Counted) -> Answered:
    unfamiliar: list[bool] = []

    def infer(pixels_u8: npt.NDArray[np.uint8]) -> Probabilities:
        found = loaded.engine.answer(pixels_u8)
        if found.familiarity is not None:
            unfamiliar.extend(loaded.card.is_familiar(score) is False for score in found.familiarity.tolist())
        return found.probabilities

    evaluation = evaluate(infer, split, counted=counted)
    return Answered(evaluation, float(np.mean(unfamiliar)) if unfamiliar else None)


def _figures(
    loaded: LoadedModel, answers: Evaluation, unfamiliar: float | None, p50: float, memory: int | None
) -> Figures:
    card, (low, high) = loaded.card, answers.interval
    return Figures(
        model=card.name,
        version=card.version,
        recipe=card.recipe,
        engine=loaded.engine.name,
        precision=loaded.engine.precision,
        parameters=card.parameters,
        accuracy=answers.accuracy,
        interval=(round(low, 6), round(high, 6)),
        calibration_error=round(answers.calibration_error, 6),
        unfamiliar=None if unfamiliar is None else round(unfamiliar, 6),
        p50_ms=round(p50, 4),
        memory_bytes=memory,
        size_bytes=card.files[onnx_file(loaded.engine.precision)].bytes,
    )


def _record(
    images: SameImages, figures: Sequence[Figures], cards: Sequence[Card], evaluations: Sequence[Evaluation]
) -> Comparison:
    here = provenance.of_this_run()
    alone = len(cards) == 1
    return Comparison(
        candidate=figures[0],
        baseline=None if alone else figures[1],
        data=images.record,
        labels=LabelChanges() if alone else label_changes(cards[0].labels, cards[1].labels),
        pairs=None if alone else _pairs(*evaluations),
        classes=tuple(_class_figures(label, images, evaluations) for label in images.labels),
        date=here.as_json()["date"],
        commit=here.commit,
        machine=here.machine,
    )


def _pairs(candidate: Evaluation, baseline: Evaluation) -> Pairs:
    ours, theirs = _right(candidate), _right(baseline)
    only_candidate, only_baseline = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return Pairs(
        both=int((ours & theirs).sum()),
        only_candidate=only_candidate,
        only_baseline=only_baseline,
        neither=int((~ours & ~theirs).sum()),
        p_value=mcnemar_exact(only_candidate, only_baseline),
    )


def _class_figures(label: str, images: SameImages, evaluations: Sequence[Evaluation]) -> ClassFigures:
    of_label = np.array([name == label for name in images.names])
    right = [int(_right(each)[of_label].sum()) for each in evaluations]
    return ClassFigures(
        label=label,
        images=int(of_label.sum()),
        candidate=right[0],
        baseline=right[1] if len(right) > 1 else None,
    )


def _right(answers: Evaluation) -> npt.NDArray[np.bool_]:
    return np.asarray(answers.predicted == answers.labels, np.bool_)
