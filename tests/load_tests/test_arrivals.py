"""Promises of `load_tests.arrivals` that need no server."""

from __future__ import annotations

import itertools
import statistics

import pytest

from load_tests.arrivals import Answer, _moments, told

HEAD = b"HTTP/1.1 200 OK\r\nserver-timing: decode;dur=0.100, queue;dur=1.000, infer;dur=2.000\r\n\r\n{}"


@pytest.mark.parametrize("spaced", ["evenly", "randomly"])
def test_as_many_come_as_were_asked_for(spaced):
    moments = list(_moments(10, 1_000, spaced))
    assert len(moments) == pytest.approx(10_000, abs=500)
    assert moments == list(_moments(10, 1_000, spaced))  # so that two servers see the same
    gaps = [1_000 * (after - before) for before, after in itertools.pairwise([0.0, *moments])]
    assert statistics.fmean(gaps) == pytest.approx(1, rel=0.05)
    assert statistics.pstdev(gaps) == pytest.approx(0 if spaced == "evenly" else 1, abs=0.05)


def test_what_no_step_accounts_for_is_the_rest():
    answers = [Answer(0.004, 0.0, HEAD)] * 98 + [Answer(0.014, 0.001, HEAD.replace(b"queue;dur=1", b"queue;dur=9"))] * 2
    found = told(answers)
    assert found["steps_ms"] == {"decode": 0.1, "queue": 1.16, "infer": 2.0, "rest": 0.94}
    assert found["slowest_steps_ms"] == {"decode": 0.1, "queue": 9.0, "infer": 2.0, "rest": 2.9}
    assert (found["p50_ms"], found["p99_ms"], found["late_p99_ms"]) == (4.0, 14.0, 1.0)
    assert found["statuses"] == {"200": 100}


def test_a_refusal_has_no_steps():
    found = told([Answer(0.001, 0.0, b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}")])
    assert (found["statuses"], found["steps_ms"]["rest"]) == ({"429": 1}, 1.0)
