"""From a trained network to one that answers honestly: calibrated, and with a word on images unlike those it knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier.card import CalibrationRecord, FamiliarityTrial, InputSpec
from classifier.engines import Answers, Familiarity, Probabilities
from training.datasets.dataset import Dataset, Examples, in_parts
from training.evaluation.scores import Evaluation
from training.honesty.checking import familiarity_record
from training.honesty.choosing import Chosen, choose, read_counted, side_by_side
from training.honesty.conformal import prediction_sets
from training.honesty.features import reader
from training.honesty.network import with_familiarity
from training.honesty.outliers.made import to_report
from training.honesty.reliability import least_errors, reliability
from training.honesty.temperature import FEWEST_IMAGES, divide_logits, fit_temperature
from training.progress import Counted, Progress, silent

REPORTED = 300  # outliers of each kind that is made, for stating what a method is worth
SCALED = 5_000  # validation images, at most, that the scale of familiarity is made of

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Honest:
    """The network that is served, what was done to it, and `run`: from pixels to its answers, in float32.

    `temperature` is None where too few validation images were there to fit one. `chosen` is None where the network has
    no second output, `trial` where nothing was tried.
    """

    network: Any
    temperature: float | None
    chosen: Chosen | None
    trial: FamiliarityTrial | None
    scaled_images: int
    run: Callable[[Pixels], Answers]


def make_honest(
    network: Any, dataset: Dataset, spec: InputSpec, validation: Probabilities, progress: Progress = silent
) -> Honest:
    """Calibrate a Keras network, in place, by its answers to the validation images, and choose what tells outliers."""
    split, temperature = dataset.splits["validation"], None
    if len(split) >= FEWEST_IMAGES:
        temperature = fit_temperature(validation, split.labels)
        divide_logits(network, temperature)
    chosen, trial = choose(network, dataset, spec, progress)
    served, scaled = network, 0
    if chosen is not None:
        genuine = split.take(np.sort(np.random.default_rng(5).permutation(len(split))[:SCALED]))
        scaled = len(genuine)
        read, counted = reader(network, chosen.features), Counted(progress, "measuring distances", scaled)
        distances = chosen.distance.of(side_by_side(read_counted(read, genuine.pixels, counted), chosen.features))
        served = with_familiarity(network, chosen, distances)
    return Honest(served, temperature, chosen, trial, scaled, answers_function(served))


def answers_function(network: Any) -> Callable[[Pixels], Answers]:
    """A Keras network of one or two outputs as a plain function, compiled once."""
    import tensorflow as tf

    compiled = tf.function(
        lambda pixels: network(pixels, training=False),
        input_signature=[tf.TensorSpec(network.input_shape, tf.uint8)],
        jit_compile=False,
    )

    def run(pixels_u8: Pixels) -> Answers:
        found = compiled(tf.constant(pixels_u8))
        if not isinstance(found, list | tuple):
            return Answers(found.numpy())
        return Answers(found[0].numpy(), found[1].numpy().reshape(-1))

    return run


def answers_to(run: Callable[[Pixels], Answers], examples: Examples, counted: Counted) -> Answers:
    """The answers to all images of a split."""
    parts = []
    for some in in_parts(examples.inputs):
        parts.append(run(some))
        counted.add(len(parts[-1].probabilities))
    return joined_answers(parts)


def joined_answers(parts: list[Answers]) -> Answers:
    """The answers to several batches, one after the other."""
    scores = [part.familiarity for part in parts if part.familiarity is not None]
    return Answers(np.concatenate([part.probabilities for part in parts]), np.concatenate(scores) if scores else None)


def honesty_of(
    honest: Honest,
    dataset: Dataset,
    spec: InputSpec,
    before: Mapping[str, Probabilities],
    after: Mapping[str, Answers],
    held_out: str,
    others: Mapping[str, Pixels] | None = None,
) -> dict[str, Any]:
    """What a card says of calibration, prediction sets and familiarity, by its fields.

    `before` and `after` are the answers to the validation and the held-out images without and with what was done.
    `others` are outliers of other data sets, by kind.
    """
    labels = {name: dataset.splits[name].labels for name in after}
    is_, was = Evaluation(after[held_out].probabilities, labels[held_out]), before[held_out]
    validation = Evaluation(after["validation"].probabilities, labels["validation"])
    fields: dict[str, Any] = {
        "calibration": _calibration(honest, len(validation.labels), Evaluation(was, is_.labels), is_, held_out),
        "prediction_sets": prediction_sets(validation, is_, "validation", held_out),
        "familiarity_trial": honest.trial,
        "familiarity": None,
    }
    genuine = after[held_out].familiarity
    if honest.chosen is not None and genuine is not None:
        outliers = chain(to_report(spec, REPORTED), (others or {}).items())
        seen = {kind: _familiarity(honest.run, pixels) for kind, pixels in outliers}
        fields["familiarity"] = familiarity_record(honest.chosen, honest.scaled_images, genuine, seen, held_out)
    return fields


def _calibration(
    honest: Honest, fitted_images: int, before: Evaluation, after: Evaluation, checked_on: str
) -> CalibrationRecord | None:
    if honest.temperature is None:
        return None
    by_width, by_mass = least_errors(after)
    return CalibrationRecord(
        temperature=round(honest.temperature, 6),
        fitted_on="validation",
        fitted_images=fitted_images,
        precision="float32",
        checked_on=checked_on,
        images=len(after.labels),
        before=reliability(before),
        after=reliability(after),
        least_error_by_width=by_width,
        least_error_by_mass=by_mass,
    )


def _familiarity(run: Callable[[Pixels], Answers], pixels: Pixels) -> Familiarity:
    parts = [run(some).familiarity for some in in_parts(pixels)]
    return np.concatenate([part for part in parts if part is not None])
