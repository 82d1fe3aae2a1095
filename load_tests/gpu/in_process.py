"""One library in this process: how far its answers are from the kept ones, images/s by batch, and a lack of memory.

Run:    python -m load_tests.gpu.in_process jax|torch --reference FILE --until SECONDS [--batches 1 64] [--images 1000]
Gives:  a line of JSON. What there was no time for is named in `left_out`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import numpy as np

from classifier.card import Card
from classifier.engines import Answers, Engine, EngineOptions
from classifier.errors import OutOfMemory
from classifier.images import Pixels
from classifier.store import ModelStore
from load_tests.gpu import reference
from load_tests.record import ROOT, Findings

AT_ONCE = 64  # images of a batch, for the comparison of answers
OOM_SHARE = "0.02"  # of a GPU's memory for the process that is to run out of it
OOM_BATCH = 8_192


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.environ["KERAS_BACKEND"] = options.library
    if options.part == "memory":
        os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "true", "XLA_PYTHON_CLIENT_MEM_FRACTION": OOM_SHARE}
    models = ModelStore(ROOT / "models")
    print(json.dumps(PARTS[options.part](models, options)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("library", choices=("jax", "torch"))
    add("part", choices=PARTS)
    add("--reference", type=Path, required=True)
    add("--until", type=float, required=True, help="of the monotonic clock")
    add("--batches", nargs="+", type=int, default=[1, 16, 64, 256, 1024])
    add("--images", type=int, default=reference.IMAGES, help="for the comparison of answers")
    add("--seconds", type=float, default=1.5, help="of each measurement of speed")
    add("--models", nargs="+", default=["cats-vs-dogs@3", "cats-vs-dogs@1", "asl@1"], help="whose speed is measured")
    return parser


def opened(
    library: str, card: Card, folder: Path, precision: Literal["float32", "bfloat16"], streams: int = 0
) -> Engine:
    options = EngineOptions(precision=precision, streams=streams, warm_batch_sizes=())
    if library == "jax":
        from classifier.engines.jax import JaxEngine

        return JaxEngine(card, folder, options)
    from load_tests.gpu.torch_engine import TorchEngine

    return TorchEngine(card, folder, options)  # type: ignore[return-value]  # by its name


def agreement(models: ModelStore, options: argparse.Namespace) -> Findings:
    """Of every version in both precisions with the kept answers, which are OpenVINO's in float32 on a CPU."""
    found: dict[str, Any] = {"n": options.images, "left_out": []}
    with np.load(options.reference) as kept:
        for name, versions in models.versions().items():
            for version in versions:
                which = reference.key(name, version)
                if time.monotonic() > options.until:
                    found["left_out"].append(which)
                    continue
                card, folder = models.card(name, version), models.folder(name, version)
                pixels = reference.pixels(card, options.images)
                same = options.images < 100 or reference.fingerprint(pixels) == str(kept[f"{which} pixels"])
                expected = kept[which][: len(pixels)]
                found[which] = {"same_pixels": same} | {
                    precision: _agreement(opened(options.library, card, folder, precision), pixels, expected)
                    for precision in ("float32", "bfloat16")
                }
    return found


def _agreement(engine: Engine, pixels: Pixels, expected: Any) -> dict[str, float]:
    batches = [pixels[first : first + AT_ONCE] for first in range(0, len(pixels), AT_ONCE)]
    rows = np.concatenate([engine.infer(batch) for batch in batches])
    engine.close()
    return {
        "largest_difference": float(np.abs(rows - expected).max()),
        "same_top_class": float((rows.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    }


def speed(models: ModelStore, options: argparse.Namespace) -> Findings:
    """Images/s from NumPy pixels to NumPy answers by version, precision and batch, as many in flight as it takes."""
    found: dict[str, Any] = {"left_out": []}
    for which in options.models:
        name, version = which.split("@")
        card, folder = models.card(name, int(version)), models.folder(name, int(version))
        for precision in ("float32", "bfloat16"):
            engine = opened(options.library, card, folder, precision)
            found["device"] = engine.device
            for size in options.batches:
                run = f"{which} {precision} {size}"
                if time.monotonic() > options.until:
                    found["left_out"].append(run)
                    continue
                try:
                    found[run] = _images_per_s(engine, reference.pixels(card, size), options.seconds)
                except Exception as error:  # another library's compiler may not like a network
                    found[run] = f"{type(error).__name__}: {str(error)[:200]}"
            engine.close()
    return found


def _images_per_s(engine: Engine, batch: Pixels, seconds: float) -> dict[str, float]:
    began = time.monotonic()
    engine.infer(batch)
    first_s = time.monotonic() - began
    running: deque[Future[Answers]] = deque()
    images, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        running.append(engine.submit(batch))
        if len(running) > engine.max_in_flight:
            running.popleft().result()
            images += len(batch)
    while running:
        running.popleft().result()
        images += len(batch)
    return {"per_s": round(images / (time.monotonic() - began), 1), "first_s": round(first_s, 2)}


def memory(models: ModelStore, options: argparse.Namespace) -> Findings:
    """Run out of memory by a batch that is too large, on a GPU, and answer the next one."""
    card, folder = models.card("cats-vs-dogs", 1), models.folder("cats-vs-dogs", 1)
    engine = opened("jax", card, folder, "float32")
    if engine.device == "CPU":
        return {"provoked": False, "why": "a CPU's memory is everybody's"}
    small = reference.pixels(card, 4)
    before, ran_out = engine.infer(small), True
    with contextlib.suppress(OutOfMemory):
        engine.infer(np.zeros((OOM_BATCH, *card.input.shape), np.uint8))
        ran_out = False
    survived = bool(np.allclose(engine.infer(small), before, atol=1e-6))
    engine.close()
    return {"provoked": ran_out, "batch": OOM_BATCH, "survived": survived}


PARTS = {"agreement": agreement, "speed": speed, "memory": memory}


if __name__ == "__main__":
    sys.exit(main())
