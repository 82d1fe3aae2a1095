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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classifier.engines import batch_sizes
from classifier.store import ModelStore
from load_tests import record
from load_tests.gpu import reference
from load_tests.record import Findings

PRECISIONS = ("bfloat16", "float32")
MEASURED = ("cats-vs-dogs@3", "cifar-10@3", "asl@1")
MEASURED_ON_TORCH = ("cats-vs-dogs@3", "asl@1")
TORCH_BATCHES, TORCH_IMAGES = (64, 1024, 1), 960  # whole batches only: PyTorch compiles each size for itself
SERVED_BATCHES = batch_sizes(64)


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


def started(options: argparse.Namespace, until: float, folder: Path) -> list[Part]:
    """A process for each version and precision on JAX, some on PyTorch too, and one that runs out of memory.

    What the servers will ask for is compiled in processes of its own.
    """
    every = [reference.key(*one) for one in _versions(record.ROOT / "models")]
    common = ["--reference", str(options.reference), "--until", str(until), "--seconds", str(options.speed_seconds)]
    parts = [Part(("memory",), ["memory"], folder)]
    for which, precision in itertools.product(options.versions or every, PRECISIONS):
        about = [which, precision, *common]
        parts.append(Part(("jax", which, precision), ["jax", *about, *_jax_words(which, options)], folder))
        if which in options.served and precision == options.precision:
            words = ["jax", *about, "--images", "0", "--also", *_served_batches(options)]
            parts.append(Part(("for servers", which), words, folder))
        if options.torch and which in MEASURED_ON_TORCH:
            parts.append(Part(("torch", which, precision), ["torch", *about, *_torch_words(options)], folder))
    return parts


def _versions(models: Path) -> list[tuple[str, int]]:
    return [(name, version) for name, several in ModelStore(models).versions().items() for version in several]


def _jax_words(which: str, options: argparse.Namespace) -> list[str]:
    words = ["--images", str(options.images)]
    return [*words, "--batches", *map(str, options.batches)] if which in MEASURED else words


def _served_batches(options: argparse.Namespace) -> list[str]:
    """Those that are not measured too."""
    most = max(options.batches)
    return [str(size) for size in SERVED_BATCHES if size <= most and size not in options.batches]


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


def measure(parts: Sequence[Part], library: str, until: float) -> None:
    """The speed of one after another, while those on other libraries that still compile are stopped.

    Whichever is not ready itself comes last.
    """
    measured = [part for part in parts if part.is_measured]
    others = [part for part in measured if part.keys[0] != library and not part.is_ready()]
    for part in others:
        part.signal_all(signal.SIGSTOP)
    for part in sorted(measured, key=lambda part: not part.is_ready()):
        if part.keys[0] == library:
            part.measure(until)
    for part in others:
        part.signal_all(signal.SIGCONT)


def report(parts: Sequence[Part]) -> dict[str, Any]:
    """By library, version and precision."""
    found: dict[str, Any] = {}
    for part in parts:
        inner = found
        for word in part.keys[:-1]:
            inner = inner.setdefault(word, {})
        inner[part.keys[-1]] = part.found()
    return found
