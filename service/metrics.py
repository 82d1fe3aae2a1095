"""What Prometheus reads: noted in memory as it happens, put into its words when it asks.

BentoML's names, but an endpoint is a route's template and never the path that somebody sent: BentoML labels its series
with raw paths, so anybody can fill a server's memory with names. Its own are switched off.

Each server has a `Metrics` of its own and writes no files. So servers beside it neither see nor erase its numbers. All
of it belongs to the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from classifier.card import PROBABILITY_BOUNDS, Card
from classifier.engines import Engine

CONTENT_TYPE = CONTENT_TYPE_LATEST  # of `Metrics.text`


class Series(NamedTuple):
    """One line of the table of metrics. `bounds` are the upper bounds of a histogram's buckets."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    bounds: tuple[float, ...] = ()


# Finer than the default buckets, the smallest of which would hold every thumbnail.
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_FAMILIARITIES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

_SERVICE = "sightline"
_ANSWER = ("endpoint", "service_name", "http_response_code")
_MODEL = ("model", "version")
_COMPARED = (*_MODEL, "against", "result")

REQUESTS = Series("bentoml_service_request_total", "counter", _ANSWER, "Requests answered")
SECONDS = Series(
    "bentoml_service_request_duration_seconds",
    "histogram",
    _ANSWER,
    "Seconds from a request's head to the end of its answer",
    _SECONDS,
)
IN_PROGRESS = Series("bentoml_service_request_in_progress", "gauge", ("service_name",), "Requests being answered now")
REJECTED = Series("sightline_rejected_total", "counter", ("reason",), "Requests refused, by the code of their problem")
PREDICTIONS = Series(
    "sightline_predictions_total", "counter", (*_MODEL, "label"), "Images by their most probable label"
)
CONFIDENCE = Series(
    "sightline_confidence",
    "histogram",
    _MODEL,
    "Probability of the most probable label; a drift of the images shows here first",
    PROBABILITY_BOUNDS,
)
FAMILIARITY = Series(
    "sightline_familiarity",
    "histogram",
    _MODEL,
    "How familiar each image looks, 0 to 1, of versions that say so; evenly spread over images as in training",
    _FAMILIARITIES,
)
UNFAMILIAR = Series(
    "sightline_unfamiliar_total", "counter", _MODEL, "Images that look like nothing the version was trained on"
)
DECODE_SECONDS = Series("sightline_decode_seconds", "histogram", _MODEL, "Seconds to decode one image", _SECONDS)
QUEUE_SECONDS = Series(
    "sightline_queue_seconds", "histogram", _MODEL, "Seconds that one image waited for its batch", _SECONDS
)
INFER_SECONDS = Series(
    "sightline_infer_seconds", "histogram", _MODEL, "Seconds of one forward pass, whatever its size", _SECONDS
)
BATCH_IMAGES = Series("sightline_batch_images", "histogram", _MODEL, "Images in one forward pass", _IMAGES)
QUEUE_IMAGES = Series("sightline_queue_images", "gauge", _MODEL, "Images waiting for a batch now")
MODEL_INFO = Series(
    "sightline_model_info",
    "gauge",
    (*_MODEL, "engine", "precision", "device"),
    "1 for each served model version, with what runs it",
)
MAX_BATCH = Series(
    "sightline_max_batch_images",
    "gauge",
    _MODEL,
    "Images that a batch may hold: as set or as measured, less once memory ran out",
)

BROKEN_INFO = Series(
    "sightline_broken_info", "gauge", (*_MODEL, "reason"), "1 for each model version on disk that could not be loaded"
)
VERSION_STATE = Series(
    "sightline_version_state", "gauge", (*_MODEL, "state"), "1 for the state of each model version on disk"
)
ALIAS_INFO = Series("sightline_alias_info", "gauge", (*_MODEL, "alias"), "1 for each alias and the version it names")
TRAFFIC_WEIGHT = Series(
    "sightline_traffic_weight", "gauge", _MODEL, "Share of a model's requests, of those that name no version"
)
CANARY_SHUT_OFF = Series(
    "sightline_canary_shut_off_total", "counter", (*_MODEL, "limit"), "Canaries that their guard has ended"
)
ROLLOUT_FILE_WRONG = Series(
    "sightline_rollout_file_wrong", "gauge", (), "1 while the roll-out file is wrong, and the one before is followed"
)
LOADS = Series(
    "sightline_version_loads_total",
    "counter",
    (*_MODEL, "result"),
    "Versions loaded while the server ran, by what came of it: ready or broken",
)
SHADOW_REQUESTS = Series(
    "sightline_shadow_requests_total",
    "counter",
    _COMPARED,
    "Requests that a version on trial and the one that answers were both asked: agreed, disagreed, failed or dropped",
)
SHADOW_DISAGREED = Series(
    "sightline_shadow_disagreed_total",
    "counter",
    (*_MODEL, "against", "label"),
    "Those with another most probable label, by the label of the version that answers",
)
SHADOW_CHANGE = Series(
    "sightline_shadow_probability_change",
    "gauge",
    (*_MODEL, "against"),
    "How much higher the top probability of the version on trial is, in the mean",
)
SHADOW_FAMILIARITY = Series(
    "sightline_shadow_familiarity_change",
    "gauge",
    (*_MODEL, "against"),
    "How much more familiar the images look to the version on trial, in the mean, where both versions say so",
)
SHADOW_SECONDS = Series(
    "sightline_shadow_seconds",
    "histogram",
    (*_MODEL, "against"),
    "Seconds of a shadow request, which waits behind all others",
    _SECONDS,
)

BUILD_INFO = Series(
    "sightline_build_info",
    "gauge",
    ("version", "commit", "engine"),
    "1, with what runs: the version, its commit, the engine",
)
WORKER_STARTS = Series(
    "sightline_worker_starts_total",
    "counter",
    (),
    "Worker processes that this server has had; more than 1 where one died and was replaced",
)

SERIES = (  # in the order in which somebody would look at them
    *(REQUESTS, SECONDS, IN_PROGRESS, REJECTED, PREDICTIONS, CONFIDENCE, FAMILIARITY, UNFAMILIAR),
    *(DECODE_SECONDS, QUEUE_SECONDS, INFER_SECONDS, BATCH_IMAGES, QUEUE_IMAGES, MODEL_INFO, MAX_BATCH, BROKEN_INFO),
    *(VERSION_STATE, ALIAS_INFO, TRAFFIC_WEIGHT, CANARY_SHUT_OFF, ROLLOUT_FILE_WRONG, LOADS),
    *(SHADOW_REQUESTS, SHADOW_DISAGREED, SHADOW_CHANGE, SHADOW_FAMILIARITY, SHADOW_SECONDS),
    *(BUILD_INFO, WORKER_STARTS),
)

_FAMILIES: dict[str, Callable[..., Any]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class Histogram:
    """How many of the observed values are in each bucket, and their sum."""

    __slots__ = ("_bounds", "_counts", "sum")

    def __init__(self, series: Series) -> None:
        self._bounds = series.bounds
        self._counts = [0] * (len(series.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Each upper bound, and how many values are not above it."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return list(zip(bounds, np.cumsum(self._counts).tolist(), strict=True))


class Served(Protocol):
    """A model version that is served, whose gauges are read when Prometheus asks."""

    @property
    def card(self) -> Card: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def max_batch(self) -> int: ...
    @property
    def waiting(self) -> int: ...


Sample = tuple[Series, tuple[str, ...], "float | Histogram"]


class ModelMetrics:
    """What is counted of one model version. Times are in nanoseconds, as `time.perf_counter_ns` gives them."""

    MOST_KEPT = 64  # batches whose rows are looked at together: docs/tuning.md#metrics

    def __init__(self, card: Card) -> None:
        self._model = (card.name, str(card.version))
        self._labels = card.labels
        self._decode = Histogram(DECODE_SECONDS)
        self._queue = Histogram(QUEUE_SECONDS)
        self._infer = Histogram(INFER_SECONDS)
        self._images = Histogram(BATCH_IMAGES)
        self._confidence = Histogram(CONFIDENCE)
        self._predictions = np.zeros(len(card.labels), np.int64)
        self._record = card.familiarity
        self._familiarity = Histogram(FAMILIARITY)
        self._unfamiliar = 0
        self._rows: list[npt.NDArray[np.float32]] = []

    def ran(
        self,
        decode_ns: Sequence[int],
        queue_ns: Sequence[int],
        infer_ns: int,
        probabilities: npt.NDArray[np.float32],
        familiarity: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Count a batch: the times of each image, and what are answers.

        These are rows of probabilities, float32 [images, classes], and float32 [images] where the version has a
        familiarity.
        """
        for decoding in decode_ns:
            self._decode.observe(decoding / 1e9)
        for queueing in queue_ns:
            self._queue.observe(queueing / 1e9)
        self._infer.observe(infer_ns / 1e9)
        self._images.observe(len(decode_ns))
        self._rows.append(probabilities)
        if familiarity is not None and self._record is not None:
            for score in familiarity.tolist():
                self._familiarity.observe(score)
                self._unfamiliar += not self._record.is_familiar(score)
        if len(self._rows) >= self.MOST_KEPT:
            self._count_rows()

    def samples(self) -> Iterator[Sample]:
        self._count_rows()
        histograms = {
            CONFIDENCE: self._confidence,
            DECODE_SECONDS: self._decode,
            QUEUE_SECONDS: self._queue,
            INFER_SECONDS: self._infer,
            BATCH_IMAGES: self._images,
        }
        for series, histogram in histograms.items():
            yield series, self._model, histogram
        if self._record is not None:
            yield FAMILIARITY, self._model, self._familiarity
            yield UNFAMILIAR, self._model, self._unfamiliar
        for label, images in zip(self._labels, self._predictions.tolist(), strict=True):
            if images:
                yield PREDICTIONS, (*self._model, label), images

    def _count_rows(self) -> None:
        if self._rows:
            rows = np.concatenate(self._rows)
            self._rows.clear()
            for probability in rows.max(axis=1).tolist():
                self._confidence.observe(probability)
            self._predictions += np.bincount(rows.argmax(axis=1), minlength=len(self._labels))


class ShadowMetrics:
    """How a version on trial compares with the one that answers. `against` is the latter's version."""

    def __init__(self, card: Card, against: int) -> None:
        self.agreed = self.disagreed = self.failed = self.dropped = 0
        self._model = (card.name, str(card.version), str(against))
        self._labels: Counter[str] = Counter()
        self._change = 0.0  # in all
        self._familiarity, self._rated = 0.0, 0  # in all, of so many
        self._seconds = Histogram(SHADOW_SECONDS)

    def compared(
        self, label: str, agreed: bool, change: float, took_s: float, familiarity: float | None = None
    ) -> None:
        """Count two answers: the label of the version that answers, the change of the top probability and, where both
        versions have one, of the familiarity.
        """
        if agreed:
            self.agreed += 1
        else:
            self.disagreed += 1
            self._labels[label] += 1
        self._change += change
        if familiarity is not None:
            self._familiarity += familiarity
            self._rated += 1
        self._seconds.observe(took_s)

    def samples(self) -> Iterator[Sample]:
        for result in ("agreed", "disagreed", "failed", "dropped"):
            yield SHADOW_REQUESTS, (*self._model, result), getattr(self, result)
        for label, images in self._labels.items():
            yield SHADOW_DISAGREED, (*self._model, label), images
        if compared := self.agreed + self.disagreed:
            yield SHADOW_CHANGE, self._model, self._change / compared
        if self._rated:
            yield SHADOW_FAMILIARITY, self._model, self._familiarity / self._rated
        yield SHADOW_SECONDS, self._model, self._seconds


class Metrics:
    """What one server counts, as a collector of Prometheus's.

    Counters and histograms are noted here; gauges are read where they are. `in_progress` says how many requests are
    being answered; `versions`, what is served; `broken`, the model, version and reason of what cannot be; `rollout`,
    what gets which traffic. `build` is version, commit and engine; `worker_starts`, how many workers there have been.
    """

    def __init__(self, build: tuple[str, str, str] = ("", "", ""), worker_starts: int = 1) -> None:
        self._build = build
        self._worker_starts = worker_starts
        self.in_progress: Callable[[], int] = lambda: 0
        self.versions: Callable[[], Iterable[Served]] = tuple
        self.broken: Callable[[], Iterable[tuple[str, int, str]]] = tuple
        self.rollout: Callable[[], Iterable[Sample]] = tuple
        self._answers: dict[tuple[str, int], Histogram] = {}
        self._rejections: Counter[str] = Counter()
        self._models: dict[tuple[str, int], ModelMetrics] = {}
        self._shadows: dict[tuple[str, int, int], ShadowMetrics] = {}
        self._shut_off: Counter[tuple[str, str, str]] = Counter()
        self._loads: Counter[tuple[str, str, str]] = Counter()
        self.registry = CollectorRegistry()
        for part in (ProcessCollector, PlatformCollector, GCCollector):
            part(registry=self.registry)
        self.registry.register(self)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count one answer."""
        if (histogram := self._answers.get((endpoint, status))) is None:
            histogram = self._answers[endpoint, status] = Histogram(SECONDS)
        histogram.observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count one refused request, by the code of its problem."""
        self._rejections[reason] += 1

    def of(self, card: Card) -> ModelMetrics:
        """Where a version is counted; the same counters when it is loaded anew."""
        return self._models.setdefault((card.name, card.version), ModelMetrics(card))

    def shadow(self, card: Card, against: int) -> ShadowMetrics:
        """Where a version on trial is compared with another."""
        return self._shadows.setdefault((card.name, card.version, against), ShadowMetrics(card, against))

    def canary_shut_off(self, name: str, version: int, limit: str) -> None:
        """Count a canary that its guard has ended."""
        self._shut_off[name, str(version), limit] += 1

    def loaded(self, name: str, version: int, result: str) -> None:
        """Count a version that came while the server ran."""
        self._loads[name, str(version), result] += 1

    def text(self) -> bytes:
        """All series in Prometheus's text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterable[Metric]:
        families = {
            series: _FAMILIES[series.kind](series.name, series.meaning, labels=series.labels) for series in SERIES
        }
        for series, labels, value in self._samples():
            if isinstance(value, Histogram):
                families[series].add_metric(labels, value.buckets(), value.sum)
            else:
                families[series].add_metric(labels, value)
        return families.values()

    def _samples(self) -> Iterator[Sample]:
        for (endpoint, status), seconds in self._answers.items():
            labels = (endpoint, _SERVICE, str(status))
            yield REQUESTS, labels, seconds.count
            yield SECONDS, labels, seconds
        yield IN_PROGRESS, (_SERVICE,), self.in_progress()
        for reason, requests in self._rejections.items():
            yield REJECTED, (reason,), requests
        for model in self._models.values():
            yield from model.samples()
        for served in self.versions():
            model_labels, engine = (served.card.name, str(served.card.version)), served.engine
            yield QUEUE_IMAGES, model_labels, served.waiting
            yield MODEL_INFO, (*model_labels, engine.name, engine.precision, engine.device), 1
            yield MAX_BATCH, model_labels, served.max_batch
        for name, version, reason in self.broken():
            yield BROKEN_INFO, (name, str(version), reason), 1
        yield from self._rollout_samples()
        yield BUILD_INFO, self._build, 1
        yield WORKER_STARTS, (), self._worker_starts

    def _rollout_samples(self) -> Iterator[Sample]:
        yield from self.rollout()
        for shadow in self._shadows.values():
            yield from shadow.samples()
        for series, counts in {CANARY_SHUT_OFF: self._shut_off, LOADS: self._loads}.items():
            for labels, count in counts.items():
                yield series, labels, count
