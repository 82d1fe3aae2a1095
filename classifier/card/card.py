"""The model card: what a trained classifier says about itself, and is held to.

`card.json` lies beside the weights in `models/NAME/VERSION/`. Unknown keys are refused. So a card written by a newer
Sightline is an error that says so, not a half-understood model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from classifier.card.honesty import CalibrationRecord, FamiliarityRecord, FamiliarityTrial, PredictionSetRecord
from classifier.card.part import Part, Precision, Probability
from classifier.card.quantization import Int8Sample, QuantizationRecord
from classifier.errors import UnreadableCard

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$"  # also a DNS label: usable in URLs, paths and host names as is

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=0)]
ResizeFilter = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

NEWEST_FORMAT: Final = 5
MOST_BYTES = 4_000_000  # of a card; one of 20,000 labels has a quarter of that, and reading takes a multiple of it
FAULTS_NAMED = 10

# Upper bounds of the buckets in which probabilities are counted, by a card as by a server's metrics.
PROBABILITY_BOUNDS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class InputSpec(Part):
    """The pixels a network takes: uint8, shape (height, width, channels), values 0..255."""

    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    channels: Literal[1, 3]
    resize: ResizeFilter = "bilinear"
    contrast: Literal["none", "stretch"] = "none"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height, self.width, self.channels)


class Article(Part):
    """Where the recipe comes from and the figure it states."""

    title: str
    author: str | None = None
    split: Literal["validation", "test"] | None = None
    accuracy: Probability | None = None


class FileRecord(Part):
    """One file of the version's folder. `bytes` is its size."""

    sha256: Sha256
    bytes: int = Field(ge=1)


class Metrics(Part):
    """Mean categorical cross-entropy in nats and accuracy in 0..1 over `images` images.

    `interval` is the 95 % Wilson interval of the accuracy. `balanced_accuracy` is the mean recall of the classes that
    have images. `majority` is the accuracy of always naming the most frequent class. `recall` is by column, None for a
    class without images. Cards of format 1 have none of these four.
    """

    images: int = Field(ge=1)
    loss: float = Field(ge=0.0)
    accuracy: Probability
    interval: tuple[Probability, Probability] | None = None
    balanced_accuracy: Probability | None = None
    majority: Probability | None = None
    recall: tuple[Probability | None, ...] | None = None


class DatasetRecord(Part):
    """The images a training run saw. `fingerprint` is a SHA-256 over the decoded pixels and labels of all splits."""

    name: str
    fingerprint: Sha256
    images: dict[str, int]


class DataCheckRecord(Part):
    """What a check of the images found before the fit.

    `leaked` counts, for each held-out split, the images that are in the images fitted or chosen on too, the same or
    nearly the same. `conflicts` counts images that lie under two labels. `shortcuts` are sentences on what gives
    classes away.
    """

    leaked: dict[str, Count]
    conflicts: Count
    shortcuts: tuple[str, ...] = ()


class GroupedAccuracy(Part):
    """The accuracy where images that look alike stay together: each group was tested by a network that saw none of it.

    `networks` were fitted by the version's recipe, each on other groups. `interval` is the 95 % one over groups drawn
    anew, since images of one group are no independent ones.
    """

    images: int = Field(ge=1)
    groups: int = Field(ge=2)
    networks: int = Field(ge=1)
    accuracy: Probability
    interval: tuple[Probability, Probability]


class BackboneRecord(Part):
    """The pretrained network that training began from, and a SHA-256 over its weights.

    `seconds` is the wall-clock time it took to compute its features of the training and validation images.
    """

    name: str
    weights_sha256: Sha256
    seconds: float = Field(ge=0.0)


class TrainingRecord(Part):
    """How the weights came to be. Epochs count from 1; `seconds` is wall-clock time spent in the epochs.

    `machine` is what the epochs ran on: processor, cores and the GPU where there was one; of several machines all, with
    semicolons between. `finished` is an ISO date; cards of the first runs have neither. `backbone` is None where
    training began from random weights. `class_weights` weigh the loss of each column, None where all count alike.
    `augmentation` is what each setting of the augmentation was, empty without one; format 1 has None. `patience` is
    after how many epochs without a lower validation loss a stage ended; None where all epochs were run.
    """

    dataset: DatasetRecord
    seed: int
    epochs_planned: int = Field(ge=1)
    epochs_run: int = Field(ge=1)
    best_epoch: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    precision: Precision
    seconds: float = Field(ge=0.0)
    libraries: dict[str, str]
    commit: str
    machine: str | None = None
    finished: str | None = None
    backbone: BackboneRecord | None = None
    class_weights: tuple[Annotated[float, Field(gt=0.0)], ...] | None = None
    augmentation: dict[str, float | bool | str] | None = None
    patience: Annotated[int, Field(ge=1)] | None = None


class AgreementCheck(Part):
    """One engine at one precision, held against the float32 Keras network on real images when the version was saved.

    `sample_difference` is how far any number of the answer to the sample picture is off; None: not looked at.
    `familiarity_difference` is how far any familiarity is off, `same_verdict` the share of images on the same side of
    the threshold; both are None where the network has no such output.
    """

    engine: Literal["openvino", "tensorflow", "jax"]
    precision: Precision
    split: str
    images: int = Field(ge=1)
    same_top_class: Probability
    accuracy: Probability
    reference_accuracy: Probability
    largest_difference: Probability
    sample_difference: Probability | None = None
    familiarity_difference: Probability | None = None
    same_verdict: Probability | None = None


class ReleaseRecord(Part):
    """That the version was released: `date` in UTC, and the comparison that it was judged by.

    `compared_with` is the version served before, None for the first one; `p_value` is McNemar's on the same images.
    `comparison_sha256` is that of the comparison's file. `fingerprint` is a SHA-256 over the images and their labels.
    `forced` is the reason of a person who released it in spite of `broken_rules`.
    """

    date: str
    compared_with: int | None = Field(ge=1)
    comparison_sha256: Sha256
    data: str
    split: str
    images: int = Field(ge=1)
    fingerprint: Sha256
    accuracy: Probability
    baseline_accuracy: Probability | None
    p_value: Probability | None
    broken_rules: tuple[str, ...] = ()
    forced: str | None = None


class Histogram(Part):
    """How many values, 0..1, each bucket holds: `counts[i]` are at most `bounds[i]` and above the bound before it."""

    bounds: tuple[Probability, ...] = PROBABILITY_BOUNDS
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def _parts_fit(self) -> Histogram:
        if len(self.counts) != len(self.bounds):
            raise ValueError(f"{len(self.bounds)} bounds but {len(self.counts)} counts")
        if list(self.bounds) != sorted(set(self.bounds)):
            raise ValueError("bounds do not ascend")
        return self


class ExpectedAnswers(Part):
    """What the version answered about `images` held-out images, for `sightline drift` to compare later answers with.

    `labels` counts the images by the column of their most probable label, `confidence` by that label's probability.
    """

    data: str
    split: str
    images: int = Field(ge=1)
    labels: tuple[Count, ...]
    confidence: Histogram

    @model_validator(mode="after")
    def _counts_fit(self) -> ExpectedAnswers:
        for what, counted in (("labels", sum(self.labels)), ("confidence", sum(self.confidence.counts))):
            if counted != self.images:
                raise ValueError(f"{self.images} images but {counted} in {what}")
        return self


class Sample(Part):
    """A picture whose answer is known, in float32, by column; `label` is the most probable.

    `familiarity` is None where the network has no such output.
    """

    file: Literal["sample.png"] = "sample.png"
    label: str
    probabilities: tuple[Probability, ...]
    familiarity: Probability | None = None


class Card(Part):
    """The contract of `models/NAME/VERSION/`. Labels are in column order."""

    format: Literal[1, 2, 3, 4, 5] = NEWEST_FORMAT  # older ones are still read; 1 says less of metrics and training
    name: Name
    version: int = Field(ge=1)
    recipe: str
    article: Article
    labels: tuple[Label, ...] = Field(min_length=2)
    input: InputSpec
    parameters: int = Field(ge=1)
    files: dict[str, FileRecord]
    metrics: dict[str, Metrics]
    training: TrainingRecord
    checks: tuple[AgreementCheck, ...] = ()
    sample: Sample
    released: ReleaseRecord | None = None  # since format 3
    expected: ExpectedAnswers | None = None  # since format 3; None in cards saved before there was one
    calibration: CalibrationRecord | None = None  # this and what follows since format 4
    prediction_sets: PredictionSetRecord | None = None
    familiarity: FamiliarityRecord | None = None  # None: the network has no such output
    familiarity_trial: FamiliarityTrial | None = None  # what was tried, and why one of it or nothing was taken
    data_check: DataCheckRecord | None = None  # None: nobody looked
    grouped: GroupedAccuracy | None = None  # None: not measured
    quantization: QuantizationRecord | None = None  # since format 5; None: the version has no int8 network

    @model_validator(mode="after")
    def _labels_fit(self) -> Card:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat; every column needs its own")
        if len(self.sample.probabilities) != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels but {len(self.sample.probabilities)} sample probabilities")
        if self.expected and len(self.expected.labels) != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels but {len(self.expected.labels)} counts of expected labels")
        if (self.familiarity is None) != (self.sample.familiarity is None):
            raise ValueError("the sample has a familiarity where the network has one, and else none")
        answers = dict(zip(self.labels, self.sample.probabilities, strict=True))
        if self.sample.label not in answers:
            raise ValueError(f"sample label {self.sample.label!r} is not one of the labels")
        if answers[self.sample.label] < max(answers.values()):
            raise ValueError(f"sample label {self.sample.label!r} is not the most probable; are the labels in order?")
        return self

    def is_familiar(self, familiarity: float | None) -> bool | None:
        """Whether an image with this score looks like those that were trained on; None where nothing says so."""
        if self.familiarity is None or familiarity is None:
            return None
        return self.familiarity.is_familiar(familiarity)

    def sample_of(self, precision: Precision) -> Sample | Int8Sample:
        """What is known of the sample picture in a precision; those in floating point share an answer."""
        return self.quantization.sample if precision == "int8" and self.quantization else self.sample

    def check_of(self, engine: str, precision: str) -> AgreementCheck | None:
        """The recorded comparison for this engine and precision, if one was made."""
        return next((c for c in self.checks if (c.engine, c.precision) == (engine, precision)), None)


def read_card(path: Path) -> Card:
    """Read and validate a `card.json`. Raises UnreadableCard naming the file and its first faults."""
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UnreadableCard(f"{path}: cannot be read ({error.strerror})") from error
    if len(body) > MOST_BYTES:
        raise UnreadableCard(f"{path}: not a model card; a card has at most {MOST_BYTES:,} bytes, and this has more")
    try:
        return Card.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableCard(
            f"{path}: not a model card this version of Sightline reads: {_faults_of(error)}"
        ) from error


def _faults_of(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    faults = [f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in found[:FAULTS_NAMED]]
    more = [f"and {len(found) - FAULTS_NAMED:,} more"] if len(found) > FAULTS_NAMED else []
    return "; ".join((*faults, *more))


def write_card(card: Card, path: Path) -> None:
    """Write a card as indented UTF-8 JSON with a final newline."""
    path.write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
