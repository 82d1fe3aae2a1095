"""`docs/reproduction.md`: what the articles state and what was reached here, from the records of runs alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from training.evaluation.folds import FOLDS, FoldsRecord
from training.evaluation.points import POINTS, Point, read_points
from training.evaluation.rates import RATES, RatesRecord
from training.evaluation.speed import SPEED, SpeedRecord, read_speed
from training.recipes import RECIPES
from training.recipes.recipe import Recipe, RecipeError
from training.reports.data_copies import COPIES
from training.reports.plots import draw_curves, draw_images_per_class
from training.reports.records import RecipeRecords, RunRecord, read_records
from training.reports.strategies import PICTURE, SPLITS, images_per_class, strategies
from training.reports.tables import NONE, brief, figure, linked, several, table

TOLERANCE = 0.03  # a recipe that is further from its article's figure is said to be

_HEAD = """\
# Reproduction of the articles

Written by `python -m training report` from the [records of the runs]({records}) and from nothing else; do not edit it.

Accuracies are those of the kept epoch, measured in float32 with the network that is saved. Test images were used
neither to train nor to choose an epoch. n runs are from n seeds and given as their mean (lowest to highest). Seconds
are wall-clock time spent in the epochs, on machines that may have had other work to do. Each run's machine, date,
commit and raw record stand below, in the section of its recipe."""

_AT_A_GLANCE = """\
The difference is the mean here less the article's figure, on the split that the article states."""

_TOOK = """\
Kept is the epoch with the lowest validation loss, or the last where the recipe says so. The one with the highest
validation accuracy, as the training network measured it, stands beside it. Of several runs each has its own, in the
order of seeds; seconds are their mean."""

_AUGMENTATION = """\
The accuracy with augmentation less that without; else both runs are the same, but for what the article changes with it
(the recipe's file says what)."""

_RATES = """\
Images a second of shuffling and augmentation alone, of the network alone, which trains on one batch over and over, and
of a fit, which is both: medians of n rounds in which the three took turns, on an idle machine. A fit that is much
slower than the slower of the two would say that they wait for each other; both want the same processors, so it cannot
be quite as fast."""

_CROSS_VALIDATION = """\
Training and validation images are dealt anew into K parts. Each of K networks is validated on another part, and all are
tested on the same test images. Mean ± sample standard deviation over the networks."""


def write_report(records: Path, out: Path) -> Path:
    """Write the report and draw its pictures; the same records give the same bytes. Returns `out`."""
    found, points, speed = read_records(records), read_points(records / POINTS), read_speed(records / SPEED)
    if strange := {point.recipe for point in points} - RECIPES.keys():
        raise RecipeError(f"{records / POINTS}: {', '.join(sorted(strange))} is no recipe")
    if points:
        models = {recipe.name: recipe.model for recipe in RECIPES.values()}
        draw_images_per_class(points, models, records / PICTURE)
    for run in (run for recipe in found for run in recipe.runs):
        draw_curves(run.history, run.kept, run.folder / "curves.png", f"{run.card.recipe}, seed {run.seed}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_Report(records, out.parent).text(found, points, speed), encoding="utf-8", newline="\n")
    return out


class _Report:
    """The text, with paths relative to the folder `home` that it is to lie in."""

    def __init__(self, records: Path, home: Path) -> None:
        self.records = records
        self.home = home

    def text(self, found: Sequence[RecipeRecords], points: Sequence[Point], speed: SpeedRecord | None) -> str:
        ran = [records for records in found if records.runs]
        blocks = [
            _HEAD.format(records=self.address(self.records)),
            *_at_a_glance(found, ran),
            *_what_it_took(ran),
            *self.rates(found),
            *strategies(ran, speed, self.address_of_record),
            *images_per_class(points, self.address_of_record),
            *_augmentation(ran),
            *self.cross_validation(found),
            *_data(ran),
            *(block for records in ran for block in self.recipe(records)),
        ]
        return "\n\n".join(blocks) + "\n"

    def address(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.home)).as_posix()

    def address_of_record(self, name: str) -> str:
        return self.address(self.records / name)

    def link(self, path: Path, words: str) -> str:
        return f"[{words}]({self.address(path)})"

    def rates(self, found: Sequence[RecipeRecords]) -> list[str]:
        header = (
            "recipe | augmentation | network | fit | fit ÷ the slower | n | batches | precision | finished | machine | "
            "commit | record"
        )
        rows = [self.rates_row(records.recipe, records.rates) for records in found if records.rates]
        return ["## How fast images go through", _RATES, table(header, rows)] if rows else []

    def rates_row(self, recipe: Recipe, record: RatesRecord) -> list[str]:
        rates = record.rates
        return [
            recipe.name,
            *(f"{rate:,.0f}" for rate in (rates.pipeline, rates.network, rates.both)),
            f"{record.both_of_slower:.3f}",
            str(len(record.rounds)),
            f"{record.batches} of {record.batch_size}",
            record.precision,
            record.finished,
            record.machine,
            f"`{record.commit}`",
            self.link(self.records / recipe.name / RATES, RATES),
        ]

    def cross_validation(self, found: Sequence[RecipeRecords]) -> list[str]:
        rows = [self.fold_row(folder, record) for records in found for folder, record in records.folds]
        header = (
            "recipe | folds | validation | test | epochs | seconds | precision | finished | machine | commit | data | "
            "record"
        )
        return ["## Cross-validation", _CROSS_VALIDATION, table(header, rows)] if rows else []

    def fold_row(self, folder: Path, record: FoldsRecord) -> list[str]:
        return [
            record.recipe,
            f"{len(record.folds)}, seed {record.seed}",
            *(_spread(record, split) for split in SPLITS),
            several(f"{fold.epochs_run} of {record.epochs_planned}" for fold in record.folds),
            f"{sum(fold.seconds for fold in record.folds):,.0f}",
            record.precision,
            record.finished,
            record.machine,
            f"`{record.commit}`",
            brief(record.dataset.name, record.dataset.fingerprint),
            self.link(folder / FOLDS, FOLDS),
        ]

    def recipe(self, records: RecipeRecords) -> list[str]:
        header = (
            "seed | images: train, validation, test | validation | test | kept epoch | highest validation accuracy | "
            "epochs | seconds | precision | finished | machine | commit | record"
        )
        return [
            f"## {records.recipe.name}",
            *_verdict(records),
            *([records.notes] if records.notes else []),
            table(header, [self.run_row(run) for run in records.runs]),
            *_checks(records.runs),
            *(picture for run in records.runs for picture in self.pictures(run)),
        ]

    def run_row(self, run: RunRecord) -> list[str]:
        training, metrics = run.card.training, run.card.metrics
        images = training.dataset.images
        return [
            str(run.seed),
            ", ".join(f"{images[split]:,}" for split in ("train", *SPLITS) if split in images),
            *(f"{metrics[split].accuracy:.4f}" if split in metrics else NONE for split in SPLITS),
            f"{run.kept.epoch} (loss {run.kept.val_loss:.4f})",
            f"{run.most_accurate.val_accuracy:.4f} in epoch {run.most_accurate.epoch}",
            str(training.epochs_run),
            f"{training.seconds:,.0f}",
            training.precision,
            training.finished or "not recorded",
            training.machine or "not recorded",
            f"`{training.commit}`",
            f"{self.link(run.folder / 'card.json', 'card')}, {self.link(run.folder / 'history.csv', 'history')}",
        ]

    def pictures(self, run: RunRecord) -> list[str]:
        what = {"curves.png": "learning curves", "confusion.png": "confusion matrix"}
        return [
            f"![{run.card.recipe}, seed {run.seed}: {words}]({self.address(run.folder / file)})"
            for file, words in what.items()
            if (run.folder / file).is_file()
        ]


def _at_a_glance(found: Sequence[RecipeRecords], ran: Sequence[RecipeRecords]) -> list[str]:
    blocks = ["## At a glance"]
    if ran:
        header = "recipe | article | validation | test | difference | n | data"
        blocks += [table(header, [_glance(records) for records in ran]), _AT_A_GLANCE]
    if far := [_far(records, records.difference) for records in ran if _is_far(records.difference)]:
        blocks.append(f"**Further than {TOLERANCE} from the article:** {'; '.join(far)}.")
    elif ran:
        blocks.append(f"No recipe that has run is further than {TOLERANCE} from its article's figure.")
    if missing := [records.recipe.name for records in found if not records.runs]:
        blocks.append(f"Not run yet: {', '.join(missing)}.")
    return blocks


def _glance(records: RecipeRecords) -> list[str]:
    return [
        linked(records.recipe),
        _stated(records.recipe),
        *(figure(records.accuracies(split)) for split in SPLITS),
        NONE if records.difference is None else f"{records.difference:+.4f}",
        str(len(records.runs)),
        _copies(records),
    ]


def _copies(records: RecipeRecords) -> str:
    sets = [run.card.training.dataset for run in records.runs]
    return several(brief(each.name, each.fingerprint) for each in sets)


def _stated(recipe: Recipe) -> str:
    said = recipe.article
    return "no figure" if said.accuracy is None else f"{said.split} {said.accuracy:g}"


def _is_far(difference: float | None) -> bool:
    return difference is not None and abs(difference) > TOLERANCE


def _far(records: RecipeRecords, difference: float | None) -> str:
    where = "above" if (difference or 0.0) > 0 else "below"
    return f"{linked(records.recipe)} is {abs(difference or 0.0):.4f} {where} {_stated(records.recipe)}"


def _what_it_took(ran: Sequence[RecipeRecords]) -> list[str]:
    header = "recipe | kept epoch | most accurate epoch | epochs run | seconds | parameters | precision"
    return ["## What it took", _TOOK, table(header, [_took(records) for records in ran])] if ran else []


def _took(records: RecipeRecords) -> list[str]:
    cards = [run.card for run in records.runs]
    tops = [run.most_accurate for run in records.runs]
    return [
        linked(records.recipe),
        ", ".join(str(run.kept.epoch) for run in records.runs),
        ", ".join(f"{top.epoch} ({top.val_accuracy:.4f})" for top in tops),
        several(f"{card.training.epochs_run} of {card.training.epochs_planned}" for card in cards),
        f"{mean(card.training.seconds for card in cards):,.0f}",
        several(f"{card.parameters:,}" for card in cards),
        several(card.training.precision for card in cards),
    ]


def _augmentation(ran: Sequence[RecipeRecords]) -> list[str]:
    """Each recipe beside its baseline, where both have run."""
    by_name = {records.recipe.name: records for records in ran}
    pairs = [(by_name.get(records.recipe.baseline or ""), records) for records in ran]
    rows = [_gain(one, other, split) for one, other in pairs if one for split in SPLITS]
    header = "recipe | split | without | with | gain | the article's gain | data"
    return ["## What augmentation gains", _AUGMENTATION, table(header, rows)] if rows else []


def _gain(without: RecipeRecords, augmented: RecipeRecords, split: str) -> list[str]:
    one, other = without.accuracies(split), augmented.accuracies(split)
    said, said_without = augmented.recipe.article, without.recipe.article
    stated = None
    if said.accuracy is not None and said_without.accuracy is not None and split == said.split == said_without.split:
        stated = said.accuracy - said_without.accuracy
    return [
        linked(augmented.recipe),
        split,
        f"{figure(one)}, n={len(one)}",
        f"{figure(other)}, n={len(other)}",
        f"{mean(other) - mean(one):+.4f}" if one and other else NONE,
        NONE if stated is None else f"{stated:+.4f}",
        _copies(augmented),
    ]


def _spread(record: FoldsRecord, split: str) -> str:
    spread = record.accuracy.get(split)
    return f"{spread.mean:.4f} ± {spread.deviation:.4f}" if spread else NONE


def _data(ran: Sequence[RecipeRecords]) -> list[str]:
    """How each data set that was used differs from the article's."""
    names = dict.fromkeys(records.recipe.reader.name for records in ran)
    return ["## The data", *(_data_set(name, ran) for name in names)] if names else []


def _data_set(name: str, ran: Sequence[RecipeRecords]) -> str:
    copy = COPIES.get(name)
    if copy is None:
        return f"**{name}.** How it differs from the article's is not known here."
    sets = [run.card.training.dataset for records in ran for run in records.runs if records.recipe.reader.name == name]
    known = copy.fingerprints | copy.official
    others = several(each.fingerprint[:12] for each in sets if each.fingerprint not in known)
    but = f" Some runs saw other pixels than these copies give: data sets {others} on their cards." if others else ""
    return f"**{name}.** {copy.differs}{but}"


def _verdict(records: RecipeRecords) -> list[str]:
    """What the article states, what came of it here, and what is to be known of the runs."""
    recipe, runs = records.recipe, records.runs
    by = f", {recipe.article.author}" if recipe.article.author else ""
    blocks = [f"*{recipe.article.title}*{by}: {_stated(recipe)}."]
    if records.difference is not None:
        ours = figure(records.accuracies(str(recipe.article.split)))
        near = f"**further than {TOLERANCE}**" if _is_far(records.difference) else f"within {TOLERANCE}"
        blocks.append(f"Here: {ours}, n={len(runs)}; {records.difference:+.4f} to the article's figure, {near}.")
    if len(runs) > 1:
        blocks.append(f"Best on validation: seed {records.best_on_validation.seed}.")
    if short := [f"seed {run.seed} ran {run.card.training.epochs_run}" for run in runs if run.is_short]:
        blocks.append(f"**Not the whole schedule of {recipe.epochs} epochs:** {', '.join(short)}.")
    return blocks


def _checks(runs: Sequence[RunRecord]) -> list[str]:
    """What the saved ONNX file answers, beside the Keras network."""
    rows = [
        [
            str(run.seed),
            f"{check.engine}, {check.precision}",
            f"{check.images:,} of {check.split}",
            f"{check.same_top_class:.2%}",
            f"{check.accuracy:.4f} ({check.accuracy - check.reference_accuracy:+.4f})",
            f"{check.largest_difference:.1e}",
        ]
        for run in runs
        for check in run.card.checks
    ]
    header = "seed | engine | images | same answer | accuracy (change) | largest difference of a probability"
    return ["The saved ONNX network beside the Keras one in float32:", table(header, rows)] if rows else []
