"""Several versions at a time: which of the work is done side by side, and which is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from classifier.engines import throughput
from classifier.loaded_model import LoadedModel
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.tiny_models import COLOUR, GREY

pytestmark = pytest.mark.anyio


class Work:
    """What is being done to versions now, in threads."""

    def __init__(self) -> None:
        self._now: list[str] = []
        self._one = threading.Lock()
        self.seen: list[tuple[str, ...]] = []  # what was going on whenever something began

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        with self._one:
            self._now.append(what)
            self.seen.append(tuple(sorted(self._now)))
        try:
            yield
        finally:
            with self._one:
                self._now.remove(what)


async def test_versions_are_opened_side_by_side_and_measured_while_nothing_is_opened(
    tiny_models_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, two_open = Work(), threading.Barrier(2)
    open_one, measure = LoadedModel.open, throughput.measure

    def slow_to_open(store: Any, name: str, version: int, options: Any) -> LoadedModel:
        with work.doing("open"):
            if version == 2 or name == GREY:  # the defaults of both models
                two_open.wait(30)
            return open_one(store, name, version, options)

    def slow_to_measure(*given: Any) -> throughput.Throughput:
        with work.doing("measure"):
            return measure(*given)

    monkeypatch.setattr(LoadedModel, "open", slow_to_open)
    monkeypatch.setattr(throughput, "measure", slow_to_measure)
    monkeypatch.setattr("service.inference.loading.usable_processors", lambda: 2)
    monkeypatch.setattr("service.inference.loading.is_faster_than_http", lambda *_: False)  # which are opened twice
    catalog = Catalog(Settings(models=tiny_models_root, engine="openvino", precision="float32"))
    try:
        async with asyncio.timeout(60):
            await catalog.load()
        assert catalog.is_ready
        assert {(one.card.name, one.card.version) for one in catalog.served()} == {(COLOUR, 1), (COLOUR, 2), (GREY, 1)}
    finally:
        await catalog.close()
    assert ("open", "open") in work.seen
    assert [beside for beside in work.seen if "measure" in beside] == [("measure",)] * 3
