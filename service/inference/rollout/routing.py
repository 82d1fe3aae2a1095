"""Which version answers what: the roll-out file, and the versions that are ready, made into pointers to classifiers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from classifier.rollout_file import NOTHING_SAID, ModelRollout, Rollout
from service import metrics
from service.inference.classifier import Classifier
from service.inference.rollout.split import Split
from service.inference.rollout.trial import Parts, Trial
from service.inference.samples import SampleKeeper
from service.inference.states import Broken, Entry, Loading, Retired, state_of
from service.metrics import Metrics, Sample

log = logging.getLogger(__name__)

STABLE = "stable"  # every model has this alias; without a file it is whichever version answers


class ShutOff(NamedTuple):
    """A canary that its guard has ended, until the file says something else about the model."""

    said: ModelRollout
    reason: str


class Routing:
    """By model: `answering`, what answers requests that name no version, and `splits`, what a canary takes of them.

    A version that the file names takes over once it is ready; until then, and where it turns out to be broken, what
    answered goes on. Without a file the newest version answers that is not broken.
    """

    def __init__(self, metrics: Metrics, said: Rollout, samples: SampleKeeper | None = None) -> None:
        self.said = said
        self.answering: dict[str, Classifier] = {}
        self.splits: dict[str, Split] = {}
        self.shut_off: dict[str, ShutOff] = {}
        self.file_fault = ""  # why the newest file is not followed
        self._metrics = metrics
        self._samples = samples  # of what versions disagree about
        self._aliases: dict[str, dict[str, Classifier]] = {}
        self._answered_last: dict[str, list[int]] = {}
        self._trials: dict[str, Trial] = {}

    def of(self, name: str) -> ModelRollout:
        """What the file says about a model."""
        return self.said.get(name, NOTHING_SAID)

    def publish(self, name: str, versions: Mapping[int, Entry]) -> None:
        """A version of a model has changed its state, or the file has: switch what has to be."""
        before = self.answering.get(name)
        now = _ready(versions, self.default_version(name, versions)) or _still(versions, before)
        if now is None:
            self.answering.pop(name, None)
        elif now is not before:
            self.answering[name] = now
            self._remember(name, now.card.version)
            if before is not None:
                log.info("%s: version %d answers now, after version %d", name, now.card.version, before.card.version)
        known = self._aliases.get(name, {})
        found = {a: _ready(versions, v) or _still(versions, known.get(a)) for a, v in self.of(name).named.items()}
        self._aliases[name] = {alias: classifier for alias, classifier in found.items() if classifier is not None}
        self._try(name, versions)

    def default_version(self, name: str, versions: Mapping[int, Entry]) -> int:
        """The version that is to answer requests that name none, whatever its state."""
        said = self.of(name)
        if (named := said.pin or said.stable) is not None and named in versions:
            return named
        plain = [version for version in versions if version not in (said.canary, said.shadow)] or list(versions)
        return max([version for version in plain if _may_answer(versions[version])] or plain, default=0)

    def names_default(self, name: str) -> bool:
        """Whether the file says which version answers requests that name none."""
        said = self.of(name)
        return (said.pin or said.stable) is not None

    def version(self, name: str, versions: Mapping[int, Entry], alias: str | None) -> int | None:
        """The version that an alias stands for now, or that answers requests that name none. None: no such alias."""
        if alias is not None and (classifier := self._aliases.get(name, {}).get(alias)) is not None:
            return classifier.card.version
        if alias is None or (alias == STABLE and self.of(name).stable is None):
            answering = self.answering.get(name)
            return self.default_version(name, versions) if answering is None else answering.card.version
        return self.of(name).named.get(alias)

    def aliases_of(self, name: str, versions: Mapping[int, Entry]) -> dict[str, int]:
        """Every alias of a model, and the version it stands for now."""
        found = {alias: self.version(name, versions, alias) for alias in (STABLE, *self.of(name).named)}
        return {alias: version for alias, version in found.items() if version is not None}

    def weights_of(self, name: str) -> dict[int, float]:
        """Each version's share of the requests that name none."""
        if (answering := self.answering.get(name)) is None:
            return {}
        if (split := self.splits.get(name)) is None:
            return {answering.card.version: 1.0}
        return {answering.card.version: 1.0 - split.weight, split.canary.card.version: split.weight}

    def wanted(self, name: str, versions: Collection[int]) -> list[int]:
        """Those of a model's versions that are to be loaded, those that are needed most first."""
        said = self.of(name)
        newest = sorted(versions, reverse=True)
        plain = [version for version in newest if version not in (said.canary, said.shadow)] or newest
        first = said.pin or said.stable or next(iter(plain), 0)
        needed = [version for version in dict.fromkeys([first, *sorted(said.versions)]) if version in versions]
        ranked = [*needed, *self._answered_last.get(name, ()), *newest]
        ranked = [version for version in dict.fromkeys(ranked) if version in versions]
        return ranked if said.keep is None else ranked[: max(said.keep, len(needed))]

    def is_in_use(self, classifier: Classifier) -> bool:
        """Whether anything points to a classifier: it answers, under an alias or on trial."""
        name = classifier.card.name
        split = self.splits.get(name)
        pointed_to = [self.answering.get(name), *self._aliases.get(name, {}).values(), split and split.canary]
        return any(one is classifier for one in pointed_to)

    def about(self, name: str, versions: Mapping[int, Entry]) -> dict[str, Any]:
        """For callers: the state of each version, aliases, weights, and why a canary was shut off."""
        states = [
            {"version": version, "state": state_of(entry)} | ({"reason": entry.reason} if entry.reason else {})
            for version, entry in sorted(versions.items())
        ]
        weights = {str(version): weight for version, weight in self.weights_of(name).items()}
        about: dict[str, Any] = {"states": states, "aliases": self.aliases_of(name, versions), "weights": weights}
        if name in self.shut_off:
            about["canary_shut_off"] = self.shut_off[name].reason
        return about

    def samples(self, entries: Mapping[str, Mapping[int, Entry]]) -> Iterator[Sample]:
        """What Prometheus reads."""
        yield metrics.ROLLOUT_FILE_WRONG, (), float(bool(self.file_fault))
        for name, versions in entries.items():
            for version, entry in versions.items():
                yield metrics.VERSION_STATE, (name, str(version), state_of(entry)), 1
            for alias, version in self.aliases_of(name, versions).items():
                yield metrics.ALIAS_INFO, (name, str(version), alias), 1
            for version, weight in self.weights_of(name).items():
                yield metrics.TRAFFIC_WEIGHT, (name, str(version)), weight

    def close(self) -> None:
        """End all trials."""
        for trial in self._trials.values():
            trial.close()

    def _remember(self, name: str, version: int) -> None:
        others = [other for other in self._answered_last.get(name, []) if other != version]
        self._answered_last[name] = [version, *others][:16]

    def _try(self, name: str, versions: Mapping[int, Entry]) -> None:
        """Begin, end or leave alone the trial that the file asks for."""
        said, answering = self.of(name), self.answering.get(name)
        if name in self.shut_off and self.shut_off[name].said != said:
            del self.shut_off[name]
        parts = None
        if answering is not None and said.pin is None:
            canary = _ready(versions, said.canary) if name not in self.shut_off else None
            parts = Parts(said, answering, canary, _ready(versions, said.shadow))
        trial = self._trials.get(name)
        if trial is not None and trial.parts == parts:
            return
        if trial is not None:
            self._trials.pop(name).close()
            self.splits.pop(name, None)
        if parts is not None and (parts.canary or parts.shadow):
            trial = self._trials[name] = Trial(
                parts, self._metrics, partial(self._shut_off, name, versions), self._samples
            )
            if trial.split is not None:
                self.splits[name] = trial.split

    def _shut_off(self, name: str, versions: Mapping[int, Entry], limit: str, reason: str) -> None:
        said = self.of(name)
        log.warning(
            "%s: canary version %s gets no more traffic: %s; take it out of the roll-out file before the next start",
            name,
            said.canary,
            reason,
        )
        self._metrics.canary_shut_off(name, said.canary or 0, limit)
        self.shut_off[name] = ShutOff(said, reason)
        self._try(name, versions)


def _ready(versions: Mapping[int, Entry], version: int | None) -> Classifier | None:
    entry = versions.get(version) if version is not None else None
    return entry if isinstance(entry, Classifier) else None


def _still(versions: Mapping[int, Entry], classifier: Classifier | None) -> Classifier | None:
    """What answered before, as long as it is loaded."""
    return classifier if classifier is not None and versions.get(classifier.card.version) is classifier else None


def _may_answer(entry: Entry) -> bool:
    """Whether it answers, or will once the server has started."""
    return not (isinstance(entry, Broken | Retired) or (isinstance(entry, Loading) and entry.at_run_time))
