"""An engine in bfloat16 whose answers stray as far as a test says, on any processor."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.card import Card
from classifier.engines import Answers, EngineOptions, openvino
from classifier.engines.agreement import close_enough

REAL = openvino.OpenVinoEngine


class Strays:
    """How far probabilities are off where the card lets "auto" choose bfloat16: of an image alone, and of a batch."""

    def __init__(self) -> None:
        self.alone_by = 0.0
        self.in_batches_by = 0.0
        self.opened: list[str] = []  # the precision of each engine


class StrayingEngine(REAL):  # type: ignore[misc,valid-type]
    """OpenVINO's in float32, which says bfloat16 of itself and moves a part of the first probability to the second."""

    infers_here = False  # so that what is served goes the way of a batch
    strays: Strays

    def __init__(self, card: Card, folder: Path, options: EngineOptions, *read: Any) -> None:
        check = card.check_of("openvino", "bfloat16")
        reduced = options.precision == "bfloat16" or (options.precision == "auto" and close_enough(check))
        self._off_by = (self.strays.alone_by, self.strays.in_batches_by) if reduced else (0.0, 0.0)
        super().__init__(card, folder, replace(options, precision="float32"), *read)
        self.precision = "bfloat16" if reduced else "float32"
        self.strays.opened.append(self.precision)

    def answer(self, pixels_u8: Any) -> Any:
        return strayed(super().answer(pixels_u8), self._off_by[0])

    def submit(self, pixels_u8: Any, *, alone: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(strayed(super().submit(pixels_u8, alone=alone).result(), self._off_by[1]))
        return future


def strayed(answers: Answers, off_by: float) -> Answers:
    """Answers whose most probable label has lost `off_by` to another one."""
    rows, each = answers.probabilities.copy(), np.arange(len(answers.probabilities))
    top = rows.argmax(axis=1)
    rows[each, top] -= off_by
    rows[each, (top + 1) % rows.shape[1]] += off_by
    return answers._replace(probabilities=rows)


def install(monkeypatch: pytest.MonkeyPatch) -> Strays:
    """Have every OpenVINO engine stray from now on, on a processor that seems to have bfloat16."""
    strays = Strays()
    monkeypatch.setattr(StrayingEngine, "strays", strays, raising=False)
    monkeypatch.setattr(openvino, "OpenVinoEngine", StrayingEngine)
    monkeypatch.setattr(openvino, "supports_bfloat16", lambda: True)
    return strays
