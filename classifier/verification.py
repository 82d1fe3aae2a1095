"""Holds a version to its card: every file's hash, every engine's answer to the sample picture."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from classifier.engines import EngineOptions
from classifier.errors import SightlineError
from classifier.loaded_model import LoadedModel
from classifier.store import KERAS, ModelStore

EngineName = Literal["openvino", "tensorflow"]


@dataclass(frozen=True)
class Verdict:
    """What became of one version. `engines` gave the answer that the card promises; `fault` is None when all did."""

    name: str
    version: int
    engines: tuple[EngineName, ...]
    fault: str | None


def installed_engines() -> tuple[EngineName, ...]:
    """The engines whose library is installed, found without importing it."""
    names: tuple[EngineName, ...] = ("openvino", "tensorflow")
    return tuple(name for name in names if importlib.util.find_spec(name))


def verify(models: ModelStore, name: str, version: int, engines: tuple[EngineName, ...]) -> Verdict:
    """Compare the files with the card, then load them in each engine and compare the sample's answer, in float32.

    Without TensorFlow among the engines `model.keras`, which it alone reads, may be missing.
    """
    proved: list[EngineName] = []
    try:
        models.verify(name, version, may_lack=() if "tensorflow" in engines else (KERAS,))
        for engine in engines:
            LoadedModel.open(models, name, version, EngineOptions(engine=engine, precision="float32")).close()
            proved.append(engine)
    except SightlineError as error:
        return Verdict(name, version, tuple(proved), str(error))
    return Verdict(name, version, tuple(proved), None)
