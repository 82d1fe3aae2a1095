"""Opens a version for serving: loaded, measured, and proved by its sample's answer. Mends an engine that failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from classifier.card import Precision
from classifier.engines import EngineOptions, throughput
from classifier.engines.processors import usable_processors
from classifier.engines.throughput import Throughput
from classifier.errors import WrongAnswer
from classifier.loaded_model import LoadedModel, reduced_unasked
from classifier.store import ModelStore
from service.inference import proof
from service.inference.batching import BatchScheduler
from service.inference.classifier import Classifier, is_faster_than_http
from service.inference.decode_pool import DecodePool
from service.inference.proof import Proof
from service.inference.samples import SampleKeeper
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger(__name__)

MENDING_PAUSES_S = (1, 5, 25, 125)  # between attempts to load an engine that failed


class Opened(NamedTuple):
    """A version that is loaded, how many images its batches may hold, and how fast it is."""

    model: LoadedModel
    throughput: Throughput


class Loader:
    """What all versions of a server share, and how one is opened. Belongs to one event loop.

    `failed` is called with a classifier whose engine failed.
    """

    def __init__(self, settings: Settings, metrics: Metrics, failed: Callable[[Classifier], None]) -> None:
        self.store = ModelStore(settings.models)
        self._settings = settings
        self._metrics = metrics
        self._failed = failed
        self._scheduler = BatchScheduler(max(1, settings.streams))
        self.samples = SampleKeeper(settings) if settings.keep_samples else None
        self.pool = DecodePool(settings.decode_threads or usable_processors())

    async def open(self, name: str, version: int, *, apart_first: bool = False) -> Classifier:
        """Load a version that answers its sample rightly; in float32 where a precision that nobody asked for does not.

        With `apart_first` a process of low priority has to do so before, where the engine makes that no burden.

        `LoadedModel.open` sees to that too, but a batch may be rounded in another way than an image alone. Raises as
        `LoadedModel.open` does.
        """
        options, found = self._settings.engine_options, None
        if apart_first and proof.can_try(self._settings):
            found = await proof.tried(self._settings, name, version)
        try:
            return await self._open_as(name, version, options, found)
        except WrongAnswer as error:
            if not reduced_unasked(error, options):
                raise
            log.warning("%s; it runs in float32 instead", error)
            return await self._open_as(name, version, replace(options, precision="float32"))

    async def mend(self, classifier: Classifier) -> bool:
        """Load the engine of a classifier anew, and say whether that went well in the end."""
        card, options = classifier.card, self._settings.engine_options_for(classifier.max_batch)
        engine = classifier.model.engine
        options = replace(options, one_stream=engine.one_stream, precision=engine.precision)
        for pause_s in MENDING_PAUSES_S:
            try:
                model = await asyncio.to_thread(LoadedModel.open, self.store, card.name, card.version, options)
            except Exception:
                log.exception("%s version %d could not be loaded anew", card.name, card.version)
                await asyncio.sleep(pause_s)
            else:
                log.warning("%s version %d was loaded anew", card.name, card.version)
                failed, classifier.model, classifier.reason = classifier.model, model, ""
                await asyncio.to_thread(failed.close)
                return True
        return False

    async def _open_as(self, name: str, version: int, options: EngineOptions, found: Proof | None = None) -> Classifier:
        """Load a version and send its sample the way every image goes: decoder, batch, engine."""
        if found is None:
            model, measured = await asyncio.to_thread(self._opened, name, version, options)
        else:
            model, measured = await asyncio.to_thread(self._opened_as_found, name, version, found)
        self._scheduler.allow(model.engine.max_in_flight)
        counted = self._metrics.of(model.card)
        settings = self._settings
        classifier = Classifier(model, self._scheduler, self.pool, settings, self._failed, measured, counted)
        deadline = asyncio.get_running_loop().time() + settings.request_timeout_ms / 1000
        try:
            async with asyncio.timeout_at(deadline):
                answer = await classifier.classify(model.sample, deadline)
                model.check_sample_answer(answer.row, answer.familiarity)
        except BaseException:
            await classifier.close()
            raise
        if self.samples is not None:
            classifier.followers = (self.samples.of(model.card),)
        return classifier

    def _opened(self, name: str, version: int, options: EngineOptions) -> Opened:
        """Blocks, so it belongs into a thread."""
        set_to = self._settings.max_batch
        model = LoadedModel.open(self.store, name, version, options)
        try:
            best, images_per_s = throughput.measure(model.engine, model.card.input.shape, set_to or None)
        except BaseException:
            model.close()
            raise
        measured = self._allowed(Throughput(best, images_per_s))
        if is_faster_than_http(model.engine, measured):
            model.close()
            model = self._opened_anew(name, version, measured, model.engine.precision, one_stream=True)
        return Opened(model, measured)

    def _opened_as_found(self, name: str, version: int, found: Proof) -> Opened:
        """Without measuring, which the server's own work would disturb. Blocks, so it belongs into a thread."""
        measured = self._allowed(Throughput(found.max_batch, found.images_per_s))
        model = self._opened_anew(name, version, measured, found.precision, one_stream=found.one_stream)
        return Opened(model, measured)

    def _allowed(self, measured: Throughput) -> Throughput:
        """With as many images a batch as are set, or as were measured and may wait."""
        most = self._settings.max_batch or min(measured.max_batch, self._settings.queue_limit)
        return Throughput(most, measured.images_per_s)

    def _opened_anew(
        self, name: str, version: int, measured: Throughput, precision: Precision, *, one_stream: bool
    ) -> LoadedModel:
        options = self._settings.engine_options_for(measured.max_batch)
        options = replace(options, one_stream=one_stream, precision=precision)
        return LoadedModel.open(self.store, name, version, options)
