"""Versions to drop into a store that is being served: sound copies, broken ones, and one with its labels swapped."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from classifier.card import Card, read_card, write_card
from classifier.store import CARD, ONNX, ModelStore

_COPY = "import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])"
_SLOW_COPY = """
import sys, time
with open(sys.argv[1], "rb") as source, open(sys.argv[2], "wb") as target:
    while part := source.read(1024):
        target.write(part)
        target.flush()
        time.sleep(0.05)
"""


def copy(models: ModelStore, name: str, of: int, change: Callable[[Card], Card] = lambda card: card) -> int:
    """Add a copy of a version, as whole as a fit's, and give its number."""
    folder = models.folder(name, of)

    def fill(draft: Path) -> Card:
        card = models.card(name, of)
        for file in card.files:
            shutil.copyfile(folder / file, draft / file)
        return change(card)

    return models.save(name, fill).version


def swapped(card: Card) -> Card:
    """The card with its labels moved on by one: it is sound, and every answer is wrong."""
    labels = (*card.labels[1:], card.labels[0])
    label = labels[card.labels.index(card.sample.label)]
    return card.model_copy(update={"labels": labels, "sample": card.sample.model_copy(update={"label": label})})


def drop_broken(models: ModelStore, name: str, of: int, kind: str, number: int) -> None:
    """Drop a version with this number in, broken in one of the ways of `BROKEN`."""
    source, target = models.folder(name, of), models.root / name / str(number)
    target.mkdir()
    card = read_card(source / CARD).model_copy(update={"version": number})
    write_card(card, target / CARD)
    for file in card.files:
        if file != ONNX:
            shutil.copyfile(source / file, target / file)
    BROKEN[kind](source, target, card)


def _truncated(source: Path, target: Path, _: Card) -> None:
    (target / ONNX).write_bytes((source / ONNX).read_bytes()[:-100])


def _wrong_hash(source: Path, target: Path, _: Card) -> None:
    network = bytearray((source / ONNX).read_bytes())
    network[len(network) // 2] ^= 0xFF
    (target / ONNX).write_bytes(network)


def _wrong_answer(source: Path, target: Path, card: Card) -> None:
    shutil.copyfile(source / ONNX, target / ONNX)
    probabilities = tuple(reversed(card.sample.probabilities))
    label = card.labels[probabilities.index(max(probabilities))]
    sample = card.sample.model_copy(update={"label": label, "probabilities": probabilities})
    write_card(card.model_copy(update={"sample": sample}), target / CARD)


def _more_labels(source: Path, target: Path, card: Card) -> None:
    shutil.copyfile(source / ONNX, target / ONNX)
    sample = card.sample.model_copy(update={"probabilities": (*card.sample.probabilities, 0.0)})
    write_card(card.model_copy(update={"labels": (*card.labels, "another"), "sample": sample}), target / CARD)


def _out_of_disk(source: Path, target: Path, _: Card) -> None:
    """A copy that may write half of the file, as on a disk that is full."""
    half = (source / ONNX).stat().st_size // 2

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, half))

    command = [sys.executable, "-c", _COPY, str(source / ONNX), str(target / ONNX)]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL, preexec_fn=limit)


def _killed(source: Path, target: Path, _: Card) -> None:
    """A copy that is killed half-way."""
    command = [sys.executable, "-c", _SLOW_COPY, str(source / ONNX), str(target / ONNX)]
    with subprocess.Popen(command) as copying:
        with contextlib.suppress(FileNotFoundError):
            while not ((target / ONNX).exists() and (target / ONNX).stat().st_size):
                time.sleep(0.01)
        copying.kill()


BROKEN: dict[str, Callable[[Path, Path, Card], None]] = {
    "truncated": _truncated,
    "wrong hash": _wrong_hash,
    "wrong answer": _wrong_answer,
    "more labels": _more_labels,
    "out of disk": _out_of_disk,
    "killed while copying": _killed,
}
