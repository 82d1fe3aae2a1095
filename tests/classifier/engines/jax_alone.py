"""Promises of `classifier.engines.jax` alone, where Keras runs on JAX: `test_jax.py` has them run in such a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from classifier.engines import EngineOptions, open_engine
from classifier.errors import OutOfMemory
from tests.tiny_models import COLOUR, passed_check

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)


def options(**changes: object) -> EngineOptions:
    return EngineOptions(**({"engine": "jax", "precision": "float32"} | changes))


@pytest.mark.parametrize(
    ("capability", "checked", "precision"),
    [("9.0", True, "bfloat16"), ("8.0", True, "bfloat16"), ("7.5", True, "float32"), ("9.0", False, "float32")],
)
def test_auto_takes_bfloat16_on_a_gpu_that_has_it_where_a_comparison_allows_it(
    models, monkeypatch, capability, checked, precision
):
    gpu = SimpleNamespace(platform="gpu", device_kind="NVIDIA H100", compute_capability=capability)
    monkeypatch.setattr(jax, "devices", lambda: [gpu])
    monkeypatch.setattr(jax, "device_put", lambda weights, device: weights)
    checks = (passed_check("jax", "bfloat16"),) if checked else ()
    card = models.card(COLOUR).model_copy(update={"checks": checks})
    engine = open_engine(card, models.folder(COLOUR), options(precision="auto"))
    engine.close()
    assert (engine.precision, engine.device, engine.streams) == (precision, "NVIDIA H100", 2)


def test_auto_stays_in_float32_on_a_cpu(models):
    card = models.card(COLOUR).model_copy(update={"checks": (passed_check("jax", "bfloat16"),)})
    engine = open_engine(card, models.folder(COLOUR), options(precision="auto"))
    engine.close()
    assert (engine.precision, engine.device, engine.streams) == ("float32", "CPU", 1)


def test_the_network_is_compiled_once_for_each_power_of_two(models, monkeypatch):
    compiled, jit = [], jax.jit
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options(warm_batch_sizes=(1, 2, 4)))
    monkeypatch.setattr(jax, "jit", lambda function: compiled.append(function) or jit(function))
    for size in (1, 2, 3, 4):
        engine.infer(PIXELS[:size])
    assert compiled == []  # when it was loaded
    for size in (5, 8, 7):
        engine.infer(PIXELS[:size])
    assert len(compiled) == 1
    engine.close()


def failing(error: Exception) -> Any:
    def fail(_: object) -> None:
        raise error

    return fail


def test_a_batch_that_memory_is_short_for_is_said_to_be(models, monkeypatch):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    with monkeypatch.context() as short:
        error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        short.setattr(jax, "device_get", failing(error))
        with pytest.raises(OutOfMemory, match="a batch of 64"):
            engine.infer(PIXELS)
    assert engine.infer(PIXELS[:2]).shape == (2, 3)
    engine.close()


def test_other_failures_of_a_batch_are_no_lack_of_memory(models, monkeypatch):
    engine = open_engine(models.card(COLOUR), models.folder(COLOUR), options())
    monkeypatch.setattr(jax, "device_get", failing(jax.errors.JaxRuntimeError("INTERNAL: the device is lost")))
    with pytest.raises(jax.errors.JaxRuntimeError, match="device is lost"):
        engine.infer(PIXELS)
    engine.close()
