"""The BentoML service: `bentoml serve service.app:Sightline`.

BentoML launches, packages and measures; every answer to a classification comes from `routes` or from the one native
endpoint below. Both use the same engines and batches. Importing this module reads the settings, so that a wrong one
stops the start, and is light: no engine is imported before a model needs it.
"""

# mypy: disable-error-code="misc,untyped-decorator"
# (BentoML's classes and decorators count as untyped here.)

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import bentoml
import orjson
from bentoml.images import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from classifier.errors import RolloutFileError, SightlineError
from service import logs, systemd
from service.api import auth, bodies, endpoints, responses, routes
from service.api.auth import METRICS, PROBES, Access
from service.api.deadlines import deadline_after, time_for, while_present
from service.api.endpoints import Endpoints
from service.api.hot_routes import HotRoutes
from service.api.middleware import RequestMiddleware
from service.api.traffic import Traffic
from service.client.version import VERSION
from service.errors import MalformedRequest, SettingsError, TryLater, problem_headers
from service.inference.catalog import Catalog
from service.inference.rollout.reloading import Reloader
from service.metrics import Metrics
from service.server import process, startup, tls
from service.server.context import ServerContext
from service.server.shutdown import Shutdown
from service.server.sockets import listening_addresses
from service.server.supervisor import arbiter, deaths
from service.settings import Settings
from service.surroundings.file_watch import watch
from service.telemetry import spans
from service.telemetry.build import this_build

process.share_heaps()  # before there are threads
_APP = routes.create_app()
_CLASSIFY = "/classify"  # for BentoML's own clients


def _put_together() -> ServerContext:
    settings = Settings.from_environment(os.environ)
    access = Access(settings, listening_addresses)
    metrics = Metrics(this_build(settings), deaths.worker_starts())
    paths = Endpoints(_APP.routes, [*PROBES, _CLASSIFY, "/docs.json", "/schema.json"])
    traffic = Traffic(settings, access, paths, metrics)

    def in_front(bentoml_app: ASGIApp) -> ASGIApp:
        others = routes.in_words(bodies.forms_only(bentoml_app, _CLASSIFY))
        return RequestMiddleware(HotRoutes(_APP, routes.HOT, others), traffic)

    return ServerContext(Catalog(settings, metrics), traffic, in_front)


try:
    _SERVER = _put_together()
except (SettingsError, RolloutFileError) as wrong:
    raise SystemExit(f"sightline: {wrong}") from None  # one line for the operator in place of BentoML's traceback

SETTINGS = _SERVER.settings
startup.install(_SERVER)
startup.report_nothing()


def _set_log_format() -> None:
    if SETTINGS.log_format == "json":
        logs.write_json()


_set_log_format()  # for the process that watches the server, which only imports this module

# BentoML's own limit, of upload and answer together, only catches what our limits, which answer first, have missed.
_BENTOML_TIMEOUT_S = (SETTINGS.upload_timeout_ms + SETTINGS.longest_timeout_ms) / 1000 + 5

# What `bentoml containerize` begins with; bentofile.yaml says the rest. Where BentoML does not know the distribution it
# installs no compiler, which nobody wants: every package is a wheel.
_IMAGE = Image(base_image="python:3.11-slim", distro="none")


class Classification(bentoml.IODescriptor):
    """Labels with their probabilities, most probable first."""

    model: str
    version: int
    predictions: list[dict[str, Any]]


class ClassificationRequest(bentoml.IODescriptor):
    """An image file and the name of the model that is to classify it."""

    image: Path
    model: str
    version: int | None = None
    top_k: int | None = None

    @classmethod
    async def from_http_request(cls, request: Request, serde: object) -> ClassificationRequest:
        """Leave the body to `classify`: BentoML's parser has no size limit and downloads URLs that a client names."""
        nothing: ClassificationRequest = cls.model_construct(image=Path(), model="")
        return nothing


@bentoml.asgi_app(_APP)
@bentoml.service(
    name="sightline",
    image=_IMAGE,
    workers=1,  # one process feeds all cores: two were slower, and each would hold its own copy of the models
    traffic={"timeout": _BENTOML_TIMEOUT_S},
    tracing={"excluded_urls": ".*"},  # its middleware costs most of a thumbnail's time, even when nothing is sampled
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},  # `service.metrics` says why
)
class Sightline:
    """Image classification over HTTP."""

    def __init__(self) -> None:
        self._catalog = _SERVER.catalog
        self._reloader = Reloader(self._catalog, process.trim_heaps)
        routes.serve_catalog(_APP, self._catalog, self._reloader)

    @bentoml.on_deployment
    @staticmethod
    def check_deployment() -> None:
        """Refuse, before any worker is started, a second one and an address that anybody reaches but nobody may use."""
        startup.log_beside_bentoml()
        _set_log_format()
        try:
            arbiter.check_there_is_one_worker("sightline")
            arbiter.replace_arbiter()
            tls.check(SETTINGS)
            spans.check(os.environ)
            if (host := startup.host_to_bind()) is not None:
                auth.check_address(SETTINGS, host)
                startup.check_port(host)
        except SettingsError as wrong:
            raise SystemExit(f"sightline: {wrong}") from None

    @bentoml.on_startup
    async def load_models(self) -> None:
        """Load in the background: the server answers /livez, and says on /readyz what is missing, from the start."""
        try:
            arbiter.check_there_is_one_worker("sightline")  # again: there may be no supervisor
            server = startup.running_server(_SERVER)
            if SETTINGS.tls_cert:
                server.config.ssl = tls.context_of(SETTINGS)  # uvicorn has not begun to listen
            _SERVER.traffic.spans = spans.spans_of(os.environ, VERSION, frozenset((*PROBES, METRICS)))
        except SettingsError as wrong:
            startup.leave(wrong)
        startup.log_beside_bentoml()
        _set_log_format()
        process.end_with_parent()
        process.shorten_slices()
        Shutdown(_SERVER, server).take_over()
        _SERVER.listeners.open()
        _SERVER.lag.watch()
        self._catalog.start()
        self._upkeep = [
            asyncio.create_task(process.trim_heaps_regularly()),
            asyncio.create_task(self._settle()),
            asyncio.create_task(systemd.report(lambda: self._catalog.is_ready, lambda: self._catalog.is_alive)),
            *(asyncio.create_task(watching) for watching in _watches(server.config.ssl)),
        ]
        startup.warn(SETTINGS, os.environ)

    @bentoml.on_shutdown
    async def close_models(self) -> None:
        for task in self._upkeep:
            task.cancel()
        await self._reloader.close()
        await self._catalog.close()
        if (recorded := _SERVER.traffic.spans) is not None:
            await asyncio.to_thread(recorded.close)

    async def _settle(self) -> None:
        """Once the models are loaded, spare them the garbage collector, and look for others."""
        try:
            await self._catalog.loaded()
        except Exception:  # the catalog has logged it
            return
        process.spare_the_collector()
        if SETTINGS.reload != "off":
            await self._reloader.start(SETTINGS.reload)

    async def __is_alive__(self) -> bool:
        return self._catalog.is_alive

    async def __is_ready__(self) -> bool:
        try:
            self._catalog.check_ready()
        except TryLater as error:  # an exception, because a plain False makes BentoML keep the reason to itself
            raise HTTPException(error.status, str(error), problem_headers(error)) from error
        broken = [f"{name} version {version}: {reason}" for name, version, reason in self._catalog.broken()]
        if broken:  # an exception again: it is the only way to a body of our own
            raise HTTPException(200, f"ready, but not everything is served: {'; '.join(broken)}")
        return True

    @bentoml.api(route=_CLASSIFY, input_spec=ClassificationRequest, output_spec=Classification)
    async def classify(self, ctx: bentoml.Context, **_: Any) -> Response:
        """Classify one image, for BentoML's own clients: `client.classify(image=Path("cat.jpg"), model="asl")`."""
        try:
            answer = await self._classify(ctx.request)
        except SightlineError as error:
            answer = responses.problem_response(error)
        ctx.response.status_code = answer.status_code  # BentoML puts this one over the answer's own
        return answer

    async def _classify(self, request: Request) -> Response:
        allowed_ms = time_for(request, SETTINGS)
        files, fields = await bodies.read_form(request, SETTINGS.max_body_bytes)
        image = bodies.the_image(files, {} if files else fields)  # beside a file, the fields are ours
        given = {name: _text(value) for name, value in fields.items()}
        if unknown := given.keys() - {"model", "version", "top_k"}:
            raise MalformedRequest(f"no field {', '.join(sorted(unknown))}; there is: image, model, version, top_k")
        version = endpoints.read_version(given["version"]) if given.get("version") else None
        classifier = self._catalog.find(given.get("model", ""), version)
        if version is None and self._catalog.splits:
            classifier = endpoints.of_caller(self._catalog, classifier, request.scope, _SERVER.traffic.proxies)
        top_k = routes.read_top_k(given["top_k"], len(classifier.card.labels)) if given.get("top_k") else None
        async with deadline_after(allowed_ms) as deadline:
            with while_present(request):
                row = await classifier.classify(image, deadline)
        answer = responses.prediction(classifier.card, row, responses.Wanted(top_k))
        answer.headers[endpoints.VERSION_HEADER] = str(classifier.card.version)
        return answer


def _watches(context: ssl.SSLContext | None) -> Iterator[Coroutine[Any, Any, None]]:
    """What takes over the files that an operator replaces while the server runs."""
    if SETTINGS.api_keys_file:
        yield watch([Path(SETTINGS.api_keys_file)], _SERVER.traffic.access.read_keys_again)
    if SETTINGS.admin_keys_file:
        yield watch([Path(SETTINGS.admin_keys_file)], _SERVER.traffic.access.read_admin_keys_again)
    if SETTINGS.tls_cert and context is not None:
        yield tls.renew(context, SETTINGS)


def _text(value: str) -> str:
    """A form field as BentoML's clients write it, which is JSON, or as everybody else does; "" for null."""
    try:
        meant = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    return "" if meant is None else str(meant)
