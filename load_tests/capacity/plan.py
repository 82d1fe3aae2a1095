"""How many replicas a traffic needs, by what one of them was measured to do."""

from __future__ import annotations

import math
from typing import NamedTuple

BUSY = 0.7  # the part of its capacity that a replica is used to, as the autoscaler keeps it
BUSY_WITHOUT_A_ZONE = 0.85  # for as long as one of three zones is lost
ZONES = 3
PROCESSORS = 2  # of a replica, as deploy/kubernetes asks for
MEMORY_GIB = 0.5
HOURS = 730  # of a month
PER_PROCESSOR_HOUR, PER_GIB_HOUR = 0.04, 0.005  # US dollars: a guess, for the order of magnitude


class Plan(NamedTuple):
    """Replicas that are always there, and one more, or a twentieth, while a new release takes the place of the old."""

    replicas: int
    surge: int

    @property
    def processors(self) -> int:
        return PROCESSORS * self.replicas

    @property
    def memory_gib(self) -> float:
        return MEMORY_GIB * self.replicas

    @property
    def dollars_a_month(self) -> float:
        return HOURS * (PER_PROCESSOR_HOUR * self.processors + PER_GIB_HOUR * self.memory_gib)


def planned(per_s: float, capacity_per_s: float) -> Plan:
    """For so many images a second, of which one replica does `capacity_per_s` at most.

    As many in every zone, so that two zones can do the work of three.
    """
    usual = per_s / (BUSY * capacity_per_s)
    in_two_zones = per_s / (BUSY_WITHOUT_A_ZONE * capacity_per_s)
    each = max(math.ceil(usual / ZONES), math.ceil(in_two_zones / (ZONES - 1)))
    return Plan(ZONES * each, max(1, math.ceil(ZONES * each / 20)))
