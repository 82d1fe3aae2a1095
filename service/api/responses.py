"""What clients read: the JSON of every answer on /v1, in one place."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response

from classifier.card import Card, SetQuantile
from classifier.engines import Probabilities
from classifier.errors import SightlineError
from classifier.explanation import Heat, overlay
from classifier.prediction_sets import prediction_set
from classifier.ranking import ranked
from service.errors import Unauthorized, is_oip, problem, problem_headers
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.states import Broken, Entry
from service.inference.timing import Classified, server_timing
from service.settings import Settings
from service.telemetry.build import Build

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

JSON_HEADER = (b"content-type", JSON.encode())
TIMING_HEADER = "server-timing"
_TIMING_HEADER = TIMING_HEADER.encode()
SECURITY_HEADERS = (  # of every response that has none of its own
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content)
    return Response(body, status, headers, JSON)


def problem_response(error: BaseException) -> Response:
    """The answer to a request that failed, as RFC 9457 has it."""
    content = problem(error)
    return _challenging(Response(orjson.dumps(content), content["status"], problem_headers(error), PROBLEM_JSON), error)


def protocol_error(error: BaseException) -> Response:
    """The same on /v2, in the words of the Open Inference Protocol."""
    content = problem(error)
    return _challenging(json_response({"error": content["detail"]}, content["status"], problem_headers(error)), error)


def _challenging(response: Response, error: BaseException) -> Response:
    """The response with a line for each challenge: Chromium reads no second one in a line."""
    if isinstance(error, Unauthorized):
        for challenge in error.challenges:
            response.headers.append("www-authenticate", challenge)
    return response


def error_response(path: str, error: BaseException) -> Response:
    """The response to a request that failed, in the words of the path's protocol."""
    return protocol_error(error) if is_oip(path) else problem_response(error)


class Wanted(NamedTuple):
    """What a caller wants to read of each image: the `top_k` most probable labels, and the labels of a set."""

    top_k: int | None = None
    quantile: SetQuantile | None = None


def prediction(card: Card, image: Classified, wanted: Wanted) -> Response:
    """`predict`: labels and probabilities, most probable first, and whether the image looks familiar."""
    return timed(Response(prediction_body(card, image, wanted), media_type=JSON), [image])


def prediction_body(card: Card, image: Classified, wanted: Wanted) -> bytes:
    """What `prediction` has to say, as JSON."""
    return orjson.dumps(_head(card) | _answer(card, image, wanted))


def prediction_of_each(card: Card, images: Sequence[Classified | SightlineError], wanted: Wanted) -> Response:
    """`predict-batch`: in the order of the images, predictions or what is wrong with the image."""
    results = [
        {"error": problem(image)} if isinstance(image, SightlineError) else _answer(card, image, wanted)
        for image in images
    ]
    answer = json_response(_head(card) | {"results": results})
    return timed(answer, [image for image in images if isinstance(image, Classified)])


def explanation(card: Card, column: int, row: Probabilities, heat: Heat) -> Response:
    """`explain`: the label, its probability, and the heat map as rows of numbers 0..1, top row first."""
    content = {"label": card.labels[column], "probability": float(row[column]), "heat": heat.round(4).tolist()}
    return json_response(_head(card) | content)


def heat_picture(card: Card, heat: Heat) -> Response:
    """`explain` as a PNG with transparency in the network's input size, to be laid over the image."""
    picture = io.BytesIO()
    overlay(heat, card.input.height, card.input.width).save(picture, "PNG")
    return Response(picture.getvalue(), media_type="image/png")


def server(build: Build, began: datetime, settings: Settings) -> Response:
    """What runs here, since when, and how it is set. Neither keys nor where they lie."""
    about = {"name": "sightline", **build._asdict(), "started": began.isoformat(timespec="seconds")}
    return json_response(about | {"settings": settings.shown()})


def models(catalog: Catalog) -> Response:
    """Every model with its versions, and whether the default one answers."""
    return json_response({"models": [_summary(catalog, name) for name in catalog.entries], "ready": catalog.is_ready})


def model(catalog: Catalog, name: str, version: int) -> Response:
    """What the card says that a caller needs, how the version is run here, and which versions get which requests."""
    versions = catalog.entries[name]
    entry = versions[version]
    about: dict[str, Any] = {"model": name, "version": version, "versions": sorted(versions)}
    about |= _state(entry) | _broken(versions) | catalog.routing.about(name, versions)
    if isinstance(entry, Classifier):
        about |= _essentials(entry.card) | _running(entry)
    return json_response(about)


def _head(card: Card) -> dict[str, Any]:
    return {"model": card.name, "version": card.version}


def _answer(card: Card, image: Classified, wanted: Wanted) -> dict[str, Any]:
    answer: dict[str, Any] = {"predictions": _ranked(card, image.row, wanted.top_k)}
    if image.familiarity is not None:
        answer |= {"familiar": card.is_familiar(image.familiarity), "familiarity": image.familiarity}
    if (quantile := wanted.quantile) is not None:
        labels = [label for label, _ in prediction_set(image.row, card.labels, quantile)]
        answer["prediction_set"] = {"coverage": quantile.coverage, "labels": labels}
    return answer


def _ranked(card: Card, row: Probabilities, top_k: int | None) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for probability, label in ranked(row, card.labels, top_k)]


def _summary(catalog: Catalog, name: str) -> dict[str, Any]:
    default, _ = catalog.entry(name)
    versions = catalog.entries[name]
    about: dict[str, Any] = {"model": name, "version": default, "versions": sorted(versions)}
    return about | _state(versions[default]) | _broken(versions)


def _broken(versions: Mapping[int, Entry]) -> dict[str, Any]:
    """The versions that are on disk and could not be loaded, where there are any."""
    found = [{"version": v, "reason": e.reason} for v, e in sorted(versions.items()) if isinstance(e, Broken)]
    return {"broken": found} if found else {}


def _state(entry: Entry) -> dict[str, Any]:
    return {"ready": False, "reason": entry.reason} if entry.reason else {"ready": True}


def _essentials(card: Card) -> dict[str, Any]:
    return card.model_dump(include={"labels", "input", "parameters", "metrics", "recipe", "article"}, mode="json")


def _running(classifier: Classifier) -> dict[str, Any]:
    engine = classifier.model.engine
    return {
        "engine": engine.name,
        "precision": engine.precision,
        "device": engine.device,
        "streams": engine.streams,
        "max_batch": classifier.max_batch,
    }


def timed(answer: Response, images: Sequence[Classified]) -> Response:
    """The answer with where the time went, if any image got as far."""
    if images:
        answer.raw_headers.append((_TIMING_HEADER, server_timing(images).encode()))
    return answer
