"""`load_tests.capacity.simulation`: what replicas do with images that come at given moments."""

from __future__ import annotations

import pytest

from load_tests.capacity.simulation import Arrival, Autoscaler, Costs, Fleet, at_random, simulate

ONE_BY_ONE = Costs([[0.0]], {1: [0.010]})
IN_BATCHES = Costs([[0.002]], {1: [0.010], 2: [0.014], 4: [0.020]})


def at(*moments_s: float) -> list[Arrival]:
    return [Arrival(moment) for moment in moments_s]


def test_an_image_alone_takes_its_handling_and_a_batch_of_one():
    outcome = simulate(Fleet(1), IN_BATCHES, at(0.0, 1.0))
    assert outcome.took_s == pytest.approx([0.012, 0.012])
    assert outcome.ended_s == pytest.approx(1.012)


def test_what_waits_becomes_one_batch_that_is_answered_together():
    outcome = simulate(Fleet(1), IN_BATCHES, at(0.0, 0.003, 0.004))
    assert outcome.took_s == pytest.approx([0.016, 0.027, 0.026])


def test_handling_comes_before_the_batch_in_flight():
    outcome = simulate(Fleet(1), IN_BATCHES, at(0.0, 0.011))
    assert outcome.took_s == pytest.approx([0.014, 0.013])


def test_images_that_come_at_once_are_handled_before_a_batch_starts():
    outcome = simulate(Fleet(1), IN_BATCHES, at(0.0, 0.0))
    assert outcome.took_s == pytest.approx([0.018, 0.018])


def test_a_batch_has_one_of_the_measured_numbers_of_images():
    outcome = simulate(Fleet(1), IN_BATCHES, at(0.0, 0.0, 0.0))
    assert outcome.took_s == pytest.approx([0.020, 0.020, 0.030])


def test_the_size_of_a_picture_decides_what_its_handling_costs():
    costs = Costs([[0.001], [0.005]], {1: [0.010]})
    outcome = simulate(Fleet(1), costs, [Arrival(0.0, 0), Arrival(1.0, 1)])
    assert outcome.took_s == pytest.approx([0.011, 0.015])


def test_beyond_the_queue_limit_images_are_refused():
    outcome = simulate(Fleet(1, queue_limit=2), ONE_BY_ONE, at(*[0.0] * 5))
    assert (len(outcome.took_s), outcome.refused) == (2, 3)


def test_as_many_of_each_size_come_at_random():
    sizes = [size for _, size in at_random(100, 20, sizes=2)]
    assert sum(sizes) / len(sizes) == pytest.approx(0.5, abs=0.03)


def test_waiting_times_are_those_of_the_theory():
    """Of one server with fixed times and arrivals at random, in the mean: cost · load / 2 (1 - load)."""
    fleet, load = Fleet(1, queue_limit=10_000), 0.6
    outcome = simulate(fleet, ONE_BY_ONE, at_random(load / 0.010, 600))
    waited_s = sum(outcome.took_s) / len(outcome.took_s) - 0.010
    assert waited_s == pytest.approx(0.010 * load / (2 * (1 - load)), rel=0.1)
    assert outcome.answered_per_s == pytest.approx(load / 0.010, rel=0.03)


def test_an_autoscaler_adds_replicas_late_and_gives_them_up_later():
    scaler = Autoscaler(least=1, most=4, every_s=10, lag_s=20, patience_s=30)
    fleet = Fleet(1, queue_limit=100_000, autoscaler=scaler)
    busy = at_random(150, 100)
    quiet = (Arrival(100 + moment_s) for moment_s, _ in at_random(10, 200))
    outcome = simulate(fleet, ONE_BY_ONE, [*busy, *quiet])
    changes = outcome.replicas[1:]
    assert changes[0] == (30.0, 2)  # it looked after ten seconds, and the replica took twenty
    assert max(replicas for _, replicas in changes) in (3, 4)
    assert changes[-1][0] >= 130
    assert changes[-1][1] == 1


def test_percentiles_are_of_the_nearest_rank():
    outcome = simulate(Fleet(1), ONE_BY_ONE, at(*[0.0] * 100))
    assert outcome.percentile_ms(50) == pytest.approx(500)
    assert outcome.percentile_ms(99) == pytest.approx(990)
