"""`report.md`: the fits on one's own data, from what `fit --record` kept of them, and from nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from classifier.card import Card, Metrics, read_card
from training.evaluation.folds import FOLDS, FoldsRecord, read_folds
from training.evaluation.points import POINTS, Point, read_points
from training.evaluation.speed import SPEED, SpeedRecord, read_speed
from training.recipes import FOR_ANY_IMAGES
from training.reports.tables import NONE, table

OWN_REPORT = "report.md"

_HEAD = """\
# Fits on your own data

Written by `sightline report` from the records that `fit --record` kept. Accuracies are those of the kept epoch on
images that were used neither to train nor to choose it. Intervals are 95 % (Wilson). Two fits compare only where their
data are the same: look at the column fingerprint."""

_RUNS = (
    "model | recipe | data | fingerprint | images | accuracy | interval | balanced | largest class | loss | epoch | "
    "seed | seconds | finished"
)


class OwnRun(NamedTuple):
    """One kept fit: the folder MODEL-VERSION and its card."""

    folder: Path
    card: Card

    @property
    def split(self) -> str:
        return "test" if "test" in self.card.metrics else "validation"

    @property
    def metrics(self) -> Metrics:
        return self.card.metrics[self.split]


def are_own(records: Path) -> bool:
    """Whether a folder keeps fits on somebody's own data, beside which those of the articles may lie too."""
    of_own_recipes = [path for name in FOR_ANY_IMAGES for path in records.glob(f"{name}/*/card.json")]
    return bool(of_own_recipes or [*records.glob("*/card.json"), *records.glob(f"*/{FOLDS}")])


def _kept_runs(records: Path) -> list[OwnRun]:
    """The fits kept there, by model and version. Raises BrokenModel for a card that cannot be read."""
    found = [OwnRun(path.parent, read_card(path)) for path in _both(records, "card.json")]
    return sorted(found, key=lambda run: (run.card.name, run.card.version, run.folder))


def _kept_folds(records: Path) -> list[tuple[Path, FoldsRecord]]:
    """The cross-validations kept there. Raises RecipeError for one that cannot be read."""
    return [(path.parent, read_folds(path)) for path in _both(records, FOLDS)]


def _both(records: Path, file: str) -> list[Path]:
    """Files of runs on own data, `MODEL-VERSION/`, and of those of the articles, `RECIPE/seed-N/`."""
    return sorted([*records.glob(f"*/{file}"), *records.glob(f"*/*/{file}")])


def write_own_report(records: Path, out: Path) -> Path:
    """Write the report; returns `out`. Learning curves and speeds count where they lie in `records` or beside it.

    Raises BrokenModel or RecipeError for a record that cannot be read.
    """
    beside = (records, records.parent)
    points = [read_points(path) for folder in beside for path in sorted(folder.glob(f"*{POINTS}"))]
    speeds = [speed for folder in beside if (speed := read_speed(folder / SPEED))]
    blocks = [
        _HEAD,
        *_runs(_kept_runs(records), out.parent),
        *_folds(_kept_folds(records)),
        *_points([point for found in points for point in found]),
        *_speeds(speeds),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n\n".join(blocks) + "\n", encoding="utf-8", newline="\n")
    return out


def _runs(runs: Sequence[OwnRun], home: Path) -> Iterator[str]:
    if runs:
        yield table(_RUNS, [_row(run) for run in runs])
    for run in runs:
        yield f"## {run.card.name} version {run.card.version}"
        recalls = zip(run.card.labels, run.metrics.recall or (), strict=False)
        yield table(f"class | recall on {run.split}", [(_cell(label), _number(recall)) for label, recall in recalls])
        pictures = [name for name in ("curves.png", "confusion.png") if (run.folder / name).is_file()]
        folder = Path(os.path.relpath(run.folder, home)).as_posix()
        yield "\n".join(f"![{name.removesuffix('.png')} of {run.folder.name}]({folder}/{name})" for name in pictures)


def _row(run: OwnRun) -> list[str]:
    card, training, found = run.card, run.card.training, run.metrics
    return [
        f"{card.name} {card.version}",
        card.recipe,
        _cell(training.dataset.name),
        training.dataset.fingerprint[:8],
        f"{found.images:,} {run.split}",
        _number(found.accuracy),
        f"{found.interval[0]:.4f} to {found.interval[1]:.4f}" if found.interval else NONE,
        _number(found.balanced_accuracy),
        _number(found.majority),
        _number(found.loss),
        f"{training.best_epoch} of {training.epochs_run}",
        str(training.seed),
        f"{training.seconds:,.1f}",
        training.finished or NONE,
    ]


def _folds(found: Sequence[tuple[Path, FoldsRecord]]) -> Iterator[str]:
    if found:
        yield "## Cross-validation"
        yield "Accuracy as mean ± sample standard deviation over the networks."
        header = "record | recipe | data | folds | validation | test"
        yield table(header, [_fold_row(folder, record) for folder, record in found])


def _fold_row(folder: Path, record: FoldsRecord) -> list[str]:
    spreads = [record.accuracy.get(split) for split in ("validation", "test")]
    figures = [f"{spread.mean:.4f} ± {spread.deviation:.4f}" if spread else NONE for spread in spreads]
    return [folder.name, record.recipe, _cell(record.dataset.name), str(len(record.folds)), *figures]


def _points(points: Sequence[Point]) -> Iterator[str]:
    if points:
        yield "## Accuracy by number of training images"
        keys = list(dict.fromkeys((point.recipe, point.fingerprint[:8], point.images) for point in points))
        alike = [[p for p in points if (p.recipe, p.fingerprint[:8], p.images) == key] for key in keys]
        rows = [
            [recipe, fingerprint, f"{images:,}", f"{mean(p.test_accuracy for p in group):.4f}", str(len(group))]
            for (recipe, fingerprint, images), group in zip(keys, alike, strict=True)
        ]
        yield table("recipe | fingerprint | images of each class | test accuracy, mean | n", rows)


def _speeds(records: Sequence[SpeedRecord]) -> Iterator[str]:
    for record in records:
        yield "## Images a second"
        yield f"{record.engine} in batches of {record.batch_size}, {record.streams} at once, on {record.machine}."
        rows = [
            [f"{each.model} {each.version}", each.recipe, each.precision, f"{each.images_per_second:,.0f}"]
            for each in record.versions
        ]
        yield table("model | recipe | precision | images a second, median", rows)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _cell(text: str) -> str:
    """A name in a table: a person may have put anything into it."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
