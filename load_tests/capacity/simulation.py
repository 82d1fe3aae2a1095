"""A discrete-event simulation of replicas behind a load balancer: what they answer, refuse, and how long it takes.

A replica works on one batch at a time: all that waits, up to `max_batch`. Images of a batch are answered together. An
image costs less in a larger batch. Beyond `queue_limit` waiting images a replica refuses. An autoscaler looks at how
busy the replicas were, asks for more or fewer, and has a new one only after a while.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Size(NamedTuple):
    """Images of one size: their part of all, and seconds that they cost a replica.

    `alone_s` are measured times of images that had a replica to themselves, of which one is drawn for each image.
    `full_s` is what one costs in a full batch, in the mean.
    """

    part: float
    alone_s: Sequence[float]
    full_s: float

    def cost_s(self, alone_s: float, batch: int, max_batch: int) -> float:
        """What an image costs in a batch of a size, if alone it would have cost so much."""
        least = self.full_s * len(self.alone_s) / math.fsum(self.alone_s)
        alone = 1.0 if max_batch == 1 else (1 / batch - 1 / max_batch) / (1 - 1 / max_batch)
        return alone_s * (least + (1 - least) * alone)


@dataclass(frozen=True)
class Autoscaler:
    """As many replicas as would be busy to `target`, by what was seen in the last `every_s` seconds.

    A new one is ready after `lag_s`. One is given up only where fewer were enough for `patience_s`.
    """

    least: int
    most: int
    target: float = 0.7
    every_s: float = 15.0
    lag_s: float = 30.0
    patience_s: float = 300.0


@dataclass(frozen=True)
class Fleet:
    """Replicas that are alike; each request goes to one of them by chance, as a Kubernetes service sends it."""

    replicas: int
    max_batch: int = 16
    queue_limit: int = 256
    autoscaler: Autoscaler | None = None


@dataclass
class Outcome:
    """`took_s` are the times of answered images in the order of their arrival; `replicas` who was ready, over time."""

    took_s: list[float]
    refused: int
    ended_s: float
    replicas: list[tuple[float, int]]

    @property
    def answered_per_s(self) -> float:
        return len(self.took_s) / self.ended_s if self.ended_s else 0.0

    def percentile_ms(self, percent: float) -> float:
        """By the nearest rank; 0 where nothing was answered."""
        by_time = sorted(self.took_s)
        return 1000 * by_time[max(0, math.ceil(percent / 100 * len(by_time)) - 1)] if by_time else 0.0


class _Image(NamedTuple):
    number: int
    came_s: float
    size: Size
    alone_s: float


@dataclass
class _Replica:
    queue: deque[_Image] = field(default_factory=deque)
    batch: list[_Image] = field(default_factory=list)
    began_s: float = 0.0
    busy_s: float = 0.0  # since the autoscaler looked


def simulate(fleet: Fleet, sizes: Sequence[Size], arrivals_s: Iterable[float], seed: int = 0) -> Outcome:
    """What becomes of images that come at these moments, seconds from the start and ascending."""
    return _Simulation(fleet, sizes, seed).outcome(iter(arrivals_s))


class _Simulation:
    def __init__(self, fleet: Fleet, sizes: Sequence[Size], seed: int) -> None:
        self._fleet = fleet
        self._sizes = sizes
        self._chance = random.Random(seed)
        self._replicas = [_Replica() for _ in range(fleet.replicas)]
        self._starting = 0
        self._enough_since_s = 0.0
        self._events: list[tuple[float, int, str, _Replica | None]] = []
        self._events_made = 0
        self._took_s: dict[int, float] = {}
        self._refused = 0
        self._ready = [(0.0, fleet.replicas)]
        self._working = 0

    def outcome(self, arrivals_s: Iterator[float]) -> Outcome:
        now = 0.0
        coming = next(arrivals_s, None)
        number = 0
        if self._fleet.autoscaler:
            self._at(self._fleet.autoscaler.every_s, "look")
        while coming is not None or self._working:
            if coming is not None and (not self._events or coming <= self._events[0][0]):
                now, coming = coming, next(arrivals_s, None)
                self._arrive(now, number)
                number += 1
            else:
                now, _, kind, replica = heapq.heappop(self._events)
                self._happen(now, kind, replica)
        return Outcome([self._took_s[n] for n in sorted(self._took_s)], self._refused, now, self._ready)

    def _at(self, moment_s: float, kind: str, replica: _Replica | None = None) -> None:
        self._events_made += 1
        heapq.heappush(self._events, (moment_s, self._events_made, kind, replica))

    def _arrive(self, now: float, number: int) -> None:
        replica = self._chance.choice(self._replicas)
        if len(replica.queue) >= self._fleet.queue_limit:
            self._refused += 1
            return
        size = self._chance.choices(self._sizes, [size.part for size in self._sizes])[0]
        replica.queue.append(_Image(number, now, size, self._chance.choice(size.alone_s)))
        if not replica.batch:
            self._start(now, replica)

    def _start(self, now: float, replica: _Replica) -> None:
        count = min(len(replica.queue), self._fleet.max_batch)
        replica.batch = [replica.queue.popleft() for _ in range(count)]
        replica.began_s = now
        self._working += 1
        cost_s = sum(image.size.cost_s(image.alone_s, count, self._fleet.max_batch) for image in replica.batch)
        self._at(now + cost_s, "done", replica)

    def _happen(self, now: float, kind: str, replica: _Replica | None) -> None:
        if kind == "look":
            self._look(now)
        elif kind == "ready":
            self._starting -= 1
            self._replicas.append(_Replica())
            self._ready.append((now, len(self._replicas)))
        elif replica is not None:
            self._took_s |= {image.number: now - image.came_s for image in replica.batch}
            replica.busy_s += now - replica.began_s
            replica.batch = []
            self._working -= 1
            if replica.queue:
                self._start(now, replica)

    def _look(self, now: float) -> None:
        scaler = self._fleet.autoscaler
        assert scaler is not None  # noqa: S101  (else nobody looks)
        self._at(now + scaler.every_s, "look")
        busy = 0.0
        for replica in self._replicas:
            if replica.batch:
                replica.busy_s += now - replica.began_s
                replica.began_s = now
            busy += replica.busy_s
            replica.busy_s = 0.0
        wanted = math.ceil(busy / scaler.every_s / scaler.target)
        wanted = min(max(wanted, scaler.least), scaler.most)
        there = len(self._replicas) + self._starting
        if wanted >= there:
            self._enough_since_s = now
        for _ in range(wanted - there):
            self._starting += 1
            self._at(now + scaler.lag_s, "ready")
        if now - self._enough_since_s >= scaler.patience_s:
            self._give_up(now, there - wanted)

    def _give_up(self, now: float, count: int) -> None:
        """Replicas that have nothing to do, as one that drains would."""
        idle = [replica for replica in self._replicas if not replica.batch][:count]
        self._replicas = [replica for replica in self._replicas if not any(replica is one for one in idle)]
        self._ready.append((now, len(self._replicas)))


def at_random(per_s: float, seconds: float, seed: int = 0) -> Iterator[float]:
    """Moments of a Poisson process: each arrival by itself, at a rate that stays."""
    chance, moment = random.Random(seed), 0.0
    while (moment := moment + chance.expovariate(per_s)) < seconds:
        yield moment
