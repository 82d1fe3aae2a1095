"""Classify image files: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."""

from __future__ import annotations

import contextlib
import csv
import json as json_text
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO, TypeAlias

import typer

from classifier.commands import image_files
from classifier.commands.parameters import EngineName, Json, Model, Models, PrecisionName, path, whole_number
from classifier.errors import ImageError, SightlineError, UnreadableFile
from classifier.store import ModelStore

if TYPE_CHECKING:
    from classifier.card import Card
    from classifier.loaded_model import LoadedModel
    from classifier.ranking import Prediction

BAR_WIDTH = 24
COLUMNS = ("image", "model", "version", "label", "probability", "familiar", "familiarity", "error")
_AS_CSV: dict[str, Any] = {"errors": "surrogateescape", "newline": ""}


def _table(text: object) -> Path:
    """A path of a table. Raises BadParameter for another suffix."""
    if not str(text).lower().endswith(".csv"):
        raise typer.BadParameter(f"expected a file called .csv, got {str(text)!r}")
    return path(text)


def run(
    model: Model,
    images: Annotated[
        list[Path], typer.Argument(parser=path, metavar="IMAGE", help="Image files, and folders of them.")
    ],
    models: Models,
    top_k: Annotated[
        int | None, typer.Option(parser=whole_number(1), metavar="N", help="Only the N most probable labels.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with what comes into the folders.")] = False,
    out: Annotated[
        Path | None, typer.Option(parser=_table, metavar="CSV", help="Write a table in place of printing.")
    ] = None,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    json: Json = False,
) -> int:
    from classifier.engines import EngineOptions
    from classifier.loaded_model import LoadedModel

    how = EngineOptions(engine=engine, precision=precision)
    files = image_files.arriving(images) if watch else list(image_files.each(images))
    with contextlib.ExitStack() as opened:
        loaded = opened.enter_context(contextlib.closing(LoadedModel.open(ModelStore(models), *model, how)))
        answers: Iterator[_Answer] = ((image, _answer(loaded, image, top_k)) for image in files)
        if out is not None:
            say = _rows_into(opened.enter_context(out.open("w", encoding="utf-8", **_AS_CSV)), loaded.card)
            answers = _reported(answers, len(files) if isinstance(files, list) else None)
        elif json and not watch:
            return _print_json(loaded.card, answers)
        else:
            say = partial(_print_line, loaded.card) if json else _print_answer
        failed = False
        for image, answer in answers:
            say(image, answer)
            failed |= isinstance(answer, SightlineError)
    return int(failed)


def read(image: Path) -> bytes:
    """The bytes of an image file. Raises UnreadableFile."""
    try:
        return image.read_bytes()
    except OSError as error:
        raise UnreadableFile(f"cannot be read ({error.strerror})") from error


class Seen(NamedTuple):
    """What a version says of one image. `familiarity` and `familiar` are None where it does not say."""

    predictions: list[Prediction]
    familiarity: float | None
    familiar: bool | None


_Answer: TypeAlias = tuple[Path, Seen | SightlineError]


def _answer(loaded: LoadedModel, image: Path, top_k: int | None) -> Seen | SightlineError:
    from classifier.ranking import rank

    try:
        answers = loaded.answer([read(image)])
    except ImageError as error:
        return error
    familiarity = None if answers.familiarity is None else float(answers.familiarity[0])
    predictions = rank(answers.probabilities[0], loaded.card.labels, top_k)
    return Seen(predictions, familiarity, loaded.card.is_familiar(familiarity))


def _reported(answers: Iterator[_Answer], total: int | None) -> Iterator[_Answer]:
    """The same, with a line on stderr that says how far they are."""
    from classifier.scoring.progress import Progress, ProgressLine

    line, began = ProgressLine(sys.stderr), time.monotonic()
    for done, answer in enumerate(answers, 1):
        yield answer
        line(Progress(done, done, total, time.monotonic() - began))
    line.end()


def _answered(card: Card, answer: Seen | SightlineError) -> dict[str, Any]:
    head = {"model": card.name, "version": card.version}
    if isinstance(answer, SightlineError):
        return head | {"error": {"code": answer.code, "title": answer.title, "detail": str(answer)}}
    said: dict[str, Any] = {"predictions": [prediction._asdict() for prediction in answer.predictions]}
    if answer.familiar is not None:
        said |= {"familiar": answer.familiar, "familiarity": answer.familiarity}
    return head | said


def _rows_into(file: TextIO, card: Card) -> Callable[[Path, Seen | SightlineError], None]:
    """A function that writes a row for an image, at once, after the head of the table."""
    writer = csv.writer(file)
    writer.writerow(COLUMNS)

    def say(image: Path, answer: Seen | SightlineError) -> None:
        head = [str(image), card.name, card.version]
        if isinstance(answer, SightlineError):
            writer.writerow([*head, "", "", "", "", answer.code])
        else:
            writer.writerow([*head, *answer.predictions[0], answer.familiar, answer.familiarity, ""])
        file.flush()

    return say


def _print_json(card: Card, answers: Iterable[_Answer]) -> int:
    """One list of all; 1 if any image failed, else 0."""
    every = list(answers)
    records = [{"image": str(image)} | _answered(card, answer) for image, answer in every]
    print(json_text.dumps(records, indent=2, ensure_ascii=False))
    return int(any(isinstance(answer, SightlineError) for _, answer in every))


def _print_line(card: Card, image: Path, answer: Seen | SightlineError) -> None:
    """An object on a line of its own, for there is no end to wait for."""
    print(json_text.dumps({"image": str(image)} | _answered(card, answer), ensure_ascii=False), flush=True)


def _print_answer(image: Path, answer: Seen | SightlineError) -> None:
    if isinstance(answer, SightlineError):
        print(f"error: {image}: {answer}", file=sys.stderr)
        return
    familiarity = "" if answer.familiarity is None else f"  familiarity {answer.familiarity:.2f}"
    print(f"{image}{familiarity}{': this looks like nothing the model was trained on' * (answer.familiar is False)}")
    width = max(len(label) for label, _ in answer.predictions)
    for label, probability in answer.predictions:
        bar = "  " + "\u2588" * round(BAR_WIDTH * probability) if sys.stdout.isatty() else ""
        print(f"  {label:{width}}  {probability:6.1%}{bar}".rstrip(), flush=True)
