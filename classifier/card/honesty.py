"""How far a version's answers can be trusted: calibration, prediction sets, and what it says of unfamiliar images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from classifier.card.part import Part, Precision, Probability

Coverage = Annotated[float, Field(gt=0.0, lt=1.0)]
Method = Literal[
    "maximum probability",
    "energy",
    "generalised entropy",
    "mahalanobis",
    "relative mahalanobis",
    "nearest neighbours",
    "virtual logit",
]


class Figure(Part):
    """A figure and its 95 % interval."""

    value: float
    interval: tuple[float, float]


class Share(Part):
    """A share of so many images, 0..1, and its 95 % Wilson interval."""

    images: int = Field(ge=1)
    value: Probability
    interval: tuple[Probability, Probability]


class Reliability(Part):
    """How far probabilities can be trusted on one split, with 95 % bootstrap intervals.

    `error_by_width` and `error_by_mass` are expected calibration errors, 0..1, over 15 bins of equal width and over 15
    bins of equally many images. `loss` is in nats. `brier` is the mean squared distance from the truth, 0..2.
    """

    error_by_width: Figure
    error_by_mass: Figure
    loss: Figure
    brier: Figure


class CalibrationRecord(Part):
    """The temperature that the logits are divided by, within the network itself, and what it changed.

    It was fitted on one split in `precision`, and is checked on another. `least_error_by_width` and
    `least_error_by_mass` are what probabilities without any fault show on average on as many images: no error can be
    expected to be smaller.
    """

    temperature: float = Field(gt=0.0)
    fitted_on: str
    fitted_images: int = Field(ge=1)
    precision: Precision
    checked_on: str
    images: int = Field(ge=1)
    before: Reliability
    after: Reliability
    least_error_by_width: Probability
    least_error_by_mass: Probability


class SetQuantile(Part):
    """Labels with at least the probability `1 - quantile` form the set that is to hold the right one at `coverage`.

    `held` is how many sets of test images do. Where these images and those that the quantile was fitted on were drawn
    in the same way, it is within `exchangeable` with 95 %; None in cards that do not say. `held_served` counts the most
    probable label as in every set, as `classifier.prediction_sets` has it. `size` is their mean number of labels.
    """

    coverage: Coverage
    quantile: Probability
    held: Share
    exchangeable: tuple[Probability, Probability] | None = None
    held_served: Share
    size: float = Field(ge=0.0)


class PredictionSetRecord(Part):
    """Split-conformal prediction sets: least ambiguous set-valued classifiers (Sadinle, Lei and Wasserman, 2019).

    The promise is about images that are exchangeable with those of `fitted_on`: drawn in the same way, in any order.
    """

    method: Literal["least ambiguous sets"] = "least ambiguous sets"
    fitted_on: str
    fitted_images: int = Field(ge=1)
    checked_on: str
    quantiles: tuple[SetQuantile, ...] = Field(min_length=1)


class OperatingPoint(Part):
    """A threshold that `keep` of the genuine validation images reach: images below it count as unfamiliar.

    `rejected` is the share of genuine test images below it, `caught` that of each kind of outlier.
    """

    keep: Coverage
    threshold: Probability
    rejected: Share
    caught: dict[str, Share]


class FamiliarityRecord(Part):
    """The network's second output: 0..1, the share of genuine validation images that look no more familiar.

    The distance (Mahalanobis, of L2-normalised means of `features`, in `rank` directions) was fitted on the training
    images, its scale on those of `scaled_on`. `auroc` has, for each kind of outlier, how well the output tells it from
    the genuine images of `checked_on`. None of these kinds was used to choose the method. `cost` is as
    in `MethodTrial`.
    """

    method: Method = "mahalanobis"
    features: tuple[str, ...] = Field(min_length=1)
    rank: int = Field(ge=1)
    cost: float | None = Field(default=None, ge=0.0)
    scaled_on: str
    scaled_images: int = Field(ge=1)
    checked_on: str
    auroc: dict[str, Figure]
    keep: Coverage
    points: tuple[OperatingPoint, ...]

    @model_validator(mode="after")
    def _keep_is_known(self) -> FamiliarityRecord:
        if self.keep not in [point.keep for point in self.points]:
            raise ValueError(f"no operating point keeps {self.keep}")
        return self

    @property
    def point(self) -> OperatingPoint:
        """The one in force."""
        return next(point for point in self.points if point.keep == self.keep)

    def is_familiar(self, familiarity: float) -> bool:
        """Whether an image with this score looks like those that the network was trained on."""
        return familiarity >= self.point.threshold


class MethodTrial(Part):
    """One method on some of the network's features.

    `auroc` and `false_positive_rate` (the share of outliers that get by where 95 % of genuine images do) are means over
    the kinds of outliers. `worst` is the kind with the lowest AUROC. `rank` is None where the method has none. `cost`
    is what it adds to the network, in multiply-adds or what takes as long: 0.02 is 2 % of the network's own. It is None
    where no network can carry the method, or where none was counted.
    """

    method: Method
    features: tuple[str, ...]
    rank: int | None = None
    auroc: Probability
    false_positive_rate: Probability
    worst: str
    cost: float | None = Field(default=None, ge=0.0)


class FamiliarityTrial(Part):
    """What was tried to tell unfamiliar images: on `images` genuine ones of `split`, and `outliers` of each kind.

    `most_cost` is what a method may cost. `reason` says why the method was taken, or why none was.
    """

    split: str
    images: int = Field(ge=1)
    outliers: dict[str, int]
    tried: tuple[MethodTrial, ...]
    most_cost: float | None = Field(default=None, gt=0.0)
    reason: str
