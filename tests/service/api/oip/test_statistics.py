from __future__ import annotations

import pytest

from service.inference.statistics import BatchTimes, Statistics


def test_a_batch_counts_once_as_execution_and_as_many_times_as_it_has_images() -> None:
    statistics = Statistics()
    statistics.ran(BatchTimes(decode_ns=[1, 2, 3], queue_ns=[10, 20, 30], stack_ns=5, infer_ns=100, output_ns=7))
    entry = statistics.as_json("asl", 2)
    assert (entry["name"], entry["version"]) == ("asl", "2")
    assert (entry["inference_count"], entry["execution_count"]) == (3, 1)
    stats = entry["inference_stats"]
    assert stats["queue"] == {"count": 3, "ns": 60}
    assert stats["compute_input"] == {"count": 3, "ns": 1 + 2 + 3 + 3 * 5}
    assert stats["compute_infer"] == {"count": 3, "ns": 300}  # each image waited for the whole batch
    assert stats["compute_output"] == {"count": 3, "ns": 21}


def test_batches_are_counted_by_their_size() -> None:
    statistics = Statistics()
    for images in (4, 1, 4):
        statistics.ran(BatchTimes([0] * images, [0] * images, stack_ns=1, infer_ns=10 * images, output_ns=2))
    assert statistics.as_json("asl", 1)["batch_stats"] == [
        {
            "batch_size": 1,
            "compute_input": {"count": 1, "ns": 1},
            "compute_infer": {"count": 1, "ns": 10},
            "compute_output": {"count": 1, "ns": 2},
        },
        {
            "batch_size": 4,
            "compute_input": {"count": 2, "ns": 2},
            "compute_infer": {"count": 2, "ns": 80},
            "compute_output": {"count": 2, "ns": 4},
        },
    ]


def test_answered_failed_and_refused_images_are_counted() -> None:
    statistics = Statistics()
    with statistics.image():
        pass
    with pytest.raises(ZeroDivisionError), statistics.image():
        _ = 1 / 0
    statistics.refused(3)
    assert (statistics.success.count, statistics.fail.count) == (1, 4)
    assert statistics.success.ns > 0


def test_before_the_first_image_everything_is_zero() -> None:
    entry = Statistics().as_json("asl", 1)
    assert (entry["last_inference"], entry["inference_count"], entry["batch_stats"]) == (0, 0, [])
    assert set(entry["inference_stats"]) == {
        *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    }
