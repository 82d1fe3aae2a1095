"""What a version costs to serve: the time of an image, and memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from classifier import provenance
from classifier.engines import Engine, default_engine
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from training.datasets.dataset import Split

TURNS = 100
MOST_SECONDS = 5.0  # for all turns of all versions together; at least three turns are taken
_LEAST_TURNS = 3


def p50_ms(engines: Sequence[Engine], splits: Sequence[Split]) -> list[float]:
    """The median time of one image alone in each engine, in milliseconds.

    The engines take turns, so that whatever else the machine does meets all of them.
    """
    times: list[list[float]] = [[] for _ in engines]
    began = time.perf_counter()
    for turn in range(TURNS):
        if turn >= _LEAST_TURNS and time.perf_counter() - began > MOST_SECONDS:
            break
        for engine, split, taken in zip(engines, splits, times, strict=True):
            image = split.pixels[turn % len(split)][None]
            started = time.perf_counter()
            engine.infer(image)
            taken.append(1000 * (time.perf_counter() - started))
    return [median(each) for each in times]


def memory_bytes(models: ModelStore, name: str, version: int) -> int | None:
    """What a process of its own grows by when it loads the version as served and answers its sample.

    None where the system has no /proc.
    """
    if not Path("/proc/self/statm").exists():
        return None
    command = [sys.executable, "-m", __name__, str(models.root.resolve()), name, str(version)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=provenance.ROOT)  # noqa: S603
    return int(done.stdout.split()[-1])


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _growth(models: ModelStore, name: str, version: int) -> int:
    if default_engine() == "openvino":
        from classifier.engines.openvino import supports_bfloat16

        supports_bfloat16()  # OpenVINO loads its plugin, which is no version's own
    before = _resident_bytes()
    loaded = LoadedModel.open(models, name, version)
    grown = _resident_bytes() - before
    loaded.close()
    return grown


if __name__ == "__main__":
    root, model, number = sys.argv[1:]
    sys.stdout.write(f"{_growth(ModelStore(Path(root)), model, int(number))}\n")
