"""`training.releasing.rules`: a line for each rule that a comparison breaks, and none for one that keeps them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.comparisons import IMAGES, comparison
from training.evaluation.comparison.record import ClassFigures, Comparison, LabelChanges
from training.releasing.policy import Policy
from training.releasing.rules import broken_rules


def broken(found: Comparison, new_labels: bool = False, **limits: Any) -> list[str]:
    return broken_rules(found, Policy(**limits), new_labels=new_labels)


def cup(before: int, after: int, images: int = 100) -> tuple[ClassFigures, ...]:
    return (ClassFigures(label="cup", images=images, candidate=after, baseline=before),)


def test_an_equal_version_breaks_nothing() -> None:
    assert broken(comparison(5, 5, classes=cup(90, 90))) == []


def test_a_better_version_breaks_nothing() -> None:
    assert broken(comparison(100, 0)) == []


def test_fewer_right_answers_than_the_interval_allows_are_refused() -> None:
    (said,) = broken(comparison(0, 100))
    assert said == "accuracy: 0.8500 is below the 95 % interval of version 1, 0.9347 to 0.9619"


def test_a_small_loss_that_is_hardly_chance_is_refused() -> None:
    (said,) = broken(comparison(0, 6))
    assert said.startswith("accuracy: 0.9440 is below the 0.9500 of version 1, and hardly by chance")
    assert "p is 0.0312, the limit 0.05" in said


def test_a_loss_that_may_be_chance_is_released() -> None:
    assert broken(comparison(4, 9)) == []


def test_the_test_of_the_pairs_can_be_switched_off() -> None:
    assert broken(comparison(0, 6), significance=0.0) == []
    assert broken(comparison(0, 100), significance=0.0) != []
    assert broken(comparison(0, 100), significance=0.0, within_interval=False) == []


def test_a_class_may_fall_by_a_fiftieth_and_no_further() -> None:
    assert broken(comparison(classes=cup(92, 90))) == []
    (said,) = broken(comparison(classes=cup(92, 89)))
    assert said == "class cup: recall 0.8900 is 0.0300 lower (92 to 89 of 100 images); it may fall by 0.02"


@pytest.mark.parametrize(
    ("figures", "limits", "said"),
    [
        ({"calibration_error": 0.04}, {}, "calibration: ECE 0.0400 is 0.0300 higher; it may rise by 0.02"),
        ({"calibration_error": 0.02}, {"max_ece": 0.015}, "calibration: ECE 0.0200; it may be 0.015"),
        ({"p50_ms": 5.0}, {}, "time: an image takes 5.00 ms (p50), 2.5 times as long; it may take 2 times"),
        ({"p50_ms": 3.0}, {"max_p50_ms": 2.5}, "time: an image takes 3.00 ms (p50); it may take 2.5 ms"),
        ({"size_bytes": 3_000_000}, {}, "size: model.onnx has 3.0 MB, 3.0 times as much; it may have 2 times"),
        ({"size_bytes": 1_500_000}, {"max_size_mb": 1.2}, "size: model.onnx has 1.5 MB; it may have 1.2 MB"),
    ],
    ids=["ECE rises", "ECE", "slower", "slow", "larger", "large"],
)
def test_each_cost_has_its_limit(figures: dict[str, Any], limits: dict[str, Any], said: str) -> None:
    assert broken(comparison(candidate=figures), **limits) == [said]
    assert broken(comparison(), **limits) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (LabelChanges(added=("mug",)), "added mug"),
        (LabelChanges(removed=("jug", "pot")), "removed jug, pot"),
        (LabelChanges(reordered=True), "reordered"),
        (LabelChanges(added=("mug",), removed=("jug",), reordered=True), "added mug; removed jug; reordered"),
    ],
    ids=["added", "removed", "reordered", "all"],
)
def test_other_labels_are_refused_unless_they_are_wanted(changes: LabelChanges, said: str) -> None:
    found = comparison(labels=changes)
    assert broken(found) == [f"labels: {said}; clients rely on them. --new-labels allows that"]
    assert broken(found, new_labels=True) == []


def test_a_first_version_is_held_to_the_limits_that_need_no_other() -> None:
    alone = comparison(0, IMAGES - 50, alone=True, candidate={"calibration_error": 0.5, "p50_ms": 9.0})
    assert broken(alone) == []
    assert broken(alone, max_ece=0.1, max_p50_ms=1.0) == [
        "calibration: ECE 0.5000; it may be 0.1",
        "time: an image takes 9.00 ms (p50); it may take 1 ms",
    ]


def test_each_broken_rule_has_a_line_of_its_own() -> None:
    found = comparison(
        0, 100, classes=cup(90, 0), candidate={"size_bytes": 9_000_000}, labels=LabelChanges(added=("mug",))
    )
    assert [line.split(":")[0] for line in broken(found)] == ["accuracy", "class cup", "size", "labels"]
