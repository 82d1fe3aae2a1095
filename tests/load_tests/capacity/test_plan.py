"""`load_tests.capacity.plan`: replicas for a traffic."""

from __future__ import annotations

import pytest

from load_tests.capacity.plan import BUSY, BUSY_WITHOUT_A_ZONE, planned


def test_little_traffic_has_a_replica_in_each_zone():
    assert planned(1, 500).replicas == 3


@pytest.mark.parametrize("per_s", [10, 1_000, 100_000])
@pytest.mark.parametrize("capacity", [300, 4_000])
def test_two_of_three_zones_can_do_the_work(per_s: float, capacity: float):
    plan = planned(per_s, capacity)
    assert plan.replicas % 3 == 0
    assert per_s <= BUSY * capacity * plan.replicas
    assert per_s <= BUSY_WITHOUT_A_ZONE * capacity * plan.replicas * 2 / 3
    fewer = plan.replicas - 3
    assert per_s > min(BUSY * capacity * fewer, BUSY_WITHOUT_A_ZONE * capacity * fewer * 2 / 3)


def test_a_plan_says_what_it_takes():
    plan = planned(1_000, 500)
    assert (plan.replicas, plan.surge, plan.processors, plan.memory_gib) == (6, 1, 12, 3.0)
    assert plan.dollars_a_month == pytest.approx(730 * (12 * 0.04 + 3 * 0.005))
