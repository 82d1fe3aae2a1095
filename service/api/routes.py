"""The HTTP surface as a Starlette app. Each route reads, asks a classifier, and answers; errors are translated here."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from classifier.errors import RolloutFileError, SightlineError
from classifier.prediction_sets import quantile_for
from service import metrics
from service.api import bodies, responses
from service.api.browsers import page
from service.api.deadlines import deadline_after, time_for, while_present
from service.api.endpoints import WHOLE_NUMBER, Endpoint, answered, catalog_of, classifier_of, which_of
from service.api.oip import routes as oip
from service.api.openapi import document
from service.api.responses import Wanted
from service.errors import MalformedRequest, MethodNotAllowed, NoSuchPath, NotReady
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.rollout.reloading import Reloader
from service.surroundings.trusted_proxies import TrustedProxies
from service.telemetry.build import this_build

ONE, VERSION, ALIAS = (
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/aliases/{alias}",
)
MODEL_PATHS = (ONE, VERSION, ALIAS)

# The routes that go past BentoML and Starlette; see `hot_routes`.
HOT = tuple(f"{model}{step}" for model in MODEL_PATHS for step in ("/predict", "/predict-batch")) + tuple(
    f"/v2/models/{{model}}{version}/infer" for version in ("", "/versions/{version}")
)

_INSTEAD = (
    "POST /v1/models/MODEL/predict classifies an image, GET /v1/models lists the models, /docs describes every path"
)

_COVERAGE = re.compile(r"0?\.[0-9]{1,6}")
_ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def create_app() -> Starlette:
    """The app to mount. `serve_catalog` gives it its models; until then nothing may be asked of it."""
    routes = [
        *page.ROUTES,
        *document.ROUTES,
        Route("/metrics", tell_metrics),
        Route("/v1/server", _answered(describe_server)),
        Route("/v1/models", _answered(list_models)),
        *(Route(path, _answered(describe_model)) for path in MODEL_PATHS),
        *(Route(f"{path}/predict", _answered(predict), methods=["POST"]) for path in MODEL_PATHS),
        *(Route(f"{path}/predict-batch", _answered(predict_batch), methods=["POST"]) for path in MODEL_PATHS),
        *(Route(f"{path}/explain", _answered(explain), methods=["POST"]) for path in MODEL_PATHS),
        Route("/v1/admin/reload", _answered(reload), methods=["POST"]),
        Route("/v1", _answered(no_such_path), methods=_ALL_METHODS),
        Route("/v1/{rest:path}", _answered(no_such_path), methods=_ALL_METHODS),
        *oip.routes(no_such_path, _ALL_METHODS),
    ]
    return Starlette(routes=routes, exception_handlers={404: in_our_words, 405: in_our_words})


def serve_catalog(app: Starlette, catalog: Catalog, reloader: Reloader | None = None) -> None:
    """Have an app answer for these models from now on, and look for other ones when it is asked to."""
    app.state.catalog = catalog
    app.state.reloader = reloader
    app.state.proxies = TrustedProxies(catalog.settings.trusted_proxies)
    app.state.build = this_build(catalog.settings)
    app.state.began = datetime.now(UTC)


async def tell_metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(catalog_of(request).metrics.text(), headers={"content-type": metrics.CONTENT_TYPE})


async def describe_server(request: Request) -> Response:
    """What runs here, since when, and how it is set."""
    return responses.server(request.app.state.build, request.app.state.began, catalog_of(request).settings)


async def list_models(request: Request) -> Response:
    return responses.models(catalog_of(request))


async def describe_model(request: Request) -> Response:
    name = request.path_params["model"]
    catalog = catalog_of(request)
    version, _ = catalog.entry(name, which_of(request))
    return responses.model(catalog, name, version)


async def predict(request: Request) -> Response:
    catalog, classifier = catalog_of(request), classifier_of(request)
    wanted = _wanted(request, classifier)
    allowed_ms = time_for(request, catalog.settings)
    sent = await bodies.receive_image(request, catalog.settings.max_body_bytes)
    async with deadline_after(allowed_ms) as deadline:
        with while_present(request):
            image = await bodies.image_of(request, sent)
            del sent  # JSON takes more than its image, which may wait
            classified = await classifier.classify(image, deadline)
    return responses.prediction(classifier.card, classified, wanted)


async def predict_batch(request: Request) -> Response:
    catalog, classifier = catalog_of(request), classifier_of(request)
    wanted = _wanted(request, classifier)
    allowed_ms = time_for(request, catalog.settings)
    images = await bodies.read_images(request, catalog.settings.max_body_bytes, catalog.settings.max_images)
    async with deadline_after(allowed_ms) as deadline:
        with while_present(request):
            rows = await classifier.classify_each(images, deadline)
    return responses.prediction_of_each(classifier.card, rows, wanted)


async def explain(request: Request) -> Response:
    catalog, classifier = catalog_of(request), classifier_of(request)
    label = _label(request, classifier)
    allowed_ms = time_for(request, catalog.settings)
    sent = await bodies.receive_image(request, catalog.settings.max_body_bytes)
    async with deadline_after(allowed_ms) as deadline:
        with while_present(request):
            column, row, heat = await classifier.explain(await bodies.image_of(request, sent), label, deadline)
    if "image/png" in request.headers.get("accept", ""):
        return responses.heat_picture(classifier.card, heat)
    return responses.explanation(classifier.card, column, row, heat)


async def reload(request: Request) -> Response:
    """Look at the models folder now, and say what is being loaded. Raises RolloutFileError where the file is wrong."""
    catalog, reloader = catalog_of(request), request.app.state.reloader
    if reloader is None or catalog.settings.reload == "off":
        raise NoSuchPath("this server takes up nothing new before it is started again; SIGHTLINE_RELOAD changes that")
    if not catalog.is_loaded:
        raise NotReady("the models are still being loaded")
    await reloader.look()
    if fault := catalog.routing.file_fault:
        raise RolloutFileError(fault)
    return responses.json_response({"loading": reloader.loading})


def in_words(app: ASGIApp) -> ASGIApp:
    """An app that answers as `app` does, but for plain 404s and 405s: BentoML words those that are not ours."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        instead: Response | None = None

        async def translate(message: Message) -> None:
            nonlocal instead
            if message["type"] == "http.response.start" and message["status"] in (404, 405):
                headers = Headers(raw=message["headers"])
                if headers.get("content-type", "").startswith("text/plain"):
                    instead = _not_served(scope, headers.get("allow", ""))
                    await instead(scope, receive, send)
            if instead is None:
                await send(message)

        await app(scope, receive, translate)

    return answered


async def in_our_words(request: Request, error: Exception) -> Response:
    """What Starlette itself says of a path or a method, as a problem with what to ask instead."""
    return _not_served(request.scope, (getattr(error, "headers", None) or {}).get("Allow", ""))


def _not_served(scope: Scope, methods: str) -> Response:
    """The answer where a path, or its method, is not served. `methods` are those that are, with commas between."""
    path, allowed = scope["path"], ", ".join(sorted(filter(None, methods.replace(" ", "").split(","))))
    error: SightlineError = NoSuchPath(f"nothing is served under {path}; {_INSTEAD}")
    if allowed:
        error = MethodNotAllowed(f"{path} takes {allowed}, not {scope['method']}", allowed)
    return responses.error_response(path, error)


async def no_such_path(request: Request) -> Response:
    """What every path under /v1 comes to that no route above takes with this method."""
    path = request.scope["path"]
    partial = [route for route in request.app.routes if route.matches(request.scope)[0] is Match.PARTIAL]
    if partial:
        allowed = ", ".join(sorted(partial[0].methods))
        raise MethodNotAllowed(f"{path} takes {allowed}, not {request.method}", allowed)
    raise NoSuchPath(f"nothing is served under {path}; {_INSTEAD}")


def read_top_k(text: str, classes: int) -> int:
    """A `top_k` parameter. Raises MalformedRequest naming the range."""
    if not WHOLE_NUMBER.fullmatch(text) or int(text) > classes:
        raise MalformedRequest(f"top_k must be a whole number from 1 to {classes}, not {text!r}")
    return int(text)


def read_coverage(text: str) -> float:
    """A `coverage` parameter. Raises MalformedRequest naming the range."""
    if not _COVERAGE.fullmatch(text):
        raise MalformedRequest(f"coverage must be a decimal between 0 and 1, as 0.95, not {text!r}")
    return float(text)


def _answered(endpoint: Endpoint) -> Endpoint:
    return answered(endpoint, responses.problem_response)


def _wanted(request: Request, classifier: Classifier) -> Wanted:
    """What `predict` is to say of an image. Raises MalformedRequest or UnknownCoverage."""
    given, card = _parameters(request, "top_k", "coverage"), classifier.card
    top_k, coverage = given.get("top_k"), given.get("coverage")
    return Wanted(
        None if top_k is None else read_top_k(top_k, len(card.labels)),
        None if coverage is None else quantile_for(card.prediction_sets, read_coverage(coverage)),
    )


def _label(request: Request, classifier: Classifier) -> int | None:
    text = _parameters(request, "label").get("label")
    if text is not None and text not in classifier.card.labels:
        raise MalformedRequest(f"no label {text!r}; there is: {', '.join(classifier.card.labels)}")
    return None if text is None else classifier.card.labels.index(text)


def _parameters(request: Request, *names: str) -> dict[str, str]:
    """The query parameters that a route takes. Raises MalformedRequest for another one and for a second one."""
    if not request.scope["query_string"]:
        return {}
    parameters = request.query_params
    if unknown := sorted(set(parameters) - set(names)):
        raise MalformedRequest(f"no parameter {', '.join(unknown)}; there is: {', '.join(names)}")
    if twice := sorted(name for name in parameters if len(parameters.getlist(name)) > 1):
        raise MalformedRequest(f"{', '.join(twice)} is given more than once")
    return dict(parameters)
