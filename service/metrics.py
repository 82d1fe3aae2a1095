"""What Prometheus reads. BentoML's names, but an endpoint is a route's template and never the path that somebody sent.

BentoML labels its series with raw paths, so anybody can fill a server's memory with names; its own are switched off.

With several workers every series lives in a file that all of them share, and writing one observation into it costs
6 us. So what happens is noted in memory, and `flush` counts what came since and writes it: four times a second, and
before its own answer to a scrape.
"""

from __future__ import annotations

import os
from collections import Counter as Tallies
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest as _text_of
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from classifier.card import Card
from classifier.engines import Engine

OTHER = "other"  # every path that no route has a template for

# The smallest default bucket is 5 ms; a thumbnail is classified in one.
BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

_NAMESPACE, SERVICE = "bentoml_service", "sightline"
_LABELS = ("endpoint", "service_name", "http_response_code")
_MODEL = ("model", "version")

REQUESTS = Counter("request_total", "Requests answered", _LABELS, namespace=_NAMESPACE)
SECONDS = Histogram(
    "request_duration_seconds",
    "Seconds from a request's head to the end of its answer",
    _LABELS,
    namespace=_NAMESPACE,
    buckets=BUCKETS_S,
)
IN_PROGRESS = Gauge(
    "request_in_progress",
    "Requests being answered now",
    ("service_name",),
    namespace=_NAMESPACE,
    multiprocess_mode="livesum",
)
MODEL_INFO = Gauge(
    "model_info",
    "1 for each served model version, with what runs it",
    (*_MODEL, "engine", "precision", "device"),
    namespace=SERVICE,
    multiprocess_mode="livemax",
)
MAX_BATCH = Gauge(
    "max_batch_images",
    "Images that a batch may hold: as set or as measured, less once memory ran out",
    _MODEL,
    namespace=SERVICE,
    multiprocess_mode="livemin",
)
REJECTED = Counter("rejected_total", "Requests refused, by the code of their problem", ("reason",), namespace=SERVICE)
DECODE_SECONDS = Histogram(
    "decode_seconds", "Seconds to decode one image", _MODEL, namespace=SERVICE, buckets=BUCKETS_S
)
QUEUE_SECONDS = Histogram(
    "queue_seconds", "Seconds that one image waited for its batch", _MODEL, namespace=SERVICE, buckets=BUCKETS_S
)
INFER_SECONDS = Histogram(
    "infer_seconds", "Seconds of one forward pass, whatever its size", _MODEL, namespace=SERVICE, buckets=BUCKETS_S
)
BATCH_IMAGES = Histogram(
    "batch_images", "Images in one forward pass", _MODEL, namespace=SERVICE, buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
CONFIDENCE = Histogram(
    "confidence",
    "Probability of the most probable label; a drift of the images shows here first",
    _MODEL,
    namespace=SERVICE,
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0),
)
QUEUE_IMAGES = Gauge(
    "queue_images", "Images waiting for a batch now", _MODEL, namespace=SERVICE, multiprocess_mode="livesum"
)
PREDICTIONS = Counter("predictions_total", "Images by their most probable label", (*_MODEL, "label"), namespace=SERVICE)

METRICS = (
    *(REQUESTS, SECONDS, IN_PROGRESS, REJECTED, PREDICTIONS, CONFIDENCE),
    *(DECODE_SECONDS, QUEUE_SECONDS, INFER_SECONDS, BATCH_IMAGES, QUEUE_IMAGES, MODEL_INFO, MAX_BATCH),
)


class Series(NamedTuple):
    """One line of the table of metrics."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def describe() -> list[Series]:
    """What /metrics holds, in the order in which somebody would look at it."""
    return [_described(metric) for metric in METRICS]


def _described(metric: Counter | Gauge | Histogram) -> Series:
    (about,) = metric.describe()
    name = f"{about.name}_total" if about.type == "counter" else about.name
    return Series(name, about.type, tuple(metric._labelnames), about.documentation)


class Tally:
    """A series of a histogram, and what was observed since the last flush: keeping is cheaper than counting."""

    MOST = 10_000  # numbers kept, for a server that nobody has flush

    def __init__(self, histogram: Histogram, *labels: str) -> None:
        self._series = histogram.labels(*labels)
        self._bounds = np.asarray(self._series._upper_bounds)
        self._seen: list[float] = []
        _TO_FLUSH.append(self)

    def observe(self, *values: float) -> None:
        self._seen += values
        if len(self._seen) > self.MOST:
            self.flush()

    def flush(self) -> None:
        if self._seen:
            counts = np.bincount(np.searchsorted(self._bounds, self._seen))
            for bucket, count in zip(self._series._buckets, counts.tolist(), strict=False):
                if count:
                    bucket.inc(count)
            self._series._sum.inc(sum(self._seen))
            self._seen.clear()


class Answers:
    """What a model version has answered since the last flush: its labels and their probabilities."""

    MOST = 500  # passes whose rows are kept, for a server that nobody has flush

    def __init__(self, model: str, version: str, labels: tuple[str, ...]) -> None:
        self._model = (model, version)
        self._labels = labels
        self._confidence = _tally(CONFIDENCE, model, version)
        self._rows: list[npt.NDArray[np.float32]] = []
        _TO_FLUSH.append(self)

    def note(self, rows: npt.NDArray[np.float32]) -> None:
        """Keep the rows of one pass, [images, classes]."""
        self._rows.append(rows)
        if len(self._rows) > self.MOST:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            rows = np.concatenate(self._rows)
            self._rows.clear()
            self._confidence.observe(*rows.max(axis=1).tolist())
            self._confidence.flush()  # its own turn may have been before this one
            for label, count in zip(self._labels, np.bincount(rows.argmax(axis=1)).tolist(), strict=False):
                if count:
                    PREDICTIONS.labels(*self._model, label).inc(count)


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


class ModelMetrics:
    """What is counted of one model version. Times are in nanoseconds, as `time.perf_counter_ns` gives them."""

    def __init__(self, card: Card) -> None:
        self._model = (card.name, str(card.version))
        self._decode = _tally(DECODE_SECONDS, *self._model)
        self._queue = _tally(QUEUE_SECONDS, *self._model)
        self._infer = _tally(INFER_SECONDS, *self._model)
        self._images = _tally(BATCH_IMAGES, *self._model)
        self._answers = _answers(*self._model, card.labels)

    def ran(
        self,
        decode_ns: Sequence[int],
        queue_ns: Sequence[int],
        infer_ns: int,
        probabilities: npt.NDArray[np.float32],
    ) -> None:
        """Count a forward pass: the times of each image, and the rows that are answers, [images, classes]."""
        self._decode.observe(*[taken / 1e9 for taken in decode_ns])
        self._queue.observe(*[taken / 1e9 for taken in queue_ns])
        self._infer.observe(infer_ns / 1e9)
        self._images.observe(len(decode_ns))
        self._answers.note(probabilities)

    def runs(self, engine: Engine) -> None:
        """Say what runs this version."""
        MODEL_INFO.labels(*self._model, engine.name, engine.precision, engine.device).set(1)

    def max_batch(self, images: int) -> None:
        MAX_BATCH.labels(*self._model).set(images)

    def waiting(self, images: int) -> None:
        QUEUE_IMAGES.labels(*self._model).set(images)


def answered(endpoint: str, status: int, seconds: float) -> None:
    """Count one answer."""
    _REQUESTS[endpoint, status] += 1
    _tally(SECONDS, endpoint, SERVICE, str(status)).observe(seconds)


def rejected(reason: str) -> None:
    _REJECTED[reason] += 1


def in_progress(requests: int) -> None:
    IN_PROGRESS.labels(SERVICE).set(requests)


def flush() -> None:
    """Write what was noted since the last time to where the next scrape looks."""
    for noted in _TO_FLUSH:
        noted.flush()
    for (endpoint, status), count in _REQUESTS.items():
        REQUESTS.labels(endpoint, SERVICE, str(status)).inc(count)
    for reason, count in _REJECTED.items():
        REJECTED.labels(reason).inc(count)
    _REQUESTS.clear()
    _REJECTED.clear()


def text() -> bytes:
    """Every series of every worker."""
    flush()
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return _text_of(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return _text_of(registry)


async def endpoint(_: Request) -> Response:
    return Response(text(), headers={"content-type": CONTENT_TYPE_LATEST})


_TO_FLUSH: list[Tally | Answers] = []
_REQUESTS: Tallies[tuple[str, int]] = Tallies()
_REJECTED: Tallies[str] = Tallies()

# One for each series, however often a version is loaded anew.
_tally = lru_cache(maxsize=None)(Tally)
_answers = lru_cache(maxsize=None)(Answers)
