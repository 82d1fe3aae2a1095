"""What a check on a GPU found, as a section."""

from __future__ import annotations

from typing import Any

from load_tests.reporting.gpu import gpu_section


def one(same: float, **more: Any) -> dict[str, Any]:
    return {"agreement": {"n": 1000, "largest_difference": 2e-6, "same_top_class": same}, **more}


def raw(**more: Any) -> dict[str, Any]:
    fast, none = {"64 first_s": 1.0, "64 per_s": 3000.0}, {"64 first_s": "no time was left"}
    about = {
        "date": "2026-01-02T03:04:05Z",
        "commit": "abc",
        "machine": "a processor, 2 cores, load generator",
        "gpu": "X",
    }
    return {
        **about,
        "libraries": {"jax": "1"},
        "jax": {"asl@1": {"float32": one(1.0, **fast), "bfloat16": one(0.99, **none)}},
        "torch": {"asl@1": {"float32": one(1.0, **fast | {"64 per_s": 2000.0}), "bfloat16": one(0.997, **none)}},
        "memory": {"exit_status": -9},
        "http, 1 servers": {"left_out": [], "failed": "not ready"},
    } | more


def test_without_a_run_the_section_says_so() -> None:
    assert gpu_section(None) == ["Not measured yet: `load_tests/gpu.sh`."]


def test_speeds_stand_beside_those_of_pytorch_and_what_there_was_no_time_for_is_a_dash() -> None:
    lines = gpu_section(raw())
    assert "| `asl` 1 | float32 | JAX | 3,000 |" in lines
    assert "| `asl` 1 | float32 | PyTorch | 2,000 |" in lines
    assert "| `asl` 1 | bfloat16 | JAX | - |" in lines
    assert "JAX is 1.50 to 1.50 times as fast (wanted: 0.5 or more)." in lines


def test_a_precision_that_changes_more_classes_than_wanted_is_named() -> None:
    text = "\n".join(gpu_section(raw()))
    assert "| `asl` 1 | 2.0e-06 | 1.000 | 2.0e-06 | 0.990 |" in text
    assert "float32, a difference of 0.001 at most: kept." in text
    assert "**missed** by `asl` 1." in text
    assert "0.997 of `asl` 1" in text


def test_what_was_not_shown_is_said_until_it_is() -> None:
    missing = "\n".join(gpu_section(raw()))
    assert "Requests over HTTP" in missing
    assert "lack of the GPU's memory" in missing
    shown = raw(memory={"memory": {"provoked": True}}) | {"http, 1 servers": {"asl 1 connections": {"per_s": 5.0}}}
    assert "Requests over HTTP" not in "\n".join(gpu_section(shown))
    assert "lack of the GPU's memory" not in "\n".join(gpu_section(shown))


def test_the_section_says_how_the_check_ran() -> None:
    text = "\n".join(gpu_section(raw(arguments=["--total-s", "9"], xla_flags="--some=1")))
    assert "2026-01-02, commit abc; X; a processor, 2 cores." in text
    assert "`XLA_FLAGS=--some=1 load_tests/gpu.sh --total-s 9`" in text
