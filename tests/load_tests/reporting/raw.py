"""Raw results as `make peers` and `make limit` keep them."""

from __future__ import annotations

from typing import Any

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
