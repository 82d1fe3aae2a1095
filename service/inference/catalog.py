"""Every version of every model that this server offers, loaded in the background and proved before it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace

from classifier.engines import throughput
from classifier.engines.processors import usable_processors
from classifier.engines.throughput import Throughput
from classifier.errors import SightlineError, UnknownModel
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from service.errors import Closing, NotReady, NotServed
from service.inference.batching import BatchScheduler
from service.inference.classifier import Classifier, is_faster_than_http
from service.inference.decode_pool import DecodePool
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger(__name__)


MENDING_PAUSES_S = (1, 5, 25, 125)  # between attempts to load an engine that failed

# Plain pictures take some tenths of a second; this is for a decoder that never comes back.
STUCK_S = 20.0  # the server is not ready
DEAD_S = 60.0  # only a new start can help


@dataclass(frozen=True)
class Broken:
    """A version that failed its checks. The reason is fit for clients; paths and tracebacks are in the log."""

    reason: str


@dataclass(frozen=True)
class Loading:
    """A version that is on disk and will be offered once it has proved itself."""

    reason: str = "still loading"


Entry = Classifier | Broken | Loading


class Catalog:
    """The newest complete version of a model is its default, every version stays addressable.

    `entries` is by model name and version. A broken version, or a model whose folder cannot be read, does not keep the
    others from serving, but keeps the server from being ready: somebody meant it to be served.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.metrics.versions = self.served
        self.entries: dict[str, dict[int, Entry]] = {}
        self.unreadable: dict[str, str] = {}  # models whose folder cannot be listed, and why
        self._store = ModelStore(settings.models)
        self._scheduler = BatchScheduler(max(1, settings.streams))
        self._pool = DecodePool(settings.decode_threads or usable_processors())
        self._loading: asyncio.Task[None] | None = None
        self._mending: set[asyncio.Task[None]] = set()
        self._loaded = False
        self.is_closing = False  # nobody is to come any more; what was accepted is still answered

    def start(self) -> None:
        """Begin to load, and return at once."""
        self._loading = asyncio.create_task(self.load())
        self._loading.add_done_callback(_log_failure)

    async def loaded(self) -> None:
        """Wait until everything has been loaded or found broken."""
        if self._loading:
            await self._loading

    async def load(self) -> None:
        """Load every version there is, newest first."""
        known = await asyncio.to_thread(self._store.versions)
        self.unreadable = await asyncio.to_thread(self._store.unreadable)
        for name, reason in self.unreadable.items():
            log.error(
                "model %s is not served: its folder in %s cannot be read (%s)", name, self.settings.models, reason
            )
        self.entries = {name: {version: Loading() for version in versions} for name, versions in known.items()}
        # The defaults of all models come before anybody's older versions.
        for name, version in sorted(((n, v) for n, v, _ in self.all()), key=lambda nv: (nv[1] != known[nv[0]][-1], nv)):
            self.entries[name][version] = await self._proved(name, version)
        self._loaded = True
        served = [f"{classifier.card.name} {classifier.card.version}" for classifier in self.served()]
        log.info("serving %s from %s", ", ".join(served) or "nothing", self.settings.models)

    def find(self, name: str, version: int | None = None) -> Classifier:
        """The classifier of a version, by default the newest. Raises UnknownModel, NotReady or NotServed."""
        version, entry = self.entry(name, version)
        if isinstance(entry, Classifier) and not entry.reason:
            return entry
        if isinstance(entry, Broken):
            others = [str(v) for v, other in sorted(self.entries[name].items()) if isinstance(other, Classifier)]
            hint = f"; version {', '.join(others)} answers under its own path" if others else ""
            raise NotServed(f"{name} version {version}: {entry.reason}{hint}")
        raise NotReady(f"{name} version {version}: {entry.reason}")

    def entry(self, name: str, version: int | None = None) -> tuple[int, Entry]:
        """A version and its state, whatever it is. Raises UnknownModel listing what there is, or NotReady."""
        if not self.entries and not self._loaded:
            raise NotReady("the models are still being looked up")
        if (versions := self.entries.get(name)) is None:
            there = ", ".join(self.entries) or "none"
            raise UnknownModel(f"no model {name!r}; this server has: {there}")
        version = max(versions) if version is None else version
        if version not in versions:
            there = ", ".join(map(str, sorted(versions)))
            raise UnknownModel(f"model {name!r} has no version {version}; there is: {there}")
        return version, versions[version]

    @property
    def is_ready(self) -> bool:
        served = (isinstance(entry, Classifier) and not entry.reason for _, _, entry in self.all())
        whole = bool(self.entries) and not self.unreadable
        return self._loaded and not self.is_closing and whole and self._decodes and all(served)

    @property
    def is_alive(self) -> bool:
        """False when loading itself failed, or no decoder comes back for a long time: only a new start can help."""
        return self._pool.stuck_s < DEAD_S and (self._loaded or self._loading is None or not self._loading.done())

    @property
    def _decodes(self) -> bool:
        return self._pool.stuck_s < STUCK_S

    def check_ready(self) -> None:
        """Raise NotReady, naming what is missing, until every version has given its sample's answer; then Closing."""
        if self.is_ready:
            return
        if self.is_closing:
            raise Closing("the server is shutting down")
        if not self._loaded:
            raise NotReady(
                "the models are still being loaded" if self.is_alive else "the models could not be looked up"
            )
        if not self._decodes:
            raise NotReady(f"no decoder has been heard of for {self._pool.stuck_s:.0f} s, and all have work")
        if not self.entries and not self.unreadable:
            raise NotReady(f"there is no complete model version in the folder {self.settings.models.name}")
        missing = [f"{name} version {version}: {e.reason}" for name, version, e in self.all() if e.reason]
        missing += [f"{name}: its folder cannot be read ({reason})" for name, reason in self.unreadable.items()]
        raise NotReady("; ".join(missing))

    def all(self) -> Iterator[tuple[str, int, Entry]]:
        """Name, version and state of everything on offer, versions ascending."""
        for name, versions in self.entries.items():
            for version, entry in sorted(versions.items()):
                yield name, version, entry

    def served(self) -> Iterator[Classifier]:
        """Every version that has proved itself."""
        return (entry for _, _, entry in self.all() if isinstance(entry, Classifier))

    async def close(self) -> None:
        """Stop loading, answer everybody who waits, and give the memory back."""
        for task in (begun := [*self._mending, *([self._loading] if self._loading else [])]):
            task.cancel()
        await asyncio.gather(*begun, return_exceptions=True)
        for classifier in self.served():
            await classifier.close()
        self._pool.close()

    async def _proved(self, name: str, version: int) -> Entry:
        try:
            return await self._open(name, version)
        except SightlineError as error:
            log.error("%s version %d is not served: %s", name, version, error)
            return Broken(error.title)
        except Exception:
            log.exception("%s version %d is not served", name, version)
            return Broken("it failed to load; the server's log says why")

    async def _open(self, name: str, version: int) -> Classifier:
        """Load a version and send its sample the way every image goes: decoder, batch, engine."""
        model, measured = await asyncio.to_thread(self._measured, name, version)
        self._scheduler.allow(model.engine.max_in_flight)
        counted = self.metrics.of(model.card)
        classifier = Classifier(model, self._scheduler, self._pool, self.settings, self._mend, measured, counted)
        deadline = asyncio.get_running_loop().time() + self.settings.request_timeout_ms / 1000
        try:
            async with asyncio.timeout_at(deadline):
                model.check_sample_answer((await classifier.classify(model.sample, deadline)).row)
        except BaseException:
            await classifier.close()
            raise
        return classifier

    def _measured(self, name: str, version: int) -> tuple[LoadedModel, Throughput]:
        """A version, loaded, how many images its batches may hold, and how fast it is.

        Blocks, so it belongs into a thread.
        """
        options, set_to = self.settings.engine_options, self.settings.max_batch
        model = LoadedModel.open(self._store, name, version, options)
        try:
            best, images_per_s = throughput.measure(model.engine, model.card.input.shape, set_to or None)
        except BaseException:
            model.close()
            raise
        measured = Throughput(set_to or min(best, self.settings.queue_limit), images_per_s)
        if is_faster_than_http(model.engine, measured):
            model.close()
            options = replace(self.settings.engine_options_for(measured.max_batch), one_stream=True)
            model = LoadedModel.open(self._store, name, version, options)
        return model, measured

    def _mend(self, classifier: Classifier) -> None:
        """Load the engine of a classifier anew; until then it is not offered and the server is not ready."""
        if classifier.reason or self.is_closing:
            return
        classifier.reason = "its engine failed and is being loaded anew"
        task = asyncio.create_task(self._mended(classifier))
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    async def _mended(self, classifier: Classifier) -> None:
        card, options = classifier.card, self.settings.engine_options_for(classifier.max_batch)
        options = replace(options, one_stream=classifier.model.engine.one_stream)
        for pause_s in MENDING_PAUSES_S:
            try:
                model = await asyncio.to_thread(LoadedModel.open, self._store, card.name, card.version, options)
            except Exception:
                log.exception("%s version %d could not be loaded anew", card.name, card.version)
                await asyncio.sleep(pause_s)
            else:
                log.warning("%s version %d was loaded anew", card.name, card.version)
                failed, classifier.model, classifier.reason = classifier.model, model, ""
                await asyncio.to_thread(failed.close)
                return
        classifier.reason = "its engine failed; the server's log says how"


def _log_failure(loading: asyncio.Task[None]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        log.error("the models could not be looked up", exc_info=error)
