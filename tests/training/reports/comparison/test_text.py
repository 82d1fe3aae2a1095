"""`training.reports.comparison.text`: what a person reads of a comparison."""

from __future__ import annotations

from tests.training.comparisons import comparison
from training.evaluation.comparison.record import ClassFigures, LabelChanges
from training.reports.comparison.text import SHOWN, lines


def classes(count: int) -> tuple[ClassFigures, ...]:
    """`class-0` falls most, the last one rises most."""
    return tuple(
        ClassFigures(label=f"class-{n}", images=100, candidate=50 + n, baseline=50 + count // 2) for n in range(count)
    )


def test_figures_stand_side_by_side_and_columns_are_aligned() -> None:
    said = lines(comparison(10, 4, candidate={"p50_ms": 1.5}))
    row = next(line for line in said if line.startswith("one image, p50"))
    assert row.split()[-4:] == ["1.50", "ms", "2.00", "ms"]
    table = [line for line in said if line.startswith(("accuracy", "parameters", "one image"))]
    assert len({len(line) for line in table}) == 1


def test_what_was_not_measured_has_no_row() -> None:
    assert not [line for line in lines(comparison()) if line.startswith("memory")]
    assert [line for line in lines(comparison(candidate={"memory_bytes": 12_300_000})) if "12.3 MB" in line]


def test_pairs_come_with_the_probability_that_they_are_chance() -> None:
    said = next(line for line in lines(comparison(10, 4)) if line.startswith("right:"))
    assert said == (
        "right: both 936, only cups version 2 10, only cups version 1 4, neither 50 (McNemar's exact test: p = 0.1796)"
    )
    assert "p = under 0.0001" in "\n".join(lines(comparison(100, 4)))


def test_of_many_classes_those_that_changed_most_are_shown() -> None:
    said = lines(comparison(classes=classes(30)))
    shown = [line.split()[0] for line in said if line.startswith("class-")]
    assert shown == [f"class-{n}" for n in (0, 1, 2, 3, 4, 25, 26, 27, 28, 29)]
    assert len(shown) == SHOWN
    assert said[-1] == "and 20 more classes"


def test_changed_labels_are_named() -> None:
    said = "\n".join(lines(comparison(labels=LabelChanges(added=("mug",), reordered=True))))
    assert "labels: added mug; reordered; compared on the common ones" in said


def test_a_version_alone_has_one_column() -> None:
    said = lines(comparison(alone=True, classes=classes(2)))
    assert not [line for line in said if "version 1" in line or line.startswith("right:")]
    assert said[-1].split() == ["class-1", "100", "0.5100"]
