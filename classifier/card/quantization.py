"""How the int8 network of a version was made, and what it changed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from classifier.card.part import Part, Probability


class Int8Sample(Part):
    """The answer to the sample picture in int8, by column, and its familiarity where the network has one."""

    probabilities: tuple[Probability, ...]
    familiarity: Probability | None = None


class PrecisionFigures(Part):
    """A version on one split in one precision.

    `calibration_error` is the expected one over 15 bins. `familiarity_threshold` is what the card's `keep` of these
    images reach, None where the network has no such output. `recall` is by column, None for a class without images.
    """

    accuracy: Probability
    calibration_error: Probability
    familiarity_threshold: Probability | None = None
    recall: tuple[Probability | None, ...]


class QuantizationChange(Part):
    """The same images in float32, `before`, and in int8, `after`."""

    images: int = Field(ge=1)
    before: PrecisionFigures
    after: PrecisionFigures


class QuantizationRecord(Part):
    """That `model.int8.onnx` was made of the float32 network of `from_version`, which this version has too.

    `images` counts the training images that its scales were fitted on. `changes` is by split: "validation" decided.
    `sample` is the answer to the sample picture, which may be another one than in float32: the picture is a blur.
    """

    from_version: int = Field(ge=1)
    precision: Literal["int8"] = "int8"
    images: int = Field(ge=1)
    libraries: dict[str, str]
    sample: Int8Sample
    changes: dict[str, QuantizationChange]
