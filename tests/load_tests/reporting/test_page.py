"""Raw results to tables."""

from __future__ import annotations

from typing import Literal

import pytest

from docs.tables import PERFORMANCE, performance_page
from load_tests.peers import PEERS
from load_tests.reporting.figures import Results
from load_tests.reporting.page import (
    NOT_YET,
    half_table,
    missed,
    performance,
    precision_table,
    served_table,
    summary,
)
from load_tests.reporting.targets import Target
from tests.load_tests.reporting.raw import limit, raw, run


def test_our_share_of_the_limit_and_our_multiple_of_a_peer_are_shown():
    results = Results(raw(run("sightline", per_s=200), run(per_s=100)), limit())
    text = "\n".join(performance(results))
    assert "| `asl` | 28x28 | 32 | mosec, 1 worker | 100 | 5.00 | 9.00 | 0 | 50 | 2.00 | 0.25 |" in text


def test_a_table_comes_with_its_machine_commit_repetitions_and_versions():
    text = "\n".join(performance(Results(raw(run("sightline")))))
    for said in ("n=1 rounds x 3 s", "a processor, 2 cores", "2026-01-02", "commit abc", "openvino 1", "mosec 2"):
        assert said in text


def test_the_page_and_the_summary_name_the_versions_that_were_measured():
    results = Results(raw(run("sightline", version=3)))
    for lines in (performance(results), summary(results)):
        assert "Measured: `asl` 3." in "\n".join(lines)


def test_what_is_missed_is_counted_and_named_and_what_is_met_is_not():
    lines = missed([Target("a ÷ b", 0.9, 1, at_most=False), Target("ready, s", 3, 5)])
    assert lines[0].startswith("1 of 2 targets.")
    assert lines[2:] == ["- a ÷ b: 0.9, wanted ≥ 1."]


def test_servers_that_were_measured_less_often_are_named():
    text = "\n".join(performance(Results(raw(run("sightline"), run("sightline", number=2), run()))))
    assert "n=2 rounds (mosec 1) x 3 s" in text


def test_the_summary_has_a_column_for_every_server_that_ran():
    text = "\n".join(summary(Results(raw(run("sightline", per_s=1234), run()))))
    assert "| model | image | connections | sightline | mosec |" in text
    assert "| `asl` | 28x28 | 32 | 1,234 (9 ms) | 100 (9 ms) |" in text


def test_without_a_run_the_pages_say_so():
    nothing = Results()
    assert summary(nothing) == NOT_YET
    assert NOT_YET[0] in performance(nothing)


def test_half_of_capacity_shows_the_steps_of_all_and_of_the_slowest():
    steps, slowest = ({"decode": ms, "queue": 2 * ms, "infer": 3 * ms, "rest": 4 * ms} for ms in (0.1, 1.0))
    seen = {"offered_per_s": 1234.0, "p50_ms": 1.5, "p99_ms": 6.0, "steps_ms": steps, "slowest_steps_ms": slowest}
    row = {"round": 1, "model": "asl", "image": "28x28", "one": {"p50_ms": 0.3}, "evenly": seen, "randomly": seen}
    head, _, evenly, randomly, _, rounds = half_table({"half": {"seconds": 6, "rows": [row]}})
    assert rounds.startswith("n=1 rounds x 6 s")
    assert head.endswith("| decode | queue | infer | rest |")
    said = "1,234 | 0.30 | 1.50 | 6.00 | 0.10 (1.00) | 0.20 (2.00) | 0.30 (3.00) | 0.40 (4.00) |"
    assert evenly == f"| `asl` | 28x28 | evenly spaced | {said}"
    assert randomly == f"| `asl` | 28x28 | at random times | {said}"


def test_the_page_says_when_and_where_each_part_ran():
    soak = {"boot": {"ready_s": [1.0], "date": "2026-01-02T03:04:05Z", "commit": "abc", "machine": "a processor"}}
    assert "- boot: 2026-01-02, commit abc, a processor." in performance(Results(soak=soak))


@pytest.mark.parametrize("name", PEERS)
def test_the_page_says_how_each_peer_is_run(name: str):
    assert f"- {name}: {PEERS[name].about}." in performance(Results(raw(run(name))))


def test_the_page_is_what_the_raw_results_say():
    assert PERFORMANCE.read_text(encoding="utf-8") == performance_page(), "run `make docs`"


@pytest.mark.parametrize("reduced", ["bfloat16", "int8"])
def test_what_a_reduced_precision_gains_is_the_ratio_of_medians(reduced: Literal["bfloat16", "int8"]):
    per_s = {"float32": [100.0, 90.0, 300.0], reduced: [150.0, 150.0, 150.0]}
    found = {"batch": 16, "seconds": 2.0, "versions": [{"model": "asl", "version": 1, "per_s": per_s}]}
    lines = "\n".join(precision_table(found, reduced))
    assert "| `asl` 1 | 100 | 150 | 1.50 |" in lines
    assert "batches of 16; n=3 rounds x 2 s" in lines


def test_what_int8_gains_over_http_is_shown_with_both_precisions_and_the_interval_of_the_pairs():
    model = {"version": 3, "precision": "int8", "other_precision": "float32"}
    one = {"model": "asl", "image": "28x28", "connections": 32, "ours_per_s": 1200.0, "other_per_s": 1000.0}
    one |= {"ratio_of_medians": 1.2, "interval": [1.1, 1.25], "pair_ratios": [1.1, 1.2, 1.25]}
    lines = "\n".join(served_table({"models": {"asl": model}, "seconds": 2.0, "comparisons": [one]}))
    assert "| `asl` 3 | 28x28 | 32 | int8 1,200 | float32 1,000 | 1.20 | 1.10 to 1.25 |" in lines
    assert "n=3 x 2 s" in lines
