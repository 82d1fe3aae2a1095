"""How many images a version answers in a second: the engine alone, without decoding and HTTP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from statistics import median

import numpy as np

from classifier import provenance
from classifier.card import Precision, Sha256
from classifier.engines import Answers, Engine, EngineOptions
from classifier.errors import BrokenModel
from classifier.loaded_model import LoadedModel
from classifier.store import ONNX, ModelStore
from training.evaluation.json_records import Part, read_record

SPEED = "serving-speed.json"
BATCH = 16  # as the server's largest


class VersionSpeed(Part):
    """One version: images per second in each round, as it would be served here."""

    model: str
    version: int
    recipe: str
    onnx_sha256: Sha256
    precision: Precision
    rounds: tuple[float, ...]

    @property
    def images_per_second(self) -> float:
        """The median round."""
        return median(self.rounds)


class SpeedRecord(Part):
    """`serving-speed.json`. The versions took turns, so that whatever else the machine did met all of them."""

    engine: str
    batch_size: int
    streams: int
    seconds_per_round: float
    versions: tuple[VersionSpeed, ...]
    machine: str
    commit: str
    finished: str


def measure(folders: Sequence[Path], rounds: int, seconds: float) -> SpeedRecord:
    """Time versions, given as the folders STORE/NAME/VERSION, in turns. Raises UnknownModel or BrokenModel."""

    models = [_open(folder) for folder in folders]
    try:
        rates = [[_rate(model.engine, model.card.input.shape, seconds) for model in models] for _ in range(rounds)]
        here = provenance.of_this_run()
        return SpeedRecord(
            engine=models[0].engine.name,
            batch_size=BATCH,
            streams=models[0].engine.streams,
            seconds_per_round=seconds,
            versions=tuple(_version(model, [row[i] for row in rates]) for i, model in enumerate(models)),
            machine=here.machine,
            commit=here.commit,
            finished=here.date,
        )
    finally:
        for model in models:
            model.close()


def read_speed(path: Path) -> SpeedRecord | None:
    """Read a `serving-speed.json`; None where there is no such file. Raises RecipeError."""
    return read_record(SpeedRecord, path, "speed")


def _open(folder: Path) -> LoadedModel:
    if not folder.name.isdecimal():
        raise BrokenModel(f"{folder}: expected the folder of a version, as models/cats-vs-dogs/1")
    store = ModelStore(folder.resolve().parents[1])
    return LoadedModel.open(
        store, folder.resolve().parent.name, int(folder.name), EngineOptions("openvino", warm_batch_sizes=(BATCH,))
    )


def _rate(engine: Engine, shape: tuple[int, int, int], seconds: float) -> float:
    """Images per second with one batch more queued than the engine has streams, so that no stream waits."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, *shape), np.uint8)
    waiting: list[Future[Answers]] = []
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        waiting.append(engine.submit(pixels))
        if len(waiting) > engine.streams:
            done += len(waiting.pop(0).result().probabilities)
    done += sum(len(future.result().probabilities) for future in waiting)
    return done / (time.perf_counter() - began)


def _version(model: LoadedModel, rates: Sequence[float]) -> VersionSpeed:
    card = model.card
    return VersionSpeed(
        model=card.name,
        version=card.version,
        recipe=card.recipe,
        onnx_sha256=card.files[ONNX].sha256,
        precision=model.engine.precision,
        rounds=tuple(round(rate, 1) for rate in rates),
    )
