"""One version on one library in this process: how far its answers are from the kept ones, and images/s by batch.

Run:    python -m load_tests.gpu.in_process jax|torch NAME@VERSION float32|bfloat16 --reference FILE --out FILE
        python -m load_tests.gpu.in_process memory --out FILE        whether it survives a lack of memory
Gives:  --out, rewritten after each step, so that whoever is killed loses the step under way. Each size is compiled
        first; then it writes `ready`, and measures the speed once the file `--begin` is there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

import numpy as np

from classifier.card import Card
from classifier.engines import Answers, Engine, EngineOptions
from classifier.errors import OutOfMemory
from classifier.images import Pixels
from classifier.store import ModelStore
from load_tests import record
from load_tests.gpu import reference
from load_tests.record import ROOT, Findings

AT_ONCE = 64  # images of a batch, for the comparison of answers
OOM_MODEL = ("cats-vs-dogs", 1)
OOM_SHARE = "0.01"  # of a GPU's memory for the process that is to run out of it
OOM_BATCH = 4_096


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    models, found = ModelStore(ROOT / "models"), Kept(options.out)
    if options.library == "memory":
        found.keep("memory", lambda: memory(models))
        return 0
    os.environ["KERAS_BACKEND"] = options.library
    with found.kept("failed"):
        version(models, options, found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("library", choices=("jax", "torch", "memory"))
    add("version", nargs="?", default="", help="NAME@VERSION")
    add("precision", nargs="?", default="float32", choices=("float32", "bfloat16"))
    add("--out", type=Path, required=True)
    add("--reference", type=Path)
    add("--images", type=int, default=reference.IMAGES, help="for the comparison of answers")
    add("--batches", nargs="*", type=int, default=[], help="whose speed is measured")
    add("--also", nargs="*", type=int, default=[], help="sizes to compile only, before those")
    add("--seconds", type=float, default=0.7, help="of each measurement of speed")
    add("--begin", type=Path, help="a file to wait for before the speed is measured")
    add("--until", type=float, default=float("inf"), help="of the monotonic clock; no size is compiled after it")
    return parser


class Kept:
    """Findings in a file, which is rewritten with each; an error is a finding too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: Findings = {}

    def keep(self, name: str, found: Callable[[], Any]) -> None:
        with self.kept(name):
            self.add(name, found())

    def add(self, name: str, value: Any) -> None:
        self.found[name] = value
        record.write(self.path, self.found)

    @contextlib.contextmanager
    def kept(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.add(name, f"{type(error).__name__}: {str(error)[:500]}")


def version(models: ModelStore, options: argparse.Namespace, found: Kept) -> None:
    """Compare answers, compile all sizes, wait, and measure the speed."""
    name, number = options.version.split("@")
    card, folder = models.card(name, int(number)), models.folder(name, int(number))
    began = time.monotonic()
    engine = opened(options.library, card, folder, options.precision)
    found.add("device", engine.device)
    found.add("load_s", round(time.monotonic() - began, 2))
    pixels = reference.pixels(card, max(options.images, *options.batches, *options.also, 1))
    if options.images:
        found.keep("agreement", lambda: agreement(engine, pixels[: options.images], options, found))
    sizes = (*options.also, *options.batches)
    compiled = [size for size in sizes if _is_compiled(engine, pixels[:size], options, found)]
    found.add("ready", True)
    if options.begin:
        _wait_for(options.begin)
    for size in options.batches:
        if size in compiled:
            found.keep(f"{size} per_s", lambda: images_per_s(engine, pixels[:size], options.seconds))  # noqa: B023
    engine.close()


def opened(
    library: str, card: Card, folder: Path, precision: Literal["float32", "bfloat16"], streams: int = 0
) -> Engine:
    options = EngineOptions(precision=precision, streams=streams, warm_batch_sizes=())
    if library == "jax":
        from classifier.engines.jax import JaxEngine

        return JaxEngine(card, folder, options)
    from load_tests.gpu.torch_engine import TorchEngine

    return TorchEngine(card, folder, options)  # type: ignore[return-value]  # by its name


def agreement(engine: Engine, pixels: Pixels, options: argparse.Namespace, found: Kept) -> Findings:
    """With the kept answers, which are OpenVINO's in float32 on a CPU."""
    with np.load(options.reference) as kept:
        expected = kept[options.version][: len(pixels)]
        same = len(pixels) < 100 or reference.fingerprint(pixels) == str(kept[f"{options.version} pixels"])
    batches = [pixels[first : first + AT_ONCE] for first in range(0, len(pixels), AT_ONCE)]
    found.add("first_s", first_s(engine, batches[0], found))
    rows = np.concatenate([engine.infer(batch) for batch in batches])
    return {
        "n": len(pixels),
        "same_pixels": same,
        "largest_difference": float(np.abs(rows - expected).max()),
        "same_top_class": float((rows.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    }


def _is_compiled(engine: Engine, batch: Pixels, options: argparse.Namespace, found: Kept) -> bool:
    """Whether there was time to compile the network for batches of this size, and it runs."""
    name = f"{len(batch)} first_s"
    if time.monotonic() > options.until or (options.begin and options.begin.exists()):
        found.add(name, "no time was left")
        return False
    found.keep(name, lambda: first_s(engine, batch, found))
    return isinstance(found.found[name], float)


def first_s(engine: Engine, batch: Pixels, found: Kept) -> float:
    """Seconds of the first batch of a size. An engine whose library cannot compile the network goes on without that."""
    began = time.monotonic()
    try:
        engine.infer(batch)
    except Exception as error:
        if isinstance(error, OutOfMemory) or not hasattr(engine, "stop_compiling"):
            raise
        found.add(f"{len(batch)} not_compiled", f"{type(error).__name__}: {str(error)[:500]}")
        engine.stop_compiling()
        engine.infer(batch)
    return round(time.monotonic() - began, 2)


def _wait_for(path: Path) -> None:
    """Ends this process where the one that would write the file is gone."""
    parent = os.getppid()
    while not path.exists():
        time.sleep(0.05)
        if os.getppid() != parent:
            raise SystemExit("nobody is there any more who would begin")


def images_per_s(engine: Engine, batch: Pixels, seconds: float) -> float:
    """From NumPy pixels to NumPy answers, with as many batches in flight as the engine takes."""
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
    return round(images / (time.monotonic() - began), 1)


def memory(models: ModelStore) -> Findings:
    """Run out of memory by a batch that is too large, on a GPU, and answer the next one.

    It keeps no compiled programs, and XLA tries no ways of a step, many of which would fail for lack of memory.
    """
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0"  # the last one counts
    os.environ |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "true", "XLA_PYTHON_CLIENT_MEM_FRACTION": OOM_SHARE}
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    card, folder = models.card(*OOM_MODEL), models.folder(*OOM_MODEL)
    engine = opened("jax", card, folder, "float32")
    if engine.device == "CPU":
        return {"provoked": False, "why": "a CPU's memory is everybody's"}
    small, error = reference.pixels(card, 4), ""
    before = engine.infer(small)
    try:
        engine.infer(np.zeros((OOM_BATCH, *card.input.shape), np.uint8))
    except Exception as raised:  # OutOfMemory, if all is well
        error = f"{type(raised).__name__}: {str(raised)[:500]}"
    survived = bool(np.allclose(engine.infer(small), before, atol=1e-6))
    engine.close()
    return {"provoked": error.startswith("OutOfMemory"), "error": error, "batch": OOM_BATCH, "survived": survived}


if __name__ == "__main__":
    sys.exit(main())
