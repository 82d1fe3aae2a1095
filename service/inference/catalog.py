"""Every version of every model that this server offers, loaded in the background and proved before it is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from classifier import rollout_file
from classifier.errors import SightlineError, UnknownModel
from classifier.rollout_file import Rollout
from service.errors import Closing, NotReady, NotServed
from service.inference.classifier import Classifier
from service.inference.loading import Loader
from service.inference.rollout.routing import Routing
from service.inference.states import Broken, Entry, Loading, Retired
from service.metrics import Metrics
from service.settings import Settings

log = logging.getLogger(__name__)

# Plain pictures take some tenths of a second; this is for a decoder that never comes back.
STUCK_S = 20.0  # the server is not ready
DEAD_S = 60.0  # only a new start can help

Which = int | str | None  # a version, an alias of one, or whichever answers requests that name none


class Catalog:
    """Versions and their states; `routing` says which of them answers what.

    `entries` is by model name and version; `put` and `remove` change it. A broken version is named wherever somebody
    may look for it. It does not keep the server from being ready while another version of its model answers. A model
    whose folder cannot be read does. Raises RolloutFileError where the roll-out file is wrong.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.metrics.versions, self.metrics.broken = self.served, self.broken
        self.entries: dict[str, dict[int, Entry]] = {}
        self.unreadable: dict[str, str] = {}  # models whose folder cannot be listed, and why
        self.loader = Loader(settings, self.metrics, self._mend)
        self.routing = Routing(self.metrics, self._said(), self.loader.samples)
        self.metrics.rollout = lambda: self.routing.samples(self.entries)
        self.splits = self.routing.splits  # for the fast path, which looks at it with every request
        self._answering = self.routing.answering
        self._loading: asyncio.Task[None] | None = None
        self._mending: set[asyncio.Task[None]] = set()
        self.is_loaded = False
        self.is_draining = False  # nobody is to come any more; what was accepted is still answered

    def _said(self) -> Rollout:
        """What the roll-out file says. Raises RolloutFileError where it is wrong or names what is not there."""
        rollout = rollout_file.read(self.settings.models)
        if rollout:
            store = self.loader.store
            of_unknown = store.unreadable()
            named = {name: said for name, said in rollout.items() if name not in of_unknown}
            rollout_file.check_versions(named, store.versions())
        return rollout

    def start(self) -> None:
        """Begin to load, and return at once."""
        self._loading = asyncio.create_task(self.load())
        self._loading.add_done_callback(_log_failure)

    async def loaded(self) -> None:
        """Wait until everything has been loaded or found broken."""
        if self._loading:
            await self._loading

    async def load(self) -> None:
        """Load every version that is to be, of each model the one that is to answer first."""
        store = self.loader.store
        known = await asyncio.to_thread(store.versions)
        self.unreadable = await asyncio.to_thread(store.unreadable)
        for name, reason in self.unreadable.items():
            log.error(
                "model %s is not served: its folder in %s cannot be read (%s)", name, self.settings.models, reason
            )
        wanted = {name: self.routing.wanted(name, versions) for name, versions in known.items()}
        self.entries = {
            name: {version: Loading() if version in wanted[name] else Retired() for version in versions}
            for name, versions in known.items()
        }
        # The defaults of all models come before anybody's older versions.
        ranked = sorted((rank, name, version) for name in known for rank, version in enumerate(wanted[name]))
        for _, name, version in ranked:
            self.put(name, version, await self.proved(name, version))
        await self._load_others_of_broken()
        self.is_loaded = True
        served = [f"{classifier.card.name} {classifier.card.version}" for classifier in self.served()]
        log.info("serving %s from %s", ", ".join(served) or "nothing", self.settings.models)

    async def _load_others_of_broken(self) -> None:
        """Where what was to be kept is broken, and the file names nothing that is to answer, an older version does."""
        for name, version, entry in sorted(self.all(), key=lambda found: -found[1]):
            if isinstance(entry, Retired) and name not in self._answering and not self.routing.names_default(name):
                self.put(name, version, await self.proved(name, version))

    async def proved(self, name: str, version: int, *, at_run_time: bool = False) -> Classifier | Broken:
        """Load one version; where that fails, say so in the log and give what takes its place."""
        try:
            return await self.loader.open(name, version, apart_first=at_run_time)
        except SightlineError as error:
            log.error("%s version %d is not served: %s", name, version, error)
            return Broken(error.title, at_run_time)
        except Exception:
            log.exception("%s version %d is not served", name, version)
            return Broken("it failed to load; the server's log says why", at_run_time)

    def put(self, name: str, version: int, entry: Entry) -> None:
        """Give a version another state; from here on it answers, or does so no more."""
        self.entries.setdefault(name, {})[version] = entry
        self.routing.publish(name, self.entries[name])

    def remove(self, name: str, version: int) -> None:
        """Forget a version that is no more on disk, and its model with the last one."""
        self.entries[name].pop(version, None)
        self.routing.publish(name, self.entries[name])
        if not self.entries[name]:
            del self.entries[name]

    def follow(self, rollout: Rollout) -> None:
        """From here on requests go where this says, as far as the versions it names are ready."""
        self.routing.said = rollout
        for name, versions in self.entries.items():
            self.routing.publish(name, versions)

    def find(self, name: str, which: Which = None) -> Classifier:
        """The classifier of a version or alias, by default of the version that answers requests that name none.

        Raises UnknownModel, NotReady or NotServed.
        """
        if which is None:
            answering = self._answering.get(name)
            if answering is not None and not answering.reason:
                return answering
        version, entry = self.entry(name, which)
        if isinstance(entry, Classifier) and not entry.reason:
            return entry
        if isinstance(entry, Broken | Retired):
            others = [str(v) for v, other in sorted(self.entries[name].items()) if isinstance(other, Classifier)]
            hint = f"; version {', '.join(others)} answers under its own path" if others else ""
            raise NotServed(f"{name} version {version}: {entry.reason}{hint}")
        raise NotReady(f"{name} version {version}: {entry.reason}")

    def entry(self, name: str, which: Which = None) -> tuple[int, Entry]:
        """A version and its state, whatever it is. Raises UnknownModel listing what there is, or NotReady."""
        if not self.entries and not self.is_loaded:
            raise NotReady("the models are still being looked up")
        if (versions := self.entries.get(name)) is None:
            there = ", ".join(self.entries) or "none"
            raise UnknownModel(f"no model {name!r}; this server has: {there}")
        version = which if isinstance(which, int) else self.routing.version(name, versions, which)
        if version is None:
            there = ", ".join(self.routing.aliases_of(name, versions))
            raise UnknownModel(f"model {name!r} has no alias {which!r}; there is: {there}")
        if version not in versions:
            there = ", ".join(map(str, sorted(versions)))
            raise UnknownModel(f"model {name!r} has no version {version}; there is: {there}")
        return version, versions[version]

    @property
    def is_ready(self) -> bool:
        has_all = self.is_loaded and bool(self.entries) and not self._missing()
        return has_all and self._decodes and not self.is_draining

    @property
    def is_alive(self) -> bool:
        """False when loading itself failed, or no decoder comes back for a long time: only a new start can help."""
        return self.loader.pool.stuck_s < DEAD_S and (
            self.is_loaded or self._loading is None or not self._loading.done()
        )

    @property
    def _decodes(self) -> bool:
        return self.loader.pool.stuck_s < STUCK_S

    def check_ready(self) -> None:
        """Raise NotReady, naming what is missing, until every model has a version that has given its sample's answer.

        A version that is loading, for the first time or anew, is missing too; one that came while the server ran is
        not. Raises Closing at the end.
        """
        if self.is_ready:
            return
        if self.is_draining:
            raise Closing("the server is shutting down")
        if not self.is_loaded:
            raise NotReady(
                "the models are still being loaded" if self.is_alive else "the models could not be looked up"
            )
        if not self._decodes:
            raise NotReady(f"no decoder has been heard of for {self.loader.pool.stuck_s:.0f} s, and all have work")
        if not self.entries and not self.unreadable:
            raise NotReady(f"there is no complete model version in the folder {self.settings.models.name}")
        raise NotReady("; ".join(self._missing()))

    def broken(self) -> Iterator[tuple[str, int, str]]:
        """Name, version and reason of everything that is on disk and could not be loaded."""
        return ((name, version, entry.reason) for name, version, entry in self.all() if isinstance(entry, Broken))

    def _missing(self) -> list[str]:
        """What keeps the server from being ready: what loads, and models of which what is to answer cannot."""
        missing = [
            f"{name} version {version}: {entry.reason}"
            for name, version, entry in self.all()
            if entry.reason and self._is_missed(name, entry)
        ]
        return missing + [f"{name}: its folder cannot be read ({why})" for name, why in self.unreadable.items()]

    def _is_missed(self, name: str, entry: Entry) -> bool:
        if isinstance(entry, Retired):
            return False
        if isinstance(entry, Broken):
            return not entry.at_run_time and name not in self._answering
        return not (isinstance(entry, Loading) and entry.at_run_time)

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
        self.routing.close()
        for classifier in self.served():
            await classifier.close()
        self.loader.pool.close()

    def _mend(self, classifier: Classifier) -> None:
        """Load the engine of a classifier anew; until then it is not offered and the server is not ready.

        When that fails for good, the version is broken.
        """
        if classifier.reason or self.is_draining:
            return
        classifier.reason = "its engine failed and is being loaded anew"
        task = asyncio.create_task(self._mended(classifier))
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)

    async def _mended(self, classifier: Classifier) -> None:
        if await self.loader.mend(classifier):
            return
        card = classifier.card
        classifier.reason = "its engine failed; the server's log says how"
        if self.entries.get(card.name, {}).get(card.version) is classifier:
            self.put(card.name, card.version, Broken(classifier.reason))
        await classifier.close()


def _log_failure(loading: asyncio.Task[None]) -> None:
    if not loading.cancelled() and (error := loading.exception()):
        log.error("the models could not be looked up", exc_info=error)
