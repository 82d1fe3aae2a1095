"""Every version in processes of its own: all compile at once, then one after another is measured alone."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from classifier.engines import batch_sizes
from classifier.store import ModelStore
from load_tests import record
from load_tests.gpu import reference
from load_tests.record import Findings

PRECISIONS = ("bfloat16", "float32")
MEASURED = ("cats-vs-dogs@3", "cifar-10@7", "asl@1")
MEASURED_ON_TORCH = ("cats-vs-dogs@3", "asl@1")
TORCH_BATCHES, TORCH_IMAGES = (64, 1024, 1), 960  # whole batches only: PyTorch compiles each size for itself
MOST_SERVED = 64  # images of a batch, where the servers measure how many pay


class Part(subprocess.Popen[bytes]):
    """A process of `in_process`, first of a group of its own, with its findings and its log in a folder.

    `keys` lead to its findings in the report, as in `("jax", "asl@1", "float32")`.
    """

    def __init__(self, keys: Sequence[str], words: Sequence[str], folder: Path) -> None:
        self.keys = keys
        self._out, self._begin, self._log = (folder / f"{'-'.join(keys)}.{kind}" for kind in ("json", "begin", "log"))
        self.is_measured = "--batches" in words
        begin = ["--begin", str(self._begin)] if self.is_measured else []
        command = [sys.executable, "-m", "load_tests.gpu.in_process", *words, "--out", str(self._out), *begin]
        with self._log.open("wb") as log:
            super().__init__(command, stdout=log, stderr=log, start_new_session=True)

    def found(self) -> Findings:
        """What it has found so far; the end of its log where it has failed."""
        found: Findings = record.read(self._out) or {}
        if (status := self.poll()) is not None and (status or not found):
            found |= {"exit_status": status, "log": self._log.read_text(errors="replace")[-1500:]}
        return found

    def is_ready(self) -> bool:
        return self.poll() is not None or "ready" in self.found()

    def measure(self, until: float) -> None:
        """Let it measure the speed, alone, and wait for that until a moment of the monotonic clock."""
        self._begin.touch()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(max(0.0, until - time.monotonic()))
        self.end()

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to it and what it has started, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def end(self) -> None:
        self.signal_all(signal.SIGKILL)
        self.wait()


def started(options: argparse.Namespace, until: float, torch_until: float, folder: Path) -> list[Part]:
    """A process for each version and precision on JAX, some on PyTorch too, and one that runs out of memory.

    What the servers will ask for is compiled in processes of its own. From those moments on no size is compiled.
    """
    every = [reference.key(*one) for one in _versions(record.ROOT / "models")]
    common = ["--reference", str(options.reference), "--seconds", str(options.speed_seconds)]
    on_jax, on_torch = (["--until", str(moment)] for moment in (until, torch_until))
    parts = [Part(("memory",), ["memory"], folder)]
    for which, precision in itertools.product(options.versions or every, PRECISIONS):
        about = [which, precision, *common]
        parts.append(Part(("jax", which, precision), ["jax", *about, *on_jax, *_jax_words(which, options)], folder))
        if which in options.served and precision == options.precision:
            words = ["jax", *about, *on_jax, "--images", "0", "--also", *_served_batches(options)]
            parts.append(Part(("for servers", which), words, folder))
        if options.torch and which in MEASURED_ON_TORCH:
            words = ["torch", *about, *on_torch, *_torch_words(options)]
            parts.append(Part(("torch", which, precision), words, folder))
    return parts


def _versions(models: Path) -> list[tuple[str, int]]:
    return [(name, version) for name, several in ModelStore(models).versions().items() for version in several]


def _jax_words(which: str, options: argparse.Namespace) -> list[str]:
    words = ["--images", str(options.images)]
    return [*words, "--batches", *map(str, options.batches)] if which in MEASURED else words


def _served_batches(options: argparse.Namespace) -> list[str]:
    """Those that are not measured too."""
    return [str(size) for size in batch_sizes(options.max_batch or MOST_SERVED) if size not in options.batches]


def _torch_words(options: argparse.Namespace) -> list[str]:
    batches = [size for size in TORCH_BATCHES if size <= max(options.batches)]
    return ["--images", str(min(options.images, TORCH_IMAGES)), "--batches", *map(str, batches)]


def wait_until_ready(parts: Sequence[Part], until: float) -> None:
    """Until all are ready or that moment has come; from then on only those run that are to be measured."""
    while time.monotonic() < until and not all(part.is_ready() for part in parts):
        time.sleep(0.2)
    for part in parts:
        if not part.is_measured:
            part.end()


@contextlib.contextmanager
def paused(parts: Sequence[Part]) -> Iterator[None]:
    """Those that still compile are stopped meanwhile; a size under way seems to take as much longer."""
    compiling = [part for part in parts if not part.is_ready()]
    for part in compiling:
        part.signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        for part in compiling:
            part.signal_all(signal.SIGCONT)


def measure(parts: Sequence[Part], until: float) -> None:
    """The speed of one after another. Whichever is not ready comes last."""
    for part in sorted((part for part in parts if part.is_measured), key=lambda part: not part.is_ready()):
        part.measure(until)


def report(parts: Sequence[Part]) -> dict[str, Any]:
    """By library, version and precision."""
    found: dict[str, Any] = {}
    for part in parts:
        inner = found
        for word in part.keys[:-1]:
            inner = inner.setdefault(word, {})
        inner[part.keys[-1]] = part.found()
    return found
