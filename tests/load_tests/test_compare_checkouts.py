"""Two checkouts side by side: what is made of the measurements. `tests/e2e/test_measurements.py` runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from load_tests import compare_checkouts
from load_tests.compare_checkouts import compared, interval_of_median, table


def runs(ours: list[float], other: list[float], connections: int = 1) -> list[dict[str, Any]]:
    load = {"model": "asl", "image": "28x28", "connections": connections}
    sides = {"ours": ours, "other": other}
    return [
        load | {"side": side, "pair": pair, "per_s": per_s}
        for side, rates in sides.items()
        for pair, per_s in enumerate(rates, 1)
    ]


def test_a_load_is_compared_by_its_medians_and_by_each_pair() -> None:
    (found,) = compared(runs([90.0, 100.0, 300.0], [100.0, 200.0, 100.0]))
    assert (found.ours_per_s, found.other_per_s, found.ratio_of_medians) == (100.0, 100.0, 1.0)
    assert found.pair_ratios == (0.9, 0.5, 3.0)
    assert found.interval == (0.5, 3.0)


def test_a_pair_that_only_one_side_has_measured_does_not_count() -> None:
    (found,) = compared(runs([90.0, 500.0], [100.0]))
    assert (found.ratio_of_medians, found.pair_ratios) == (0.9, (0.9,))


@pytest.mark.parametrize(("count", "left_out"), [(1, 0), (6, 0), (15, 3), (100, 40)])
def test_the_interval_of_a_median_leaves_out_as_many_values_at_either_end(count: int, left_out: int) -> None:
    descending = [float(value) for value in range(count, 0, -1)]
    assert interval_of_median(descending) == (1.0 + left_out, float(count - left_out))


def test_the_table_ends_with_the_least_ratio_and_where_it_was() -> None:
    lines = table(compared([*runs([100.0], [100.0]), *runs([95.0], [100.0], connections=32)]))
    assert lines[-1] == "least ratio of medians 0.950 (asl 28x28 at 32), n=1 pairs"
    assert len(lines) == 4


def test_a_folder_that_is_no_checkout_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_checkouts.measure, "require", lambda _: None)
    with pytest.raises(SystemExit, match="is no checkout of Sightline"):
        compare_checkouts.main([str(tmp_path)])
