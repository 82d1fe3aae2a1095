"""Raw results to tables."""

from __future__ import annotations

from typing import Any

import pytest

from docs.tables import PERFORMANCE, performance_page
from load_tests import bars
from load_tests.peers import IMAGES, PEERS
from load_tests.profile import REST, STEPS, shares
from load_tests.report import NOT_YET, Results, best, half_table, in_process, page, precision_table, summary

SESSION = {
    "date": "2026-01-02T03:04:05Z",
    "commit": "abc",
    "machine": "a processor, 2 cores",
    "seconds": 3,
    "versions": {"sightline": {"openvino": "1"}, "peers": {"mosec": "2"}},
}


def run(peer: str = "mosec", workers: int = 1, number: int = 1, per_s: float = 100, **more: Any) -> dict[str, Any]:
    load = {"model": "asl", "image": "28x28", "connections": 32, "version": 1, "precision": "float32", "session": 0}
    seen = {"per_s": per_s, "p50_ms": 5.0, "p99_ms": 9.0, "failures": 0, "memory_mb": 50.0}
    return {"peer": peer, "workers": workers, "round": number} | load | seen | more


def raw(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"sessions": [SESSION], "runs": list(runs)}


def limit(**more: Any) -> dict[str, Any]:
    run = {
        "model": "asl",
        "image": "28x28",
        "round": 1,
        "version": 1,
        "precision": "float32",
        "session": 0,
        "decode_per_s": 900.0,
    }
    speeds = {"infer_per_s": {"1": 500.0, "8": 800.0}, "both_per_s": {"1": 300.0, "8": 400.0}}
    session = SESSION | {"versions": {"openvino": "1"}}
    return {"sessions": [session], "runs": [run | speeds | {"latency_ms": {"p50": 2.0, "p99": 3.0}} | more]}


def test_a_figure_is_the_median_of_the_rounds():
    rows = best(raw(*(run(number=n, per_s=s, p99_ms=s) for n, s in ((1, 90), (2, 300), (3, 100)))))
    assert [(row.per_s, row.p99_ms, row.rounds) for row in rows] == [(100, 100, 3)]


def test_failures_add_up_and_the_most_memory_counts():
    (row,) = best(raw(run(failures=1, memory_mb=70), run(number=2, failures=2)))
    assert (row.failures, row.memory_mb) == (3, 70)


def test_of_one_and_two_workers_the_better_is_told():
    (row,) = best(raw(run(workers=1, per_s=100), run(workers=2, per_s=120)))
    assert row.workers == 2


def test_our_share_of_the_limit_and_our_multiple_of_a_peer_are_told():
    results = Results(raw(run("sightline", per_s=200), run(per_s=100)), limit(), None)
    text = "\n".join(page(results))
    assert "| `asl` | 28x28 | 32 | mosec, 1 worker | 100 | 5.00 | 9.00 | 0 | 50 | 2.00 | 0.25 |" in text
    assert "asl 28x28, 32 connections: served ÷ in process | ≥ 0.5 | 0.5 | met |" in text


def test_the_limit_is_that_of_the_best_batch_size():
    (found,) = in_process(limit()).values()
    assert (found.infer_per_s, found.both_per_s, found.batch) == (800, 400, 8)


def test_a_table_comes_with_its_machine_commit_repetitions_and_versions():
    text = "\n".join(page(Results(raw(run("sightline")), None, None)))
    for told in ("n=1 rounds x 3 s", "a processor, 2 cores", "2026-01-02", "commit abc", "openvino 1", "mosec 2"):
        assert told in text


def test_servers_that_were_measured_less_often_are_named():
    text = "\n".join(page(Results(raw(run("sightline"), run("sightline", number=2), run()), None, None)))
    assert "n=2 rounds (mosec 1) x 3 s" in text


def test_the_summary_has_a_column_for_every_server_that_ran():
    text = "\n".join(summary(Results(raw(run("sightline", per_s=1234), run()), None, None)))
    assert "| model | image | connections | sightline | mosec |" in text
    assert "| `asl` | 28x28 | 32 | 1,234 (9 ms) | 100 (9 ms) |" in text


def test_without_a_run_the_pages_say_so():
    nothing = Results(None, None, None)
    assert summary(nothing) == NOT_YET
    assert NOT_YET[0] in page(nothing)


def test_a_missed_aim_is_reported_as_missed():
    rows = best(raw(run("sightline", per_s=90, failures=1), run(per_s=100)))
    lines = "\n".join(bars.speed(rows, {}, None))
    assert "asl 28x28, 32 connections: ours ÷ mosec | ≥ 1 | 0.9 | **missed** |" in lines
    assert "failed requests of ours | ≤ 0 | 1 | **missed** |" in lines


def test_half_of_capacity_tells_the_steps_of_all_and_of_the_slowest():
    steps, slowest = ({"decode": ms, "queue": 2 * ms, "infer": 3 * ms, "rest": 4 * ms} for ms in (0.1, 1.0))
    seen = {"offered_per_s": 1234.0, "p50_ms": 1.5, "p99_ms": 6.0, "steps_ms": steps, "slowest_steps_ms": slowest}
    row = {"round": 1, "model": "asl", "image": "28x28", "one": {"p50_ms": 0.3}, "evenly": seen, "randomly": seen}
    head, _, evenly, randomly, _, rounds = half_table({"half": {"seconds": 6, "rows": [row]}})
    assert rounds.startswith("n=1 rounds x 6 s")
    assert head.endswith("| decode | queue | infer | rest |")
    told = "1,234 | 0.30 | 1.50 | 6.00 | 0.10 (1.00) | 0.20 (2.00) | 0.30 (3.00) | 0.40 (4.00) |"
    assert evenly == f"| `asl` | 28x28 | evenly spaced | {told}"
    assert randomly == f"| `asl` | 28x28 | at random times | {told}"


def test_of_several_rounds_at_half_of_capacity_the_middle_one_is_told():
    def a_round(number: int, p99_ms: float) -> dict[str, Any]:
        seen = {"p99_ms": p99_ms, "sent": 1, "statuses": {"200": 1}}
        place = {"round": number, "model": "asl", "image": "28x28"}
        return place | {"one": {"p50_ms": 2.0}, "evenly": seen, "randomly": seen}

    half = {"rows": [a_round(1, 90.0), a_round(2, 6.0), a_round(3, 4.0)]}
    lines = "\n".join(bars.speed([], {}, {"half": half}))
    assert "half of capacity evenly spaced: p99 ÷ median of one connection | ≤ 4 | 3 | met |" in lines


def test_a_soak_is_held_to_its_aims():
    evenly = {"p99_ms": 6.0, "sent": 10, "statuses": {"200": 10}}
    randomly = {"p99_ms": 9.0, "sent": 10, "statuses": {"200": 9, "429": 1}}
    row = {"round": 1, "model": "asl", "image": "28x28", "one": {"p50_ms": 2.0}, "evenly": evenly, "randomly": randomly}
    memory = {"resident_mb": [100.0, *[300.0] * 18, 330.0]}  # the first tenth settles
    soak = {"boot": {"ready_s": [6.0, 1.0, 2.0]}, "half": {"rows": [row]}, "memory": memory}
    lines = "\n".join(bars.speed([], {}, soak))
    assert "process start to ready, s | ≤ 5 | 2 | met |" in lines
    assert "half of capacity evenly spaced: p99 ÷ median of one connection | ≤ 4 | 3 | met |" in lines
    assert "half of capacity at random times: p99 ÷ median of one connection | ≤ 4 | 4.5 | **missed** |" in lines
    assert "half of capacity: requests not answered with 200 | ≤ 0 | 1 | **missed** |" in lines
    assert "resident memory, MB | ≤ 400 | 330 | met |" in lines
    assert "change under full load, share | ≤ 0.05 | 0.1 | **missed** |" in lines


FLOOD = {
    "rounds": [
        {
            "flooded": {"sent": 990, "statuses": {"200": 890, "429": 99}, "p99_ms": 1500.0},  # one was not answered
            "beside_stalled": {"sent": 10, "statuses": {"200": 9, "500": 1}, "p99_ms": 2000.0},
        }
    ],
    "deadline_ms": 3000,
    "goodput_of_capacity": 0.95,
    "change_by_stalled": 0.2,
}
HOSTILE = {
    "n": 1000,
    "statuses": {"200": 10, "415": 989, "500": 1},
    "resident_bytes": {"after": 300e6, "after_ordinary_pictures": 290e6},
}
CLAIMS = {"n": 2, "ms": {"a": [1.0, 60.0], "b": [2.0, 3.0]}, "peak_rise_bytes": 2_000_000}


def test_what_the_server_survives_is_held_to_its_aims():
    lines = "\n".join(
        bars.survival({"flood": FLOOD, "sigterm": {"n": 20, "lost": 0}, "hostile": HOSTILE, "claims": CLAIMS})
    )
    assert "floods of 1,000 requests: not answered with 200, 429 or 504 | ≤ 0 | 2 | **missed** |" in lines
    assert "at four times capacity, n=1: goodput ÷ capacity | ≥ 0.9 | 0.95 | met |" in lines
    assert "p99 of what was accepted, ms | ≤ 3000 | 2000 | met |" in lines
    assert "beside it, n=1: loss of goodput | ≤ 0.1 | 0.2 | **missed** |" in lines
    assert "20 SIGTERMs under load: accepted requests lost | ≤ 0 | 0 | met |" in lines
    assert "1,000 hostile inputs: 5xx, hangs, lost connections | ≤ 0 | 1 | **missed** |" in lines
    assert "hostile inputs: rise of memory, MB | ≤ 50 | 10 | met |" in lines
    assert "longest, ms | ≤ 50 | 60 | **missed** |" in lines


def test_the_client_and_the_page_are_held_to_their_aims():
    client = {"images": 1000, "model": "asl", "ratio": 0.85}
    lines = "\n".join(bars.doors(client, {"first_prediction_ms": [80.0, 120.0]}))
    assert "predict_many of 1,000 images ÷ capacity, asl | ≥ 0.9 | 0.85 | **missed** |" in lines
    assert "drop to first prediction, longest of 2, ms | ≤ 1000 | 120 | met |" in lines


def test_bfloat16_is_held_to_its_aims():
    speeds = {"float32": [100.0, 90.0, 300.0], "bfloat16": [150.0, 150.0, 150.0]}
    accuracy = {"float32": 0.98, "bfloat16": 0.975}
    one = {"version": 1, "per_s": speeds, "accuracy": accuracy}
    found = {"batch": 16, "seconds": 2.0, "versions": [one | {"model": "cats-vs-dogs"}, one | {"model": "asl"}]}
    lines = "\n".join([*bars.bfloat16(found), *precision_table(found)])
    assert "cats-vs-dogs 1, the network alone: bfloat16 ÷ float32 | ≥ 1.6 | 1.5 | **missed** |" in lines
    assert "asl 1, the network alone" not in lines
    assert "asl 1: change of accuracy in bfloat16 | ≤ 0.001 | 0.005 | **missed** |" in lines
    assert "| `asl` 1 | 100 | 150 | 1.50 |" in lines
    assert "batches of 16; n=3 rounds x 2 s" in lines


def test_the_page_tells_when_and_where_each_part_ran():
    soak = {"boot": {"ready_s": [1.0], "date": "2026-01-02T03:04:05Z", "commit": "abc", "machine": "a processor"}}
    assert "- boot: 2026-01-02, commit abc, a processor." in page(Results(None, None, soak))


def test_every_aim_names_a_peer_and_a_picture_that_exist():
    assert bars.TIMES.keys() <= PEERS.keys()
    pairs = {(model, f"{width}x{height}") for model, sizes in IMAGES.items() for width, height in sizes}
    assert bars.OF_THE_LIMIT.keys() <= pairs


@pytest.mark.parametrize("name", PEERS)
def test_the_page_says_how_each_peer_is_run(name: str):
    assert f"- {name}: {PEERS[name].about}." in page(Results(raw(run(name)), None, None))


def test_the_page_is_what_the_raw_results_say():
    assert PERFORMANCE.read_text(encoding="utf-8") == performance_page(), "run `make docs`"


def test_a_stack_counts_for_the_step_that_it_is_in_deepest():
    main = "run (uvicorn/server.py:86);data_received (service/server/fast_path.py:74)"
    found = shares(
        [
            f"{main};start (service/server/fast_path.py:151);decode (classifier/images.py:84) 6",
            f"{main};feed (uvicorn/protocols/http/httptools_impl.py:174) 2",
            "run (uvicorn/server.py:86) 2",
            "_answer_each (classifier/engines/openvino.py:150) 90",
        ]
    )
    assert found == dict.fromkeys((*STEPS, REST), 0.0) | {"decoding": 0.6, "reading HTTP": 0.2, REST: 0.2}
