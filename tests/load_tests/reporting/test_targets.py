"""The targets, held against raw results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from load_tests.peers import PEERS
from load_tests.reporting.figures import Results
from load_tests.reporting.targets import OF_THE_LIMIT, TIMES, Target, every, process, survival
from load_tests.workload import IMAGES
from tests.load_tests.reporting.raw import limit, raw, run


def shown(targets: Iterable[Target]) -> str:
    return "\n".join(f"{a.name} | {a.bound} | {a.measured:.4g} | {'met' if a.kept else 'missed'}" for a in targets)


def test_our_share_of_what_one_process_does_is_a_target():
    lines = shown(every(Results(raw(run("sightline", per_s=200)), limit())))
    assert "asl 28x28, 32 connections: served ÷ in process | ≥ 0.5 | 0.5 | met" in lines


def test_a_missed_target_is_reported_as_missed():
    runs = [run("sightline", per_s=90, failures=1), run(per_s=100)]
    lines = shown(every(Results(raw(*runs))))
    assert "asl 28x28, 32 connections: ours ÷ mosec | ≥ 1 | 0.9 | missed" in lines
    assert "failed requests of ours | ≤ 0 | 1 | missed" in lines


def test_of_several_rounds_at_half_of_capacity_the_middle_one_is_reported():
    def a_round(number: int, p99_ms: float) -> dict[str, Any]:
        seen = {"p99_ms": p99_ms, "sent": 1, "statuses": {"200": 1}}
        case = {"round": number, "model": "asl", "image": "28x28"}
        return case | {"one": {"p50_ms": 2.0}, "evenly": seen, "randomly": seen}

    half = {"rows": [a_round(1, 90.0), a_round(2, 6.0), a_round(3, 4.0)]}
    lines = shown(every(Results(soak={"half": half})))
    assert "half of capacity evenly spaced: p99 ÷ median of one connection | ≤ 4 | 3 | met" in lines


def test_a_soak_is_held_to_its_targets():
    evenly = {"p99_ms": 6.0, "sent": 10, "statuses": {"200": 10}}
    randomly = {"p99_ms": 9.0, "sent": 10, "statuses": {"200": 9, "429": 1}}
    row = {"round": 1, "model": "asl", "image": "28x28", "one": {"p50_ms": 2.0}, "evenly": evenly, "randomly": randomly}
    memory = {"resident_mb": [100.0, *[300.0] * 18, 330.0]}  # the first tenth settles
    soak = {"boot": {"ready_s": [6.0, 1.0, 2.0]}, "half": {"rows": [row]}, "memory": memory}
    lines = shown(every(Results(soak=soak)))
    assert "process start to ready, s | ≤ 5 | 2 | met" in lines
    assert "half of capacity evenly spaced: p99 ÷ median of one connection | ≤ 4 | 3 | met" in lines
    assert "half of capacity at random times: p99 ÷ median of one connection | ≤ 4 | 4.5 | missed" in lines
    assert "half of capacity: requests not answered with 200 | ≤ 0 | 1 | missed" in lines
    assert "resident memory, MB | ≤ 400 | 330 | met" in lines
    assert "change under full load, share | ≤ 0.05 | 0.1 | missed" in lines


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


def test_what_the_server_survives_is_held_to_its_targets():
    lines = shown(survival({"flood": FLOOD, "sigterm": {"n": 20, "lost": 0}, "hostile": HOSTILE, "claims": CLAIMS}))
    assert "floods of 1,000 requests: not answered with 200, 429 or 504 | ≤ 0 | 2 | missed" in lines
    assert "at four times capacity, n=1: goodput ÷ capacity | ≥ 0.9 | 0.95 | met" in lines
    assert "p99 of what was accepted, ms | ≤ 3000 | 2000 | met" in lines
    assert "beside it, n=1: loss of goodput | ≤ 0.1 | 0.2 | missed" in lines
    assert "20 SIGTERMs under load: accepted requests lost | ≤ 0 | 0 | met" in lines
    assert "1,000 hostile inputs: 5xx, hangs, lost connections | ≤ 0 | 1 | missed" in lines
    assert "hostile inputs: rise of memory, MB | ≤ 50 | 10 | met" in lines
    assert "longest, ms | ≤ 50 | 60 | missed" in lines


def test_the_client_is_held_to_its_target():
    client = {"images": 1000, "model": "asl", "ratio": 0.85}
    lines = shown(process({"client": client}))
    assert "predict_many of 1,000 images ÷ capacity, asl | ≥ 0.9 | 0.85 | missed" in lines


def test_bfloat16_is_held_to_its_targets():
    speeds = {"float32": [100.0, 90.0, 300.0], "bfloat16": [150.0, 150.0, 150.0]}
    accuracy = {"float32": 0.98, "bfloat16": 0.975}
    one = {"version": 1, "per_s": speeds, "accuracy": accuracy}
    found = {"batch": 16, "seconds": 2.0, "versions": [one | {"model": "cats-vs-dogs"}, one | {"model": "asl"}]}
    lines = shown(every(Results(limit={"runs": [], "precisions": found})))
    assert "cats-vs-dogs 1, the network alone: bfloat16 ÷ float32 | ≥ 1.6 | 1.5 | missed" in lines
    assert "asl 1, the network alone" not in lines
    assert "asl 1: change of accuracy in bfloat16 | ≤ 0.001 | 0.005 | missed" in lines


def test_every_target_names_a_peer_and_a_picture_that_exist():
    assert TIMES.keys() <= PEERS.keys()
    pairs = {(model, f"{width}x{height}") for model, sizes in IMAGES.items() for width, height in sizes}
    assert OF_THE_LIMIT.keys() <= pairs
