"""Raw results to figures."""

from __future__ import annotations

from load_tests.reporting.figures import best, in_process
from tests.load_tests.reporting.raw import limit, raw, run


def test_a_figure_is_the_median_of_the_rounds():
    rows = best(raw(*(run(number=n, per_s=s, p99_ms=s) for n, s in ((1, 90), (2, 300), (3, 100)))))
    assert [(row.per_s, row.p99_ms, row.rounds) for row in rows] == [(100, 100, 3)]


def test_failures_add_up_and_the_most_memory_counts():
    (row,) = best(raw(run(failures=1, memory_mb=70), run(number=2, failures=2)))
    assert (row.failures, row.memory_mb) == (3, 70)


def test_of_one_and_two_workers_the_better_is_reported():
    (row,) = best(raw(run(workers=1, per_s=100), run(workers=2, per_s=120)))
    assert row.workers == 2


def test_the_limit_is_that_of_the_best_batch_size():
    (found,) = in_process(limit()).values()
    assert (found.infer_per_s, found.both_per_s, found.batch) == (800, 400, 8)
