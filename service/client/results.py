"""What a server answers, as types. Members that this client does not know are left aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .errors import ClientError, error_of_problem
from .sources import ImageLike

_MOST_PROBABLE = 1.001  # a sum of rounded numbers may be a little above 1


class Prediction(NamedTuple):
    """One label and its probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Predictions:
    """The answer for one image: at least one label, most probable first.

    `familiarity` is 0..1, low where the image looks like nothing that the model was trained on; `familiar` is whether
    the model's threshold is reached. Both are None of versions that do not say so.
    """

    model: str
    version: int
    predictions: tuple[Prediction, ...]
    familiar: bool | None = None
    familiarity: float | None = None

    @property
    def top(self) -> Prediction:
        return self.predictions[0]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a decision for `label` rests on: `heat` is 0..1, rows from the top of the picture, each from its left."""

    model: str
    version: int
    label: str
    probability: float
    heat: tuple[tuple[float, ...], ...]


class Answered(NamedTuple):
    """One image of a stream, as it was given (of a folder its path), and what came of it."""

    image: ImageLike
    result: Predictions | ClientError

    @property
    def predictions(self) -> Predictions:
        """The predictions, or the image's error raised."""
        if isinstance(self.result, ClientError):
            raise self.result
        return self.result


@dataclass(frozen=True)
class ModelSummary:
    """A model on offer. `version` is the one that answers when none is named; `reason` says why it is not ready."""

    name: str
    version: int
    versions: tuple[int, ...]
    ready: bool
    reason: str | None


@dataclass(frozen=True)
class Model(ModelSummary):
    """One version of a model. `about` is everything the server says of it: input, metrics, engine and so on.

    A version that is not ready has neither labels nor most of that.
    """

    labels: tuple[str, ...]
    about: Mapping[str, Any]


def read_predictions(content: Any) -> Predictions:
    """`predict`'s JSON. Raises KeyError, TypeError or ValueError where it has another form."""
    return Predictions(*_name_and_version(content), _ranked(content), *_familiarity(content))


def read_results(content: Any, images: int, request_id: str | None) -> list[Predictions | ClientError]:
    """`predict-batch`'s JSON: for each image what it shows, or its own error. Raises as `read_predictions`."""
    (model, version), results = _name_and_version(content), content["results"]
    if len(results) != images:
        raise ValueError(f"{images} images were sent, {len(results)} results came")
    return [
        error_of_problem(result["error"], request_id)
        if "error" in result
        else Predictions(model, version, _ranked(result), *_familiarity(result))
        for result in results
    ]


def read_explanation(content: Any) -> Explanation:
    """`explain`'s JSON. Raises as `read_predictions`."""
    heat = tuple(tuple(float(value) for value in row) for row in content["heat"])
    if not all(0 <= value <= _MOST_PROBABLE for row in heat for value in row):  # written so that NaN fails
        raise ValueError("heat that is not from 0 to 1")
    return Explanation(*_name_and_version(content), str(content["label"]), float(content["probability"]), heat)


def read_models(content: Any) -> list[ModelSummary]:
    """The list of models' JSON. Raises as `read_predictions`."""
    return [ModelSummary(**_summary(entry)) for entry in content["models"]]


def read_model(content: Any) -> Model:
    """One model's JSON. Raises as `read_predictions`."""
    return Model(**_summary(content), labels=tuple(map(str, content.get("labels", ()))), about=content)


def _ranked(content: Any) -> tuple[Prediction, ...]:
    ranked = tuple([Prediction(entry["label"], entry["probability"]) for entry in content["predictions"]])
    if not ranked:
        raise ValueError("no predictions")
    for label, probability in ranked:
        if type(label) is not str or not 0 <= probability <= _MOST_PROBABLE:  # written so that NaN fails
            raise ValueError("a label that is no text, or a probability that is not from 0 to 1")
    return ranked


def _familiarity(content: Any) -> tuple[bool | None, float | None]:
    if (familiar := content.get("familiar")) is None:
        return None, None
    familiarity = content["familiarity"]
    if not isinstance(familiar, bool) or not 0 <= familiarity <= 1:  # written so that NaN fails
        raise ValueError("familiar that is neither true nor false, or a familiarity that is not from 0 to 1")
    return familiar, familiarity


def _name_and_version(content: Any) -> tuple[str, int]:
    name, version = content["model"], content["version"]
    if not isinstance(name, str) or not isinstance(version, int):
        raise TypeError("a model that is no text, or a version that is no whole number")
    return name, version


def _summary(content: Any) -> dict[str, Any]:
    name, version = _name_and_version(content)
    return {
        "name": name,
        "version": version,
        "versions": tuple(content["versions"]),
        "ready": content["ready"],
        "reason": content.get("reason"),
    }
