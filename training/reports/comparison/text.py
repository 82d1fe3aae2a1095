"""A comparison as lines for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from training.evaluation.comparison.record import Comparison, Figures, LabelChanges

SHOWN = 10  # classes; the JSON and the page have all
WIDE = 0.1  # an interval wider than this comes of few images

_NOT_MEASURED = "-"

Row = tuple[str, ...]


def lines(found: Comparison) -> list[str]:
    """The whole comparison: data, figures side by side, where they disagree, and the classes that changed most."""
    data = found.data
    head = [f"{data.images:,} images of {data.name}, {data.split}", *notes(found), ""]
    return [*head, *_aligned(figure_rows(found)), "", *_pair_lines(found), *_class_lines(found)]


def notes(found: Comparison) -> list[str]:
    """What a reader has to know of the images and the labels."""
    data, said = found.data, []
    if data.left_out:
        said.append(f"left out, since a version was fitted or chosen on them: {data.left_out:,} images")
    if data.unknown_to:
        versions = " and ".join(map(str, data.unknown_to))
        said.append(f"not known: whether version {versions} was fitted on some of them; no list of its images is kept")
    if data.skipped:
        said.append(f"files skipped: {data.skipped:,}")
    if not found.labels.is_none:
        said.append(f"labels: {label_line(found.labels)}; compared on the common ones")
    if data.other_labels:
        said.append(f"left out, since not both versions have their labels: {data.other_labels:,} images")
    low, high = found.candidate.interval
    if high - low > WIDE:
        said.append(f"note: {data.images:,} images are few; of others {low:.0%} to {high:.0%} may be right")
    return said


def label_line(changes: LabelChanges) -> str:
    """As in `added cup; removed mug; reordered`."""
    named = (("added", changes.added), ("removed", changes.removed))
    said = [f"{what} {', '.join(labels)}" for what, labels in named if labels]
    return "; ".join([*said, *(["reordered"] if changes.reordered else [])])


def figure_rows(found: Comparison) -> list[Row]:
    """A head, then a row for each figure with a cell for each version."""
    versions = [found.candidate, *([found.baseline] if found.baseline else [])]
    rows: list[Row] = [("", *(each.title for each in versions))]
    cells = {name: tuple(map(text, versions)) for name, text in _FIGURES.items()}
    return [*rows, *((name, *texts) for name, texts in cells.items() if set(texts) != {_NOT_MEASURED})]


def pair_text(found: Comparison) -> str:
    """Where the versions disagree, and whether that may be chance; "" where there is one version."""
    if found.pairs is None or found.baseline is None:
        return ""
    pairs = found.pairs
    return (
        f"right: both {pairs.both:,}, only {found.candidate.title} {pairs.only_candidate:,}, "
        f"only {found.baseline.title} {pairs.only_baseline:,}, neither {pairs.neither:,} "
        f"(McNemar's exact test: p = {p_text(pairs.p_value)})"
    )


def p_text(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "under 0.0001"


def class_rows(found: Comparison) -> list[Row]:
    """A head, then every class: the largest loss first, then the order of columns."""
    if found.baseline is None:
        alone: list[Row] = [("class", "images", "recall")]
        return [*alone, *((each.label, f"{each.images:,}", f"{each.recall:.4f}") for each in found.classes)]
    head: Row = ("class", "images", found.candidate.title, found.baseline.title, "change")
    changed = sorted(found.classes, key=lambda each: each.change or 0.0)
    return [
        head,
        *(
            (
                each.label,
                f"{each.images:,}",
                f"{each.recall:.4f}",
                f"{(each.baseline or 0) / each.images:.4f}",
                f"{each.change or 0.0:+.4f}",
            )
            for each in changed
        ),
    ]


def _pair_lines(found: Comparison) -> list[str]:
    said = pair_text(found)
    return [said, ""] if said else []


def _class_lines(found: Comparison) -> list[str]:
    head, *rows = class_rows(found)
    if len(rows) <= SHOWN:
        return _aligned([head, *rows])
    half = SHOWN // 2
    shown = rows[:half] + rows[-half:] if found.baseline else rows[:SHOWN]
    return [*_aligned([head, *shown]), f"and {len(rows) - len(shown):,} more classes"]


def _aligned(rows: Sequence[Row]) -> list[str]:
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(wide[0]), *(cell.rjust(width) for cell, width in zip(row[1:], wide[1:], strict=True))])
        for row in rows
    ]


def _interval(each: Figures) -> str:
    return f"{each.interval[0]:.4f} to {each.interval[1]:.4f}"


def _memory(each: Figures) -> str:
    return _NOT_MEASURED if each.memory_bytes is None else f"{each.memory_bytes / 1e6:.1f} MB"


_FIGURES: dict[str, Callable[[Figures], str]] = {
    "accuracy": lambda each: f"{each.accuracy:.4f}",
    "95 % interval (Wilson)": _interval,
    "calibration error (ECE)": lambda each: f"{each.calibration_error:.4f}",
    "look unfamiliar": lambda each: "not said" if each.unfamiliar is None else f"{each.unfamiliar:.2%}",
    "one image, p50": lambda each: f"{each.p50_ms:.2f} ms",
    "memory": _memory,
    "size of model.onnx": lambda each: f"{each.size_bytes / 1e6:.1f} MB",
    "parameters": lambda each: f"{each.parameters:,}",
    "recipe": lambda each: each.recipe,
    "engine": lambda each: f"{each.engine}, {each.precision}",
}
