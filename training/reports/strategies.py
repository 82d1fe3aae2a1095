"""The report's comparison of strategies: from scratch, on features of a pretrained network, fine-tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean
from typing import TypeAlias

from classifier.store import ONNX
from training.evaluation.points import POINTS, Point
from training.evaluation.speed import SPEED, SpeedRecord, VersionSpeed
from training.recipes import RECIPES
from training.reports.records import RecipeRecords
from training.reports.tables import NONE, brief, figure, linked, several, table

Address: TypeAlias = Callable[[str], str]  # where a file of the records is, seen from the report

SPLITS = ("validation", "test")
STRATEGIES = {  # of the same images; the first recipe is what the others are compared with
    "from scratch": "cats-vs-dogs-180-augmented",
    "features of a pretrained network": "cats-vs-dogs-features",
    "fine-tuned": "cats-vs-dogs-finetuned",
}
PICTURE = "images-per-class.png"

_STRATEGIES = """\
The same training, validation and test images, seen three ways. Seconds to train are those of the epochs and, for a
pretrained network, of computing its features once; a mean over the runs. Kilobytes are those of the ONNX file that is
served."""

_SPEED = """\
Images a second are answered by the engine alone, without decoding and HTTP ({engine}),
in batches of {batch}, {streams} streams: the median of {rounds} rounds of {seconds:g} s in which versions took turns.
{machine}, {finished}, commit `{commit}`, [raw record]({record}). In brackets: beside the first line."""

_IMAGES_PER_CLASS = """\
Every point is the mean test accuracy of fits on so many training images of each class, the bar from the lowest to the
highest. The images of a seed's smaller sets are among those of its larger. At most as many validation images choose the
epoch; the test images are always all. An epoch is one pass, and 16 batches at least. [Raw points]({points})."""


def strategies(ran: Sequence[RecipeRecords], speed: SpeedRecord | None, address: Address) -> list[str]:
    """The three strategies side by side, where two at least have run."""
    by_name = {records.recipe.name: records for records in ran}
    found = {words: by_name[name] for words, name in STRATEGIES.items() if name in by_name}
    if len(found) < 2:
        return []
    speeds = [_speed_of(records, speed) for records in found.values()]
    rows = [_strategy(words, found[words], each, speeds[0]) for words, each in zip(found, speeds, strict=True)]
    header = "strategy | recipe | validation | test | n | parameters | seconds to train | images/s | kilobytes"
    return ["## Three strategies", _STRATEGIES, table(header, rows), *_speed_note(speed, speeds, address(SPEED))]


def _speed_note(speed: SpeedRecord | None, speeds: Sequence[VersionSpeed | None], record: str) -> list[str]:
    if speed is None or not any(speeds):
        return ["How many images a second they answer was not measured yet."]
    note = _SPEED.format(
        engine=several(f"{speed.engine} in {each.precision}" for each in speeds if each),
        batch=speed.batch_size,
        streams=speed.streams,
        rounds=len(speed.versions[0].rounds),
        seconds=speed.seconds_per_round,
        machine=speed.machine,
        finished=speed.finished,
        commit=speed.commit,
        record=record,
    )
    return [note]


def images_per_class(points: Sequence[Point], address: Address) -> list[str]:
    """Accuracy against the number of training images, where any point was measured."""
    if not points:
        return []
    counts = sorted({point.images for point in points})
    lines = dict.fromkeys(point.recipe for point in points)
    rows = [_images_row([point for point in points if point.recipe == name], counts) for name in lines]
    sizes = (f"{count:,} images" for count in counts)
    header = " | ".join(["recipe", *sizes, "seeds", "epochs", "data", "measured"])
    return [
        "## How many images it takes",
        _IMAGES_PER_CLASS.format(points=address(POINTS)),
        f"![Test accuracy against the number of training images]({address(PICTURE)})",
        table(header, rows),
    ]


def _speed_of(records: RecipeRecords, speed: SpeedRecord | None) -> VersionSpeed | None:
    return next((each for each in speed.versions if each.recipe == records.recipe.name), None) if speed else None


def _strategy(words: str, records: RecipeRecords, speed: VersionSpeed | None, first: VersionSpeed | None) -> list[str]:
    cards = [run.card for run in records.runs]
    beside = f" ({speed.images_per_second / first.images_per_second:.2f})" if speed and first else ""
    return [
        words,
        linked(records.recipe),
        *(figure(records.accuracies(split)) for split in SPLITS),
        str(len(cards)),
        several(f"{card.parameters:,}" for card in cards),
        f"{mean(run.seconds for run in records.runs):,.0f}",
        f"{speed.images_per_second:,.0f}{beside}" if speed else NONE,
        several(f"{card.files[ONNX].bytes / 1000:,.0f}" for card in cards if ONNX in card.files) or NONE,
    ]


def _epochs(points: Sequence[Point]) -> str:
    """How many epochs ran; where that differs, with the numbers of images it belongs to."""
    counts: dict[str, list[int]] = {}
    for point in sorted(points, key=lambda point: point.images):
        counts.setdefault(f"{point.epochs_run} of {point.epochs_planned}", []).append(point.images)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{epochs} for {', '.join(f'{n:,}' for n in dict.fromkeys(of))}" for epochs, of in counts.items())


def _images_row(points: Sequence[Point], counts: Sequence[int]) -> list[str]:
    accuracies = [[point.test_accuracy for point in points if point.images == count] for count in counts]
    recipe = RECIPES[points[0].recipe]
    return [
        f"`{recipe.name}`",
        *(figure(each) for each in accuracies),
        several(str(point.seed) for point in sorted(points, key=lambda point: point.seed)),
        _epochs(points),
        f"{brief(recipe.reader.name, points[0].fingerprint)}; {points[0].test_images:,} test images",
        several(f"{point.machine}, {point.finished}, `{point.commit}`" for point in points),
    ]
