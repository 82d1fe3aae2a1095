"""The routes under /v2. Each reads, asks a classifier, and answers; errors become the protocol's `{"error": …}`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from classifier.card import InputSpec
from classifier.errors import SightlineError
from service.api import bodies, unfolding
from service.api.deadlines import deadline_after, time_for, while_present
from service.api.endpoints import Endpoint, answered, catalog_of, classifier_of
from service.api.oip import compression, metadata, protocol, results, tensors
from service.api.oip.tensors import Images
from service.api.responses import json_response, protocol_error, timed
from service.api.unfolding import Brackets, Held
from service.errors import MalformedRequest
from service.inference.classifier import Classifier
from service.inference.timing import Classified
from service.settings import Settings

# A thread costs as much as to parse this much JSON, or to round this many bytes of pixels. orjson itself does not let
# go of the interpreter; turning its lists into an array takes longer, and does so after each image.
INLINE_JSON_BYTES = 32_768
INLINE_RAW_BYTES = 262_144

_Asked = tuple[Images, protocol.Answer, int]


def routes(no_such_path: Endpoint, all_methods: Sequence[str]) -> list[Route]:
    """Everything under /v2. `no_such_path` answers, for `all_methods`, what none of the others does."""
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"
    return [
        Route("/v2", _answered(server_metadata)),
        Route("/v2/", _answered(server_metadata)),
        Route("/v2/health/live", _answered(live)),
        Route("/v2/health/ready", _answered(ready)),
        Route("/v2/models", _answered(list_models)),
        Route("/v2/models/stats", _answered(all_statistics)),
        Route("/v2/repository/index", _answered(repository_index), methods=["POST"]),
        *(Route(path, _answered(model_metadata)) for path in (model, version)),
        *(Route(f"{path}/ready", _answered(model_ready)) for path in (model, version)),
        *(Route(f"{path}/config", _answered(model_config)) for path in (model, version)),
        *(Route(f"{path}/stats", _answered(model_statistics)) for path in (model, version)),
        *(Route(f"{path}/infer", _answered(infer), methods=["POST"]) for path in (model, version)),
        Route("/v2/{rest:path}", _answered(no_such_path), methods=all_methods),
    ]


def _answered(endpoint: Endpoint) -> Endpoint:
    return answered(endpoint, protocol_error)


async def server_metadata(request: Request) -> Response:
    return json_response(metadata.server())


async def live(request: Request) -> Response:
    return json_response({"live": True})


async def ready(request: Request) -> Response:
    catalog_of(request).check_ready()
    return json_response({"ready": True})


async def list_models(request: Request) -> Response:
    return json_response({"models": list(catalog_of(request).entries)})


async def model_ready(request: Request) -> Response:
    return json_response({"name": classifier_of(request).card.name, "ready": True})


async def model_metadata(request: Request) -> Response:
    classifier = classifier_of(request)
    return json_response(metadata.model(classifier, sorted(catalog_of(request).entries[classifier.card.name])))


async def model_config(request: Request) -> Response:
    return json_response(metadata.config(classifier_of(request), catalog_of(request).settings))


async def model_statistics(request: Request) -> Response:
    """Of one version, or of every version of the model where the path names none."""
    if "version" in request.path_params:
        return json_response(metadata.statistics([classifier_of(request)]))
    name = request.path_params["model"]
    catalog_of(request).entry(name)
    return json_response(metadata.statistics(_served(request, name)))


async def all_statistics(request: Request) -> Response:
    return json_response(metadata.statistics(_served(request)))


async def repository_index(request: Request) -> Response:
    catalog = catalog_of(request)
    body = await bodies.read_bytes(request, INLINE_JSON_BYTES)
    return json_response(metadata.repository(catalog, ready_only=_ready_only(body)))


async def infer(request: Request) -> Response:
    settings, classifier = catalog_of(request).settings, classifier_of(request)
    allowed_ms = time_for(request, settings)
    sent = await bodies.read_bytes(request, settings.max_body_bytes)
    async with deadline_after(allowed_ms) as deadline:
        with while_present(request), Held(request) as held:
            wanted = _Wanted(request.headers, classifier.card.input, settings)
            images, answer, timeout_us = await _read(sent, wanted, held)
            outputs = answer.outputs_of(has_familiarity=classifier.card.familiarity is not None)
            async with deadline_after(timeout_us / 1000 or settings.request_timeout_ms) as sooner:
                classified = await _classified(classifier, images, min(deadline, sooner))
    accepted = request.headers.get("accept-encoding", "")
    return timed(results.response(classifier.card, classified, outputs, answer.id, accepted), classified)


class _Wanted(NamedTuple):
    """How a body is to be read: by its request's headers, for a network's input, within the server's limits."""

    headers: Headers
    spec: InputSpec
    settings: Settings

    def json_bytes(self, body_bytes: int) -> int:
        return protocol.header_length(self.headers.get(protocol.LENGTH_HEADER), body_bytes)

    @property
    def encoding(self) -> str:
        return self.headers.get("content-encoding", "")


async def _read(sent: bytes, wanted: _Wanted, held: Held) -> _Asked:
    """What a body asks for; what it becomes meanwhile, or stays until the answer, is held."""
    if not compression.is_compressed(wanted.encoding) and wanted.json_bytes(len(sent)) <= INLINE_JSON_BYTES:
        at_once = len(sent) <= INLINE_RAW_BYTES
        return _asked(sent, wanted) if at_once else await asyncio.to_thread(_asked, sent, wanted)
    async with held.turn():
        return await _read_in_turn(sent, wanted, held)


async def _read_in_turn(sent: bytes, wanted: _Wanted, held: Held) -> _Asked:
    body, brackets = await unfolding.in_turn(partial(_unfolded, sent, wanted))
    if body is not sent:
        held.add(len(body))  # until the answer, for its images may lie in it
        if len(body) <= INLINE_JSON_BYTES:
            return _asked(body, wanted)
    held.add(parsed_bytes := brackets.parsed_bytes)
    try:
        return await unfolding.in_turn(partial(_asked, body, wanted))
    finally:
        held.let_go(parsed_bytes)


def _unfolded(sent: bytes, wanted: _Wanted) -> tuple[bytes, Brackets]:
    """A body as it was before it was compressed. Brackets and commas of its JSON were counted and are few enough."""
    most_bytes = wanted.settings.max_body_bytes
    limits: dict[str, Any] = {"spec": wanted.spec, "max_images": wanted.settings.max_images}
    json_bytes = wanted.json_bytes(most_bytes)
    brackets = Brackets(partial(tensors.most_brackets, **limits), json_bytes)
    commas = Brackets(partial(tensors.most_commas, **limits), json_bytes, b",")

    def look(part: bytes) -> None:
        brackets.add(part)
        commas.add(part)

    if compression.is_compressed(wanted.encoding):
        return compression.expand(sent, wanted.encoding, most_bytes, look), brackets
    look(sent)
    return sent, brackets


def _asked(body: bytes, wanted: _Wanted) -> _Asked:
    """The images of a body, how they want to be answered, and in how many microseconds (0: not said)."""
    json_bytes = wanted.json_bytes(len(body))
    if json_bytes == 0 and protocol.LENGTH_HEADER in wanted.headers:
        return tensors.read_bare(body, wanted.spec), protocol.Answer(binary=True), 0
    asked = protocol.parse(body, json_bytes)
    return tensors.read(asked, wanted.spec, wanted.settings.max_images), asked.answer, asked.timeout_us


async def _classified(classifier: Classifier, images: Images, deadline: float) -> list[Classified]:
    """A row for every image; the protocol has no answer for a part of them, so the first bad one is the answer."""
    if not isinstance(images, list):
        return await classifier.classify_pixels(images, deadline)
    rows: list[Classified] = []
    for i, row in enumerate(await classifier.classify_each(images, deadline)):
        if isinstance(row, SightlineError):
            raise type(row)(f"image {i}: {row}") from row
        rows.append(row)
    return rows


def _ready_only(body: bytes) -> bool:
    try:
        content: Any = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(only := content.get("ready", False), bool):
        raise MalformedRequest('expected no body, or {"ready": true} for what answers only')
    return only


def _served(request: Request, model: str | None = None) -> list[Classifier]:
    every = catalog_of(request).all()
    return [entry for name, _, entry in every if isinstance(entry, Classifier) and model in (None, name)]
