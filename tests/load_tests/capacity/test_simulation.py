"""`load_tests.capacity.simulation`: what replicas do with images that come at given moments."""

from __future__ import annotations

import pytest

from load_tests.capacity.simulation import Autoscaler, Fleet, Size, at_random, simulate

SIZE = Size(1.0, [0.010], 0.010)


def test_an_image_alone_takes_what_it_costs():
    outcome = simulate(Fleet(1), [SIZE], [0.0, 1.0])
    assert outcome.took_s == pytest.approx([0.010, 0.010])
    assert outcome.ended_s == pytest.approx(1.010)


def test_what_waits_becomes_one_batch_that_is_answered_together():
    outcome = simulate(Fleet(1), [SIZE], [0.0, 0.001, 0.002])
    assert outcome.took_s == pytest.approx([0.010, 0.029, 0.028])


def test_a_batch_is_no_larger_than_it_may_be():
    outcome = simulate(Fleet(1, max_batch=1), [SIZE], [0.0, 0.001, 0.002])
    assert outcome.took_s == pytest.approx([0.010, 0.019, 0.028])


def test_an_image_costs_less_in_a_full_batch():
    size = Size(1.0, [0.010], 0.004)
    assert size.cost_s(0.010, 1, 16) == pytest.approx(0.010)
    assert size.cost_s(0.010, 16, 16) == pytest.approx(0.004)
    assert 0.004 < size.cost_s(0.010, 4, 16) < 0.010


def test_beyond_the_queue_limit_images_are_refused():
    outcome = simulate(Fleet(1, max_batch=1, queue_limit=2), [SIZE], [0.0] * 5)
    assert (len(outcome.took_s), outcome.refused) == (3, 2)


def test_sizes_come_as_often_as_they_should():
    small, large = Size(0.75, [0.001], 0.001), Size(0.25, [0.003], 0.003)
    outcome = simulate(Fleet(1), [small, large], [float(n) for n in range(2_000)])
    assert sum(took > 0.002 for took in outcome.took_s) / 2_000 == pytest.approx(0.25, abs=0.03)


def test_waiting_times_are_those_of_the_theory():
    """Of one server with fixed times and arrivals at random, in the mean: cost · load / 2 (1 - load)."""
    fleet, load = Fleet(1, max_batch=1, queue_limit=10_000), 0.6
    outcome = simulate(fleet, [SIZE], at_random(load / 0.010, 600))
    waited_s = sum(outcome.took_s) / len(outcome.took_s) - 0.010
    assert waited_s == pytest.approx(0.010 * load / (2 * (1 - load)), rel=0.1)
    assert outcome.answered_per_s == pytest.approx(load / 0.010, rel=0.03)


def test_an_autoscaler_adds_replicas_late_and_gives_them_up_later():
    scaler = Autoscaler(least=1, most=4, every_s=10, lag_s=20, patience_s=30)
    fleet = Fleet(1, max_batch=1, queue_limit=100_000, autoscaler=scaler)
    busy = at_random(150, 100)
    quiet = (100 + moment for moment in at_random(10, 200))
    outcome = simulate(fleet, [SIZE], [*busy, *quiet])
    changes = outcome.replicas[1:]
    assert changes[0] == (30.0, 2)  # it looked after ten seconds, and the replica took twenty
    assert max(replicas for _, replicas in changes) in (3, 4)
    assert changes[-1][0] >= 130
    assert changes[-1][1] == 1


def test_percentiles_are_of_the_nearest_rank():
    outcome = simulate(Fleet(1, max_batch=1), [SIZE], [0.0] * 100)
    assert outcome.percentile_ms(50) == pytest.approx(500)
    assert outcome.percentile_ms(99) == pytest.approx(990)
