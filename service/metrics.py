"""What Prometheus reads. BentoML's names, but an endpoint is a route's template and never the path that somebody sent.

BentoML labels its series with raw paths, so anybody can fill a server's memory with names; its own are switched off.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as _text_of
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

OTHER = "other"  # every path that no route has a template for

# The smallest default bucket is 5 ms; a thumbnail is classified in one.
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_LABELS = ("endpoint", "service_name", "http_response_code")
_NAMESPACE, _SERVICE = "bentoml_service", "sightline"

REQUESTS = Counter("request_total", "Requests answered", _LABELS, namespace=_NAMESPACE)
SECONDS = Histogram(
    "request_duration_seconds",
    "Seconds from a request's head to the end of its answer",
    _LABELS,
    namespace=_NAMESPACE,
    buckets=_BUCKETS_S,
)
IN_PROGRESS = Gauge(
    "request_in_progress",
    "Requests being answered now",
    ("service_name",),
    namespace=_NAMESPACE,
    multiprocess_mode="livesum",
)
REJECTED = Counter("rejected_total", "Requests refused, by the code of their problem", ("reason",), namespace=_SERVICE)


class Endpoints:
    """Paths to the templates of routes."""

    def __init__(self, routes: Iterable[BaseRoute], paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._routes = [route for route in routes if isinstance(route, Route | Mount)]
        self.template = lru_cache(maxsize=1024)(self._template)

    def _template(self, path: str) -> str:
        if path in self._paths:
            return path
        return next((route.path or "/" for route in self._routes if route.path_regex.match(path)), OTHER)


def answered(endpoint: str, status: int, seconds: float) -> None:
    """Count one answer."""
    labels = (endpoint, _SERVICE, str(status))
    REQUESTS.labels(*labels).inc()
    SECONDS.labels(*labels).observe(seconds)


def rejected(reason: str) -> None:
    REJECTED.labels(reason).inc()


def in_progress(requests: int) -> None:
    IN_PROGRESS.labels(_SERVICE).set(requests)


def text() -> bytes:
    """Every series of every worker."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _text_of(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return _text_of(registry)


async def endpoint(_: Request) -> Response:
    return Response(text(), headers={"content-type": CONTENT_TYPE_LATEST})
