"""A discrete-event simulation of replicas behind a load balancer: what they answer, refuse, and how long it takes.

A replica has one processor, and two kinds of work for it. Each image is handled by itself: received, decoded and
answered. The network runs for a batch of what waits. Handling comes first, as threads that mostly sleep do. So images
that come while a batch is in flight make it later. Images of a batch are answered together.

Beyond `queue_limit` waiting images a replica refuses. An autoscaler looks at how busy the replicas were, asks for more
or fewer, and has a new one only after a while.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Costs(NamedTuple):
    """Seconds of its processor that a replica was measured to take; for each piece of work one of them is drawn.

    `handling_s` are those of one image, by its size. `network_s` are those of a whole batch, by its number of images.
    Batches come in just these numbers, of which 1 must be one.
    """

    handling_s: Sequence[Sequence[float]]
    network_s: Mapping[int, Sequence[float]]


class Arrival(NamedTuple):
    """An image that comes: when, in seconds from the start, and which of the sizes it has."""

    moment_s: float
    size: int = 0


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


@dataclass
class _Replica:
    handled: deque[_Image] = field(default_factory=deque)  # in the order in which they came
    queue: deque[_Image] = field(default_factory=deque)
    batch: list[_Image] = field(default_factory=list)
    handles_until_s: float = 0.0
    batch_until_s: float = 0.0
    work_s: float = 0.0  # since the autoscaler looked

    @property
    def waiting(self) -> int:
        return len(self.handled) + len(self.queue)


def simulate(fleet: Fleet, costs: Costs, arrivals: Iterable[Arrival], seed: int = 0) -> Outcome:
    """What becomes of images that come at ascending moments."""
    return _Simulation(fleet, costs, seed).outcome(iter(arrivals))


class _Simulation:
    def __init__(self, fleet: Fleet, costs: Costs, seed: int) -> None:
        self._fleet = fleet
        self._costs = costs
        self._chance = random.Random(seed)
        self._replicas = [_Replica() for _ in range(fleet.replicas)]
        self._starting = 0
        self._enough_since_s = 0.0
        self._events: list[tuple[float, int, str, _Replica | None]] = []
        self._events_made = 0
        self._took_s: dict[int, float] = {}
        self._refused = 0
        self._ready = [(0.0, fleet.replicas)]

    def outcome(self, arrivals: Iterator[Arrival]) -> Outcome:
        now = 0.0
        coming = next(arrivals, None)
        number = 0
        if self._fleet.autoscaler:
            self._at(self._fleet.autoscaler.every_s, "look")
        while coming is not None or len(self._took_s) + self._refused < number:
            if coming is not None and (not self._events or coming.moment_s <= self._events[0][0]):
                now = coming.moment_s
                self._arrive(number, coming)
                coming = next(arrivals, None)
                number += 1
            else:
                now, _, kind, replica = heapq.heappop(self._events)
                self._happen(now, kind, replica)
        return Outcome([self._took_s[n] for n in sorted(self._took_s)], self._refused, now, self._ready)

    def _at(self, moment_s: float, kind: str, replica: _Replica | None = None) -> None:
        self._events_made += 1
        heapq.heappush(self._events, (moment_s, self._events_made, kind, replica))

    def _happen(self, now: float, kind: str, replica: _Replica | None) -> None:
        if kind == "look":
            self._look(now)
        elif kind == "ready":
            self._starting -= 1
            self._replicas.append(_Replica())
            self._ready.append((now, len(self._replicas)))
        elif replica is not None:
            if kind == "handled":
                replica.queue.append(replica.handled.popleft())
            else:
                self._end_batch(now, replica)
            if replica.queue and not replica.handled and not replica.batch:
                self._start_batch(now, replica)

    def _arrive(self, number: int, coming: Arrival) -> None:
        replica = self._chance.choice(self._replicas)
        if replica.waiting >= self._fleet.queue_limit:
            self._refused += 1
            return
        cost_s = self._chance.choice(self._costs.handling_s[coming.size])
        replica.work_s += cost_s
        replica.batch_until_s += cost_s  # of a batch in flight, which goes on afterwards
        replica.handles_until_s = max(coming.moment_s, replica.handles_until_s) + cost_s
        replica.handled.append(_Image(number, coming.moment_s))
        self._at(replica.handles_until_s, "handled", replica)

    def _start_batch(self, now: float, replica: _Replica) -> None:
        count = max(size for size in self._costs.network_s if size <= len(replica.queue))
        replica.batch = [replica.queue.popleft() for _ in range(count)]
        cost_s = self._chance.choice(self._costs.network_s[count])
        replica.work_s += cost_s
        replica.batch_until_s = now + cost_s
        self._at(replica.batch_until_s, "done", replica)

    def _end_batch(self, now: float, replica: _Replica) -> None:
        if replica.batch_until_s > now:  # images came meanwhile
            self._at(replica.batch_until_s, "done", replica)
            return
        self._took_s |= {image.number: now - image.came_s for image in replica.batch}
        replica.batch = []

    def _look(self, now: float) -> None:
        scaler = self._fleet.autoscaler
        assert scaler is not None  # noqa: S101  (else nobody looks)
        self._at(now + scaler.every_s, "look")
        work_s = sum(replica.work_s for replica in self._replicas)
        for replica in self._replicas:
            replica.work_s = 0.0
        wanted = math.ceil(work_s / scaler.every_s / scaler.target)
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
        idle = [replica for replica in self._replicas if not (replica.batch or replica.waiting)][:count]
        self._replicas = [replica for replica in self._replicas if not any(replica is one for one in idle)]
        self._ready.append((now, len(self._replicas)))


def at_random(per_s: float, seconds: float, sizes: int = 1, seed: int = 0) -> Iterator[Arrival]:
    """A Poisson process: each arrival by itself, at a rate that stays; as many of each size."""
    chance, moment = random.Random(seed), 0.0
    while (moment := moment + chance.expovariate(per_s)) < seconds:
        yield Arrival(moment, chance.randrange(sizes))
