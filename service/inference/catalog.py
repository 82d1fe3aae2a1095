"""Every version of every model that this server offers, loaded in the background and proved before it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from classifier.engines import EngineOptions, throughput
from classifier.engines.processors import usable_processors
from classifier.engines.throughput import Throughput
from classifier.errors import SightlineError, UnknownModel, WrongAnswer
from classifier.loaded_model import LoadedModel, reduced_unasked
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
    """The newest version of a model that is not broken is its default, every version stays addressable.

    `entries` is by model name and version. A broken version is named wherever somebody may look for it. It does not
    keep the server from being ready while another version of its model answers. A model whose folder cannot be read
    does.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.metrics.versions, self.metrics.broken = self.served, self.broken
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
        """The classifier of a version, by default the newest that is not broken.

        Raises UnknownModel, NotReady or NotServed.
        """
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
        version = default_version(versions) if version is None else version
        if version not in versions:
            there = ", ".join(map(str, sorted(versions)))
            raise UnknownModel(f"model {name!r} has no version {version}; there is: {there}")
        return version, versions[version]

    @property
    def is_ready(self) -> bool:
        has_all = self._loaded and bool(self.entries) and not self._missing()
        return has_all and self._decodes and not self.is_closing

    @property
    def is_alive(self) -> bool:
        """False when loading itself failed, or no decoder comes back for a long time: only a new start can help."""
        return self._pool.stuck_s < DEAD_S and (self._loaded or self._loading is None or not self._loading.done())

    @property
    def _decodes(self) -> bool:
        return self._pool.stuck_s < STUCK_S

    def check_ready(self) -> None:
        """Raise NotReady, naming what is missing, until every model has a version that has given its sample's answer.

        A version that is loading, for the first time or anew, is missing too. Raises Closing at the end.
        """
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
        raise NotReady("; ".join(self._missing()))

    def broken(self) -> Iterator[tuple[str, int, str]]:
        """Name, version and reason of everything that is on disk and could not be loaded."""
        return ((name, version, entry.reason) for name, version, entry in self.all() if isinstance(entry, Broken))

    def _missing(self) -> list[str]:
        """What keeps the server from being ready: what loads, and models of which nothing can be loaded."""
        answered = {name for name, _, entry in self.all() if isinstance(entry, Classifier)}
        missing = [
            f"{name} version {version}: {entry.reason}"
            for name, version, entry in self.all()
            if entry.reason and not (isinstance(entry, Broken) and name in answered)
        ]
        return missing + [f"{name}: its folder cannot be read ({why})" for name, why in self.unreadable.items()]

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
        """Load a version that answers its sample rightly; in float32 where a precision that nobody asked for does not.

        `LoadedModel.open` sees to that too, but a batch may be rounded in another way than an image alone.
        """
        options = self.settings.engine_options
        try:
            return await self._open_as(name, version, options)
        except WrongAnswer as error:
            if not reduced_unasked(error, options):
                raise
            log.warning("%s; it runs in float32 instead", error)
            return await self._open_as(name, version, replace(options, precision="float32"))

    async def _open_as(self, name: str, version: int, options: EngineOptions) -> Classifier:
        """Load a version and send its sample the way every image goes: decoder, batch, engine."""
        model, measured = await asyncio.to_thread(self._measured, name, version, options)
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

    def _measured(self, name: str, version: int, options: EngineOptions) -> tuple[LoadedModel, Throughput]:
        """A version, loaded, how many images its batches may hold, and how fast it is.

        Blocks, so it belongs into a thread.
        """
        set_to = self.settings.max_batch
        model = LoadedModel.open(self._store, name, version, options)
        try:
            best, images_per_s = throughput.measure(model.engine, model.card.input.shape, set_to or None)
        except BaseException:
            model.close()
            raise
        measured = Throughput(set_to or min(best, self.settings.queue_limit), images_per_s)
        if is_faster_than_http(model.engine, measured):
            model.close()
            options = self.settings.engine_options_for(measured.max_batch)
            options = replace(options, one_stream=True, precision=model.engine.precision)
            model = LoadedModel.open(self._store, name, version, options)
        return model, measured

    def _mend(self, classifier: Classifier) -> None:
        """Load the engine of a classifier anew; until then it is not offered and the server is not ready.

        When that fails for good, the version is broken.
        """
        if classifier.reason or self.is_closing:
            return
        classifier.reason = "its engine failed and is being loaded anew"
        task = asyncio.create_task(self._mended(classifier))
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    async def _mended(self, classifier: Classifier) -> None:
        card, options = classifier.card, self.settings.engine_options_for(classifier.max_batch)
        engine = classifier.model.engine
        options = replace(options, one_stream=engine.one_stream, precision=engine.precision)
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
        self.entries[card.name][card.version] = Broken(classifier.reason)
        await classifier.close()


def default_version(versions: Mapping[int, Entry]) -> int:
    """The version that answers when none is named: the newest that is not broken, or the newest where all are."""
    sound = [version for version, entry in versions.items() if not isinstance(entry, Broken)]
    return max(sound or versions)


def _log_failure(loading: asyncio.Task[None]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        log.error("the models could not be looked up", exc_info=error)
