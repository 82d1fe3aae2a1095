"""A version with an int8 network beside the float32 one: made, compared on its own images, and saved or refused."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from classifier import provenance, store
from classifier.card import (
    NEWEST_FORMAT,
    AgreementCheck,
    Card,
    Int8Sample,
    PrecisionFigures,
    QuantizationChange,
    QuantizationRecord,
)
from classifier.engines import Answers, EngineOptions, open_engine
from classifier.engines.agreement import MAX_ACCURACY_CHANGE_INT8, MIN_IMAGES, close_enough
from classifier.engines.openvino import supports_int8
from classifier.errors import EngineUnavailable, SightlineError
from classifier.loaded_model import LoadedModel
from classifier.store import file_record
from training.datasets.dataset import Dataset, Split
from training.datasets.sampling import spread
from training.evaluation.comparison.compare import Answered, compare_answers
from training.evaluation.comparison.record import DataRecord
from training.evaluation.comparison.same_images import SameImages
from training.evaluation.scores import Evaluation
from training.export import agreement
from training.honesty.honest import answers_to
from training.progress import Counted, Progress, silent
from training.releasing.int8_network import int8_network
from training.releasing.policy import Policy
from training.releasing.rules import broken_rules
from training.saving import saving

CALIBRATION_IMAGES = 400  # docs/tuning.md#int8
FLOAT_CONVOLUTIONS = (3, 6)  # so many of the first ones, tried one after the other; docs/tuning.md#int8
LIBRARIES = ("nncf", "onnx", "onnxruntime", "openvino")


class NotQuantized(SightlineError):
    """In int8 the version is too far from float32, so nothing was saved."""

    code = "not-quantized"
    title = "The int8 network is not good enough"


class Both(NamedTuple):
    """The answers to one split: in float32, and in int8."""

    split: Split
    before: Answers
    after: Answers

    @property
    def evaluations(self) -> tuple[Evaluation, Evaluation]:
        before, after = (Evaluation(each.probabilities, self.split.labels) for each in (self.before, self.after))
        return before, after


def quantize(
    models: store.ModelStore, card: Card, dataset: Dataset, policy: Policy, progress: Progress = silent
) -> Card:
    """Add a version that has an int8 network as well, and return its card.

    The first convolutions stay in float32, and more of them where int8 is too far from float32 otherwise. `dataset` is
    what the version was fitted on: its training images give the scales, its validation images decide. Raises
    NotQuantized where int8 breaks the policy there or is further than 0.003 from the accuracy in float32, and where a
    server would not choose it. Raises EngineUnavailable on a processor that is not made for int8.
    """
    if not supports_int8():
        raise EngineUnavailable("int8 is compared as it is served, and this processor has neither VNNI nor AMX")
    with saving("the version", models.root):
        return models.save(card.name, lambda folder: _fill(folder, models, card, dataset, policy, progress))


def _fill(
    folder: Path, models: store.ModelStore, card: Card, dataset: Dataset, policy: Policy, progress: Progress
) -> Card:
    for file in models.folder(card.name, card.version).iterdir():
        if file.name != store.CARD:
            shutil.copyfile(file, folder / file.name)
    for count in FLOAT_CONVOLUTIONS:
        try:
            return _quantized(folder, card, dataset, policy, progress, count)
        except NotQuantized as error:
            refused = error
    raise refused


def _quantized(
    folder: Path, card: Card, dataset: Dataset, policy: Policy, progress: Progress, float_convolutions: int
) -> Card:
    """Write the int8 network and compare it. Raises NotQuantized."""
    chosen = _calibration_images(dataset.splits["train"])
    made = int8_network(onnx.load(folder / store.ONNX), chosen.pixels[:], float_convolutions)
    onnx.save(made, folder / store.INT8)
    drafted = card.model_copy(update={"files": card.files | {store.INT8: file_record(folder / store.INT8)}})
    held_out = "test" if "test" in dataset.splits else "validation"
    with _opened(drafted, folder) as (before, after):
        record = _record(after, card.version, len(chosen))
        after.card = drafted = drafted.model_copy(update={"format": NEWEST_FORMAT, "quantization": record})
        answers = _answers(before, after, dataset, progress)
        found = answers[held_out]
        check = agreement(after, held_out, found.split, found.after, found.before)
        broken = [*_broken_rules(before, after, answers["validation"], dataset, policy), *_unfit_to_serve(check)]
    if broken:
        raise NotQuantized(f"{card.name} version {card.version} is not saved in int8: {'; '.join(broken)}")
    record = record.model_copy(update={"changes": {name: _change(card, both) for name, both in answers.items()}})
    checks = (*(each for each in card.checks if each.precision != "int8"), check)
    return drafted.model_copy(update={"quantization": record, "checks": checks, "released": None})


def _record(int8: LoadedModel, from_version: int, images: int) -> QuantizationRecord:
    """What is known before anything is compared."""
    probabilities, familiarity = int8.sample_answer()
    row = tuple(float(each) for each in np.clip(probabilities, 0, 1))
    return QuantizationRecord(
        from_version=from_version,
        images=images,
        libraries=provenance.of_this_run(LIBRARIES).libraries,
        sample=Int8Sample(probabilities=row, familiarity=familiarity),
        changes={},
    )


def _calibration_images(train: Split) -> Split:
    return train.take(spread(train.labels, max(CALIBRATION_IMAGES, len(np.unique(train.labels)))))


@contextlib.contextmanager
def _opened(card: Card, folder: Path) -> Iterator[tuple[LoadedModel, LoadedModel]]:
    """The draft in float32 and in int8."""
    sample = (folder / store.SAMPLE).read_bytes()
    with contextlib.ExitStack() as stack:
        engines = (open_engine(card, folder, EngineOptions("openvino", name)) for name in ("float32", "int8"))
        before, after = (stack.enter_context(contextlib.closing(LoadedModel(card, e, sample))) for e in engines)
        yield before, after


def _answers(before: LoadedModel, after: LoadedModel, dataset: Dataset, progress: Progress) -> dict[str, Both]:
    asked = {name: split for name, split in dataset.splits.items() if name != "train"}
    counted = Counted(progress, "comparing int8 with float32", 2 * sum(map(len, asked.values())))
    return {
        name: Both(split, *(answers_to(each.engine.answer, split, counted) for each in (before, after)))
        for name, split in asked.items()
    }


def _broken_rules(
    before: LoadedModel, after: LoadedModel, both: Both, dataset: Dataset, policy: Policy
) -> Iterator[str]:
    """What int8 breaks on the validation images: the rules of a release, and its own one on accuracy."""
    names = tuple(dataset.labels[column] for column in both.split.labels)
    data = DataRecord(
        name=dataset.name,
        split="validation",
        images=len(both.split),
        fingerprint=dataset.fingerprint,
        left_out=0,
        unknown_to=(),
        other_labels=0,
        skipped=len(dataset.skipped),
    )
    images = SameImages((both.split, both.split), names, dataset.labels, data)
    was, is_ = both.evaluations
    answered = (Answered(is_, None), Answered(was, None))
    found = compare_answers((after, before), images, answered, (None, None)).record
    yield from broken_rules(found, policy, new_labels=False)
    if abs(is_.accuracy - was.accuracy) > MAX_ACCURACY_CHANGE_INT8 + 1e-9:
        yield (
            f"accuracy: {is_.accuracy:.4f} in place of {was.accuracy:.4f} on {len(both.split):,} validation images; "
            f"it may change by {MAX_ACCURACY_CHANGE_INT8:g}"
        )


def _unfit_to_serve(check: AgreementCheck) -> Iterator[str]:
    """Why no server would choose int8, by the images that the card states its accuracy on."""
    if check.images < MIN_IMAGES:
        yield f"{check.images:,} {check.split} images are too few to tell; {MIN_IMAGES:,} are needed"
    elif not close_enough(check):
        yield (
            f"on {check.images:,} {check.split} images the accuracy is {check.accuracy:.4f} in place of "
            f"{check.reference_accuracy:.4f}, the top class the same on {check.same_top_class:.2%}, "
            f"the sample off by {check.sample_difference:.3f}"
            + ("" if check.same_verdict is None else f", the word on familiarity the same on {check.same_verdict:.2%}")
        )


def _change(card: Card, both: Both) -> QuantizationChange:
    was, is_ = both.evaluations
    return QuantizationChange(
        images=len(both.split),
        before=_figures(card, was, both.before),
        after=_figures(card, is_, both.after),
    )


def _figures(card: Card, answers: Evaluation, found: Answers) -> PrecisionFigures:
    least = None
    if card.familiarity is not None and found.familiarity is not None:
        least = round(float(np.quantile(found.familiarity, 1.0 - card.familiarity.keep)), 6)
    return PrecisionFigures(
        accuracy=answers.accuracy,
        calibration_error=round(answers.calibration_error, 6),
        familiarity_threshold=least,
        recall=tuple(None if each.recall is None else round(each.recall, 6) for each in answers.class_scores),
    )
