from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from classifier.card import Card
from classifier.store import ModelStore
from service.metrics import Metrics, ModelMetrics
from tests.tiny_models import COLOUR

Read = Callable[..., float | None]
MODEL = {"model": COLOUR, "version": "2"}


@pytest.fixture(scope="session")
def card(tiny_models_root: Path) -> Card:
    """Of a model with three labels."""
    return ModelStore(tiny_models_root).card(COLOUR)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def read(metrics: Metrics) -> Read:
    """The value of a series of the version MODEL, by its name and its other labels; None where there is none."""

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, MODEL | labels)

    return value


def rows(*probabilities: tuple[float, ...]) -> Any:
    return np.array(probabilities, np.float32).reshape(len(probabilities), 3)


def test_an_observation_is_in_the_first_bucket_that_holds_it(metrics: Metrics, card: Card, read: Read) -> None:
    queue_ns = [2_000_000, 2_100_000, 100_000_000_000]
    metrics.of(card).ran([0] * 3, queue_ns, 0, rows(*[(1, 0, 0)] * 3))
    at_most = {bound: read("sightline_queue_seconds_bucket", le=bound) for bound in ("0.001", "0.002", "0.005", "30.0")}
    assert at_most == {"0.001": 0, "0.002": 1, "0.005": 2, "30.0": 2}
    assert read("sightline_queue_seconds_bucket", le="+Inf") == read("sightline_queue_seconds_count") == 3
    assert read("sightline_queue_seconds_sum") == pytest.approx(100.0041)


def test_a_batch_is_counted_once_and_its_images_each(metrics: Metrics, card: Card, read: Read) -> None:
    metrics.of(card).ran([1_000_000, 2_000_000], [0, 0], 30_000_000, rows((1, 0, 0), (1, 0, 0)))
    assert (read("sightline_batch_images_count"), read("sightline_batch_images_sum")) == (1, 2)
    assert (read("sightline_infer_seconds_count"), read("sightline_infer_seconds_sum")) == (1, pytest.approx(0.03))
    assert (read("sightline_decode_seconds_count"), read("sightline_decode_seconds_sum")) == (2, pytest.approx(0.003))


def test_answers_count_by_their_most_probable_label_and_how_probable_it_is(
    metrics: Metrics, card: Card, read: Read
) -> None:
    first, second, third = card.labels
    metrics.of(card).ran([0, 0], [0, 0], 0, rows((0.75, 0.2, 0.05), (0.1, 0.2, 0.7)))
    metrics.of(card).ran([0], [0], 0, rows((1.0, 0.0, 0.0)))
    metrics.of(card).ran([0], [0], 0, rows())  # a batch of which no row was a number
    assert read("sightline_predictions_total", label=first) == 2
    assert read("sightline_predictions_total", label=second) is None
    assert read("sightline_predictions_total", label=third) == 1
    assert read("sightline_confidence_bucket", le="0.7") == 1
    assert read("sightline_confidence_bucket", le="0.8") == 2
    assert read("sightline_confidence_count") == 3


def test_what_nobody_asks_for_does_not_grow_for_ever(metrics: Metrics, card: Card, read: Read) -> None:
    weakly = [WeaklyKept() for _ in range(3 * ModelMetrics.MOST_KEPT)]
    for kept in weakly:
        metrics.of(card).ran([0], [0], 0, kept.rows())
    assert sum(kept.is_alive for kept in weakly) < ModelMetrics.MOST_KEPT
    assert read("sightline_confidence_count") == 3 * ModelMetrics.MOST_KEPT
    assert not any(kept.is_alive for kept in weakly)  # it was asked for


class WeaklyKept:
    """The rows of a batch, and whether somebody still keeps them."""

    def rows(self) -> Any:
        made = rows((0.25, 0.75, 0.0))
        self._reference = weakref.ref(made)
        return made

    @property
    def is_alive(self) -> bool:
        return self._reference() is not None


def test_asking_twice_counts_once(metrics: Metrics, card: Card) -> None:
    metrics.of(card).ran([0] * 3, [0] * 3, 0, rows(*[(1, 0, 0)] * 3))
    metrics.text()
    assert f'sightline_batch_images_count{{model="{COLOUR}",version="2"}} 1.0\n' in metrics.text().decode()


def test_a_version_that_is_loaded_anew_counts_on(metrics: Metrics, card: Card, read: Read) -> None:
    for _ in range(2):
        metrics.of(card).ran([0], [0], 0, rows((1, 0, 0)))
    assert read("sightline_batch_images_count") == 2


def test_answers_count_by_endpoint_and_status(metrics: Metrics) -> None:
    for status in (200, 200, 404):
        metrics.answered("/v1/models/{model}/predict", status, 0.004)
    labels = {"endpoint": "/v1/models/{model}/predict", "service_name": "sightline", "http_response_code": "200"}
    value = metrics.registry.get_sample_value
    assert value("bentoml_service_request_total", labels) == 2
    assert value("bentoml_service_request_duration_seconds_count", labels) == 2
    assert value("bentoml_service_request_duration_seconds_bucket", labels | {"le": "0.005"}) == 2
    assert value("bentoml_service_request_total", labels | {"http_response_code": "404"}) == 1


@dataclass
class Version:
    """A served version whose gauges change."""

    card: Card
    engine: Any
    max_batch: int = 16
    waiting: int = 0


def test_gauges_are_read_when_somebody_asks(metrics: Metrics, card: Card, read: Read) -> None:
    requests = 0
    version = Version(card, SimpleNamespace(name="openvino", precision="int8", device="a processor"))
    metrics.in_progress, metrics.versions = lambda: requests, lambda: [version]
    running = {"engine": "openvino", "precision": "int8", "device": "a processor"}
    assert (read("sightline_queue_images"), read("sightline_max_batch_images")) == (0, 16)
    assert read("sightline_model_info", **running) == 1
    requests, version.waiting, version.max_batch = 7, 5, 4
    assert (read("sightline_queue_images"), read("sightline_max_batch_images")) == (5, 4)
    in_progress = metrics.registry.get_sample_value(
        "bentoml_service_request_in_progress", {"service_name": "sightline"}
    )
    assert in_progress == 7


def test_a_server_counts_for_itself(metrics: Metrics, card: Card) -> None:
    other = Metrics()
    other.of(card).ran([0], [0], 0, rows((1, 0, 0)))
    other.rejected("queue-full")
    assert f'model="{COLOUR}"' not in metrics.text().decode()
    assert "queue-full" not in metrics.text().decode()


def test_the_process_and_python_are_measured_too(metrics: Metrics) -> None:
    value = metrics.registry.get_sample_value
    assert (value("process_resident_memory_bytes") or 0) > 1_000_000
    assert (value("process_open_fds") or 0) > 2
    assert value("python_gc_collections_total", {"generation": "0"}) is not None
    version = ".".join(map(str, sys.version_info[:3]))
    assert f'version="{version}"' in metrics.text().decode()


def test_a_shadow_changes_familiarity_by_the_mean_of_what_both_versions_rated(
    metrics: Metrics, card: Card, read: Read
) -> None:
    shadow = metrics.shadow(card, 1)
    shadow.compared("red", True, 0.0, 0.01, None)
    assert read("sightline_shadow_familiarity_change", against="1") is None
    for change in (-0.5, 0.25):
        shadow.compared("red", True, 0.0, 0.01, change)
    assert read("sightline_shadow_familiarity_change", against="1") == -0.125
