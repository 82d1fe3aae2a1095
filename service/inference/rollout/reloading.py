"""Versions and roll-out files that change while the server runs.

A look at the folder switches at once what needs no loading. What has to be loaded is loaded in the background, one
version at a time, and takes its place when it has proved itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from classifier.errors import SightlineError
from service.inference.catalog import Catalog
from service.inference.classifier import Classifier
from service.inference.rollout import changes
from service.inference.rollout.scan import Fingerprint, Scan, Version, same_network, scan
from service.inference.states import Broken, Loading, Retired

log = logging.getLogger(__name__)

QUIET_S = 3.0  # an incomplete folder that has not changed for so long is no more being copied
_LOOK_AGAIN_S = 0.5  # while a folder is incomplete
_IDLE_POLL_S = 0.02  # while a version that is to be unloaded is still used

Key = tuple[str, int]


class Reloader:
    """Follows the models folder of a catalog that has been loaded. Belongs to the event loop.

    `freed` is called in a thread when a version was unloaded, to give its memory back to the system.
    """

    def __init__(self, catalog: Catalog, freed: Callable[[], None] = lambda: None) -> None:
        self._catalog = catalog
        self._freed = freed
        self._models = catalog.settings.models
        self._seen: dict[Key, Fingerprint] = {}  # of what was loaded, or found broken
        self._incomplete: dict[Key, tuple[Fingerprint, float]] = {}  # and since when
        self._to_load: dict[Key, Fingerprint] = {}
        self._has_work = asyncio.Event()
        self._stop = asyncio.Event()
        self._looking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, how: Literal["watch", "poll", "admin"]) -> None:
        """Begin, once the catalog is loaded: what lies there now is what was loaded."""
        found = await asyncio.to_thread(scan, self._models)
        self._seen = {
            (name, number): version.fingerprint
            for name, versions in found.versions.items()
            for number, version in versions.items()
            if number in self._catalog.entries.get(name, {})
        }
        self._begin(self._load_each())
        if how != "admin":
            ticks = (
                changes.watched(self._models, self._stop)
                if how == "watch"
                else changes.polled(self._stop, changes.POLL_S)
            )
            self._begin(self._look_at_each(ticks))
        self._begin(self._look_again())
        await self.look()  # for what came while the catalog was loaded

    async def close(self) -> None:
        """End, whatever is being loaded."""
        self._stop.set()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def loading(self) -> list[str]:
        """What is being loaded or waits for it, as NAME@VERSION."""
        return [f"{name}@{version}" for name, version in self._to_load]

    async def look(self) -> None:
        """Look at the folder now: follow the roll-out file, and begin to load and unload what it takes."""
        async with self._looking:
            found = await asyncio.to_thread(scan, self._models)
            self._follow(found)
            for name, versions in found.versions.items():
                for number, version in versions.items():
                    self._note(name, number, version)
            self._forget(found)
            self._keep(found)
        if self._to_load:
            self._has_work.set()

    def _follow(self, found: Scan) -> None:
        """Switch to what the file says now. A wrong one changes nothing."""
        routing = self._catalog.routing
        if found.fault and found.fault != routing.file_fault:
            log.error("the roll-out file is not followed: %s", found.fault)
        routing.file_fault = found.fault
        if found.rollout is not None and found.rollout != routing.said:
            log.info("the roll-out file has changed; it is followed from here on")
            self._catalog.follow(found.rollout)

    def _note(self, name: str, number: int, version: Version) -> None:
        """Remember a version that has to be looked into, once nobody writes to it any more."""
        key = (name, number)
        if self._seen.get(key) == version.fingerprint:
            self._incomplete.pop(key, None)
            return
        now = asyncio.get_running_loop().time()
        if version.lacks:
            before, since = self._incomplete.get(key, ((), now))
            if before != version.fingerprint:
                log.debug("%s version %d is ignored as long as it is incomplete: %s", name, number, version.lacks)
                since = now
            self._incomplete[key] = (version.fingerprint, since)
            if now - since < QUIET_S:
                return
        self._incomplete.pop(key, None)
        self._to_load[key] = version.fingerprint

    def _forget(self, found: Scan) -> None:
        """Give up versions that are no more on disk, unless they answer; a volume may be away for a moment."""
        for name, number, entry in list(self._catalog.all()):
            if number in found.versions.get(name, {}):
                continue
            self._seen.pop((name, number), None)
            if isinstance(entry, Classifier) and self._is_needed(name, number, entry, found):
                continue
            if number in self._catalog.routing.of(name).versions:
                if not isinstance(entry, Broken):
                    self._catalog.put(name, number, Broken("its files are gone", at_run_time=True))
            else:
                self._catalog.remove(name, number)
            if isinstance(entry, Classifier):
                log.info("%s version %d is gone from the folder; it is unloaded", name, number)
                self._begin(self._unload(entry))

    def _is_needed(self, name: str, number: int, entry: Classifier, found: Scan) -> bool:
        """Whether a version whose folder is gone goes on: it answers, and nothing else can or the file names it."""
        routing = self._catalog.routing
        if not routing.is_in_use(entry):
            return False
        others = [
            v for v, other in self._catalog.entries[name].items() if isinstance(other, Classifier) and v != number
        ]
        return number in routing.of(name).versions or not any(v in found.versions.get(name, {}) for v in others)

    def _keep(self, found: Scan) -> None:
        """Load what the file keeps and is not loaded; unload what it does not keep and nobody needs."""
        routing = self._catalog.routing
        for name, versions in found.versions.items():
            wanted = routing.wanted(name, versions)
            for number in wanted:
                if isinstance(self._catalog.entries.get(name, {}).get(number), Retired):
                    self._to_load.setdefault((name, number), versions[number].fingerprint)
            for number, entry in list(self._catalog.entries.get(name, {}).items()):
                if number not in wanted and isinstance(entry, Classifier) and not routing.is_in_use(entry):
                    self._catalog.put(name, number, Retired())
                    log.info("%s version %d is unloaded, as the roll-out file has it", name, number)
                    self._begin(self._unload(entry))
            for key in [k for k in self._to_load if k[0] == name and k[1] not in wanted]:
                self._seen[key] = self._to_load.pop(key)
                if key[1] not in self._catalog.entries.get(name, {}):
                    self._catalog.put(*key, Retired())

    async def _load_each(self) -> None:
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            while self._to_load:
                key, seen = next(iter(self._to_load.items()))
                try:
                    await self._load(*key)
                finally:
                    if self._to_load.get(key) == seen:
                        del self._to_load[key]
                        self._seen[key] = seen
                with _logged():
                    await self.look()  # what changed meanwhile, and what is kept no longer

    async def _load(self, name: str, number: int) -> None:
        catalog = self._catalog
        before = catalog.entries.get(name, {}).get(number)
        if isinstance(before, Classifier):
            with suppress(SightlineError):
                card = await asyncio.to_thread(catalog.loader.store.card, name, number)
                if same_network(before.card, card):
                    return  # only what is written about it has changed
        else:
            catalog.put(name, number, Loading(at_run_time=True))
        log.info("%s version %d is being loaded", name, number)
        entry = await catalog.proved(name, number, at_run_time=True)
        catalog.metrics.loaded(name, number, "ready" if isinstance(entry, Classifier) else "broken")
        if isinstance(entry, Broken) and isinstance(before, Classifier):
            log.error("%s version %d as it was loaded before goes on answering", name, number)
            return
        catalog.put(name, number, entry)
        if isinstance(entry, Classifier):
            log.info("%s version %d is ready", name, number)
        if isinstance(before, Classifier):
            self._begin(self._unload(before))

    async def _unload(self, classifier: Classifier) -> None:
        """Wait until nobody uses it, close it, and give its memory back."""
        while not classifier.is_idle:  # noqa: ASYNC110 (requests come and go without an event)
            await asyncio.sleep(_IDLE_POLL_S)
        await classifier.close()
        await asyncio.to_thread(self._freed)

    async def _look_at_each(self, ticks: AsyncIterator[None]) -> None:
        async for _ in ticks:
            with _logged():
                await self.look()

    async def _look_again(self) -> None:
        """While something is incomplete, until it is complete or nobody writes to it."""
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S)
            if self._incomplete:
                with _logged():
                    await self.look()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("following the models folder failed", exc_info=error)


@contextmanager
def _logged() -> Iterator[None]:
    """For a look that may be taken again: nothing of the server ends where one fails."""
    try:
        yield
    except Exception:
        log.exception("the models folder could not be looked at")
