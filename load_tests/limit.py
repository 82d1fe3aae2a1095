"""What one process does without HTTP: decoding, the networks, both together, and what bfloat16 gains.

Run:    python -m load_tests.limit [--parts both precisions] [--models asl …] [--seconds 1] [--rounds 1 2 3]
Takes:  three minutes for `both`, two for `precisions`, which needs a processor with native bfloat16.
Gives:  --out, the raw results. both: images per second by batch size, through the engine's queue with as many batches
        in flight as it has streams, decoded by two threads; the time of one image at a time, decoded and run.
        precisions: images per second of every version in each precision, in turns, and from its card the accuracy.
        int8: the same of the versions that have an int8 network, which needs a processor with VNNI or AMX.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from classifier.card import Card, Precision
from classifier.engines import Answers, Engine, EngineOptions, open_engine
from classifier.engines.openvino import supports_bfloat16
from classifier.images import Pixels, decode
from classifier.store import INT8, ModelStore
from load_tests import record, workload
from load_tests.record import Findings
from load_tests.workload import IMAGES, Pictures

BATCHES = (1, 4, 8, 16, 32)
DECODE_THREADS = 2
KEY = ("model", "image", "round")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
PRECISIONS_BATCH = 16
LIBRARIES = ("openvino", "pillow", "numpy")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if "precisions" in options.parts and not supports_bfloat16():
        sys.exit(
            "this processor has no native bfloat16 (AVX512-BF16 or AMX), so there is nothing to compare; "
            "leave that part out: --parts both"
        )
    results = record.read(options.out) or {"sessions": [], "runs": []}
    for part in options.parts:
        PARTS[part](options, results)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    possible = ["both", "precisions"] if supports_bfloat16() else ["both"]
    add("--parts", nargs="+", choices=PARTS, default=possible, help="default: all that this processor can")
    add("--models", nargs="+", choices=IMAGES, default=list(IMAGES))
    add("--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)")
    add("--rounds", nargs="+", type=int, default=[1, 2, 3], help="their numbers (default: 1 2 3)")
    add("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="auto: what our server chooses")
    add("--store", type=Path, default=record.ROOT / "models", help="the model store (default: models/)")
    add("--out", type=Path, default=record.LATEST / "limit.json", help="default: %(default)s")
    return parser


def both(options: argparse.Namespace, results: Findings) -> None:
    """Decoding and network of the versions in `workload.VERSIONS`; a run replaces the same one of before."""
    results["sessions"].append(record.circumstances(LIBRARIES) | {"seconds": options.seconds})
    with tempfile.TemporaryDirectory() as folder:
        store = workload.measured_store(options.store, Path(folder, "models"))
        for number, model in itertools.product(options.rounds, options.models):
            for pictures, run in _runs(workload.drawn(store, model, Path(folder)), store, options):
                key = {"model": model, "image": pictures.size, "round": number}
                others = [r for r in results["runs"] if any(r[part] != value for part, value in key.items())]
                results["runs"] = [*others, key | run | {"session": len(results["sessions"]) - 1}]
                record.write(options.out, results)
                print(key, run, flush=True)


def _runs(
    sizes: Sequence[Pictures], store: Path, options: argparse.Namespace
) -> Iterator[tuple[Pictures, dict[str, Any]]]:
    models, model = ModelStore(store), sizes[0].model
    card = models.card(model)
    with _engine(card, models.folder(model), options.precision, BATCHES) as engine:
        known = {"version": card.version, "precision": engine.precision, "streams": engine.streams}
        for pictures in sizes:
            bodies = [picture.body for picture in pictures.sample]
            yield (
                pictures,
                known
                | {
                    "decode_per_s": _decoded(card, bodies, options.seconds),
                    "infer_per_s": {size: _inferred(engine, card, bodies, size, options.seconds) for size in BATCHES},
                    "both_per_s": {size: _both(engine, card, bodies, size, options.seconds) for size in BATCHES},
                    "latency_ms": _one_at_a_time(engine, card, bodies, options.seconds),
                },
            )


def _decoded(card: Card, bodies: Sequence[bytes], seconds: float) -> float:
    return _per_s(lambda bodies: [decode(next(bodies), card.input) for _ in range(8)], bodies, seconds, 8)


def _inferred(engine: Engine, card: Card, bodies: Sequence[bytes], size: int, seconds: float) -> float:
    decoded = [decode(body, card.input) for body in bodies]
    return _images_per_s(engine, np.stack(list(itertools.islice(itertools.cycle(decoded), size))), seconds)


def _images_per_s(engine: Engine, batch: Pixels, seconds: float) -> float:
    """Images per second when a batch is run again and again, as many at once as the engine has streams."""
    running: list[Future[Answers]] = []
    until, began = time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < until:
        running.append(engine.submit(batch))  # waits for a free stream
    for future in running:
        future.result()
    return round(len(running) * len(batch) / (time.monotonic() - began), 1)


def _both(engine: Engine, card: Card, bodies: Sequence[bytes], size: int, seconds: float) -> float:
    running: list[Future[Answers]] = []

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


def precisions(options: argparse.Namespace, results: Findings) -> None:
    """Every version of the models in each precision: the network alone, taking turns."""
    results["precisions"] = _in_turns(_cards(options), PRECISIONS, options)
    record.write(options.out, results)


def int8(options: argparse.Namespace, results: Findings) -> None:
    """Every version of the models that has an int8 network, in float32 and in int8."""
    results["int8"] = _in_turns([card for card in _cards(options) if INT8 in card.files], ("float32", "int8"), options)
    record.write(options.out, results)


def _cards(options: argparse.Namespace) -> list[Card]:
    store = ModelStore(options.store)
    known = store.versions()
    return [store.card(name, version) for name in options.models if name in known for version in known[name]]


def _in_turns(cards: Sequence[Card], compared: Sequence[Precision], options: argparse.Namespace) -> dict[str, Any]:
    store, versions = ModelStore(options.store), []
    for card in cards:
        versions.append(_compared(card, store.folder(card.name, card.version), compared, options))
        print(versions[-1], flush=True)
    how = {"batch": PRECISIONS_BATCH, "seconds": options.seconds, "versions": versions}
    return record.circumstances(LIBRARIES) | how


def _compared(card: Card, folder: Path, compared: Sequence[Precision], options: argparse.Namespace) -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (PRECISIONS_BATCH, *card.input.shape), np.uint8)
    per_s: dict[str, list[float]] = {precision: [] for precision in compared}
    with contextlib.ExitStack() as opened:
        batch = (PRECISIONS_BATCH,)
        engines = {one: opened.enter_context(_engine(card, folder, one, batch)) for one in compared}
        for _ in options.rounds:
            for precision, engine in engines.items():
                per_s[precision].append(_images_per_s(engine, pixels, options.seconds))
    checks = {precision: card.check_of("openvino", precision) for precision in compared}
    accuracy = {precision: check.accuracy for precision, check in checks.items() if check}
    return {"model": card.name, "version": card.version, "per_s": per_s, "accuracy": accuracy}


def _engine(
    card: Card, folder: Path, precision: Precision | Literal["auto"], batches: tuple[int, ...]
) -> contextlib.closing[Engine]:
    how = EngineOptions(engine="openvino", precision=precision, warm_batch_sizes=batches)
    return contextlib.closing(open_engine(card, folder, how))


PARTS: dict[str, Callable[[argparse.Namespace, Findings], None]] = {
    "both": both,
    "precisions": precisions,
    "int8": int8,
}


if __name__ == "__main__":
    sys.exit(main())
