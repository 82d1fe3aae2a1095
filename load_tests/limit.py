"""What this machine can do without HTTP: decoding, the network, and both, in one process.

Run:    python -m load_tests.limit [--models asl …] [--seconds 1] [--rounds 3]
Takes:  about two and a half minutes in full.
Gives:  --out, the raw results: images per second by batch size, through the engine's queue with as many batches under
        way as it has streams, decoded by two threads; and the time of one image at a time, decoded and run.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from classifier.card import Card
from classifier.engines import Engine, EngineOptions, Probabilities, open_engine
from classifier.images import Pixels, decode
from classifier.store import ModelStore
from load_tests import pictures, record
from load_tests.peers import IMAGES

BATCHES = (1, 4, 8, 16, 32)
DECODE_THREADS = 2
SAMPLE = 40
KEY = ("model", "image", "round")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    results = record.read(options.out) or {"sessions": [], "runs": []}
    here = record.circumstances(("openvino", "pillow", "numpy"))
    results["sessions"].append(here | {"seconds": options.seconds})
    for number, model in itertools.product(options.rounds, options.models):
        for run in _runs(model, options):
            key = {"model": model, "image": run["image"], "round": number}
            others = [r for r in results["runs"] if any(r[part] != value for part, value in key.items())]
            results["runs"] = [*others, key | run | {"session": len(results["sessions"]) - 1}]
            record.write(options.out, results)
            print(key, run, flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=IMAGES, default=list(IMAGES))
    add("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    add("--rounds", nargs="+", type=int, default=[1, 2, 3], help="their numbers (default: 1 2 3)")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="auto: what our server chooses")
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.RESULTS / "latest" / "limit.json", help="default: %(default)s")
    return parser


def _runs(model: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    store = ModelStore(options.store)
    card = store.card(model)
    how = EngineOptions(engine="openvino", precision=options.precision, warm_batch_sizes=BATCHES)
    engine = open_engine(card, store.folder(model), how)
    try:
        for width, height in IMAGES[model]:
            bodies = _bodies((width, height), grey=card.input.channels == 1)
            known = {"version": card.version, "precision": engine.precision, "streams": engine.streams}
            yield (
                {"image": f"{width}x{height}"}
                | known
                | {
                    "decode_per_s": _decoded(card, bodies, options.seconds),
                    "infer_per_s": {size: _inferred(engine, card, bodies, size, options.seconds) for size in BATCHES},
                    "both_per_s": {size: _both(engine, card, bodies, size, options.seconds) for size in BATCHES},
                    "latency_ms": _one_at_a_time(engine, card, bodies, options.seconds),
                }
            )
    finally:
        engine.close()


def _bodies(size: tuple[int, int], *, grey: bool) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return [picture.body for picture in pictures.jpegs(Path(folder), size, SAMPLE, grey=grey)]


def _decoded(card: Card, bodies: Sequence[bytes], seconds: float) -> float:
    return _per_s(lambda bodies: [decode(next(bodies), card.input) for _ in range(8)], bodies, seconds, 8)


def _inferred(engine: Engine, card: Card, bodies: Sequence[bytes], size: int, seconds: float) -> float:
    decoded = [decode(body, card.input) for body in bodies]
    return inferred(engine, np.stack(list(itertools.islice(itertools.cycle(decoded), size))), seconds)


def inferred(engine: Engine, batch: Pixels, seconds: float) -> float:
    """Images per second when a batch is run again and again, as many at once as the engine has places."""
    running: list[Future[Probabilities]] = []
    until, began = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < until:
        running.append(engine.submit(batch))  # waits for a place among the streams
    for future in running:
        future.result()
    return round(len(running) * len(batch) / (time.monotonic() - began), 1)


def _both(engine: Engine, card: Card, bodies: Sequence[bytes], size: int, seconds: float) -> float:
    running: list[Future[Probabilities]] = []

    def step(turn: Iterator[bytes]) -> None:
        batch: list[Pixels] = [decode(next(turn), card.input) for _ in range(size)]
        running.append(engine.submit(np.stack(batch)))

    return _per_s(step, bodies, seconds, size, lambda: [future.result() for future in running])


def _per_s(
    step: Callable[[Iterator[bytes]], Any],
    bodies: Sequence[bytes],
    seconds: float,
    images: int,
    finish: Callable[[], Any] = lambda: None,
) -> float:
    """Images per second when two threads repeat a step of so many images, until the last is finished."""
    until, began = time.monotonic() + seconds, time.monotonic()

    def repeat(start: int) -> int:
        turn = itertools.cycle([*bodies[start:], *bodies[:start]])
        steps = 0
        while time.monotonic() < until:
            step(turn)
            steps += 1
        return steps

    with ThreadPoolExecutor(DECODE_THREADS) as threads:
        steps = sum(threads.map(repeat, range(DECODE_THREADS)))
    finish()
    return round(steps * images / (time.monotonic() - began), 1)


def _one_at_a_time(engine: Engine, card: Card, bodies: Sequence[bytes], seconds: float) -> dict[str, float]:
    took_ms: list[float] = []
    turn = itertools.cycle(bodies)
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(took_ms) < 2:
        began = time.perf_counter()
        engine.infer(decode(next(turn), card.input)[np.newaxis])
        took_ms.append(1000 * (time.perf_counter() - began))
    cuts = statistics.quantiles(took_ms, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p99": round(cuts[98], 3)}


if __name__ == "__main__":
    sys.exit(main())
