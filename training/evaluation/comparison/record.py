"""What a comparison of two versions found, as it is printed, kept and judged."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from classifier.card import Name, Precision, Probability, Sha256
from training.evaluation.json_records import Part


class Figures(Part):
    """One version on the images of a comparison.

    `interval` is the 95 % Wilson interval of the accuracy, `calibration_error` the expected one over 15 bins.
    `p50_ms` is the median time of one image alone in the engine, in milliseconds; decoding is not in it. `memory_bytes`
    is what a process grows by when it loads the version and answers, None where that was not measured. `size_bytes`
    is the size of `model.onnx`, or in int8 of `model.int8.onnx`. `unfamiliar` is the share of the images that look
    unfamiliar, None where the version does not say.
    """

    model: Name
    version: int
    recipe: str
    engine: Literal["openvino", "tensorflow", "jax"]
    precision: Precision
    parameters: int
    accuracy: Probability
    interval: tuple[Probability, Probability]
    calibration_error: Probability
    unfamiliar: Probability | None = None
    p50_ms: float = Field(gt=0)
    memory_bytes: int | None
    size_bytes: int

    @property
    def title(self) -> str:
        return f"{self.model} version {self.version}"


class Pairs(Part):
    """The images by which version gets them right. `p_value` is that of McNemar's exact test."""

    both: int
    only_candidate: int
    only_baseline: int
    neither: int
    p_value: Probability


class LabelChanges(Part):
    """How the candidate's labels differ from the baseline's. `reordered`: common ones stand in another order."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reordered: bool = False

    @property
    def is_none(self) -> bool:
        return not (self.added or self.removed or self.reordered)


class ClassFigures(Part):
    """The images of one label, and how many of them each version gets right; `baseline` is None without one."""

    label: str
    images: int = Field(ge=1)
    candidate: int
    baseline: int | None

    @property
    def recall(self) -> float:
        return self.candidate / self.images

    @property
    def change(self) -> float | None:
        """The candidate's recall less the baseline's; None without one."""
        return None if self.baseline is None else (self.candidate - self.baseline) / self.images


class DataRecord(Part):
    """The images. `fingerprint` is a SHA-256 over their pixels, as the candidate takes them, and their labels.

    `left_out` counts images that a version was fitted or chosen on; `unknown_to` names versions that keep no list of
    theirs. `other_labels` counts images of labels that one of the versions does not have.
    """

    name: str
    split: str
    images: int = Field(ge=1)
    fingerprint: Sha256
    left_out: int
    unknown_to: tuple[int, ...]
    other_labels: int
    skipped: int


class Comparison(Part):
    """A version, the candidate, beside another one, the baseline; or alone where there is none."""

    candidate: Figures
    baseline: Figures | None
    data: DataRecord
    labels: LabelChanges
    pairs: Pairs | None
    classes: tuple[ClassFigures, ...]
    date: str
    commit: str
    machine: str
