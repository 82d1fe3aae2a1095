"""Holds a version to its card: every file's hash, every engine's answer to the sample picture."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass

from classifier.engines import EngineName, EngineOptions
from classifier.errors import SightlineError
from classifier.loaded_model import LoadedModel
from classifier.store import INT8, KERAS, ModelStore


@dataclass(frozen=True)
class Verdict:
    """What became of one version. `engines` gave the answer that the card promises; `fault` is None when all did."""

    name: str
    version: int
    engines: tuple[EngineName, ...]
    fault: str | None


def installed_engines() -> tuple[EngineName, ...]:
    """OpenVINO, and what reads `model.keras`: TensorFlow or JAX, since Keras has one backend in a process.

    Where both are installed that is the one that KERAS_BACKEND names, else TensorFlow. None is imported.
    """
    backends: list[EngineName] = ["tensorflow", "jax"]
    backends.sort(key=lambda name: name != os.environ.get("KERAS_BACKEND"))
    names: tuple[EngineName, ...] = ("openvino", *backends)
    return tuple(name for name in names if importlib.util.find_spec(name))[:2]


def verify(models: ModelStore, name: str, version: int, engines: tuple[EngineName, ...]) -> Verdict:
    """Compare the files with the card, then load them in each engine and compare the sample's answer, in float32.

    An int8 network is asked too, where the processor is made for it. Without TensorFlow or JAX among the engines
    `model.keras`, which they alone read, may be missing.
    """
    proved: list[EngineName] = []
    try:
        card = models.verify(name, version, may_lack=(KERAS,) if engines == ("openvino",) else ())
        for engine in engines:
            LoadedModel.open(models, name, version, EngineOptions(engine=engine, precision="float32")).close()
            if engine == "openvino" and INT8 in card.files and _runs_int8():
                LoadedModel.open(models, name, version, EngineOptions(engine=engine, precision="int8")).close()
            proved.append(engine)
    except SightlineError as error:
        return Verdict(name, version, tuple(proved), str(error))
    return Verdict(name, version, tuple(proved), None)


def _runs_int8() -> bool:
    from classifier.engines.openvino import supports_int8  # here: it imports OpenVINO

    return supports_int8()
