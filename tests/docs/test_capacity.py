"""docs/capacity.md says what the raw results say."""

from __future__ import annotations

import pytest

from docs.tables import CAPACITY, written_capacity
from load_tests import record
from load_tests.capacity.tables import RAW

TEXT = CAPACITY.read_text(encoding="utf-8")


def test_the_tables_are_what_the_raw_results_say():
    assert written_capacity(TEXT) == TEXT, "run `make docs`"


@pytest.mark.skipif(not RAW.exists(), reason="python -m load_tests.capacity has not been run on a quiet machine yet")
def test_the_simulation_is_held_to_a_measured_run():
    for row in record.read(RAW)["compared"]:
        assert 0.9 <= row["ratio"]["per_s"] <= 1.1, row
        assert 0.7 <= row["ratio"]["p99_ms"] <= 1.3, row
