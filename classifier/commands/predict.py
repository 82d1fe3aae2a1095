"""Classify image files: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."""

from __future__ import annotations

import contextlib
import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from classifier.commands.parameters import EngineName, Json, Model, Models, PrecisionName, path, whole_number
from classifier.errors import ImageError, SightlineError
from classifier.store import ModelStore

if TYPE_CHECKING:
    from classifier.card import Card
    from classifier.loaded_model import LoadedModel
    from classifier.ranking import Prediction

BAR_WIDTH = 24


class UnreadableFile(ImageError):
    """The path that was given cannot be read."""

    code = "unreadable-file"
    title = "The file cannot be read"


def run(
    model: Model,
    images: Annotated[list[Path], typer.Argument(parser=path, metavar="IMAGE", help="Image files.")],
    models: Models,
    top_k: Annotated[
        int | None, typer.Option(parser=whole_number(1), metavar="N", help="Only the N most probable labels.")
    ] = None,
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    json: Json = False,
) -> int:
    from classifier.engines import EngineOptions
    from classifier.loaded_model import LoadedModel

    how = EngineOptions(engine=engine, precision=precision)
    with contextlib.closing(LoadedModel.open(ModelStore(models), model.name, model.version, how)) as loaded:
        answers = [(image, _answer(loaded, image, top_k)) for image in images]
        card = loaded.card
    if json:
        records = [{"image": str(image)} | _answered(card, answer) for image, answer in answers]
        print(json_text.dumps(records, indent=2, ensure_ascii=False))
    else:
        for image, answer in answers:
            _print_answer(image, answer)
    return 1 if any(isinstance(answer, SightlineError) for _, answer in answers) else 0


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


def _answer(loaded: LoadedModel, image: Path, top_k: int | None) -> Seen | SightlineError:
    from classifier.ranking import rank

    try:
        answers = loaded.answer([read(image)])
    except ImageError as error:
        return error
    familiarity = None if answers.familiarity is None else float(answers.familiarity[0])
    predictions = rank(answers.probabilities[0], loaded.card.labels, top_k)
    return Seen(predictions, familiarity, loaded.card.is_familiar(familiarity))


def _answered(card: Card, answer: Seen | SightlineError) -> dict[str, Any]:
    head = {"model": card.name, "version": card.version}
    if isinstance(answer, SightlineError):
        return head | {"error": {"code": answer.code, "title": answer.title, "detail": str(answer)}}
    said: dict[str, Any] = {"predictions": [prediction._asdict() for prediction in answer.predictions]}
    if answer.familiar is not None:
        said |= {"familiar": answer.familiar, "familiarity": answer.familiarity}
    return head | said


def _print_answer(image: Path, answer: Seen | SightlineError) -> None:
    if isinstance(answer, SightlineError):
        print(f"error: {image}: {answer}", file=sys.stderr)
        return
    familiarity = "" if answer.familiarity is None else f"  familiarity {answer.familiarity:.2f}"
    print(f"{image}{familiarity}{': this looks like nothing the model was trained on' * (answer.familiar is False)}")
    width = max(len(label) for label, _ in answer.predictions)
    for label, probability in answer.predictions:
        bar = "  " + "\u2588" * round(BAR_WIDTH * probability) if sys.stdout.isatty() else ""
        print(f"  {label:{width}}  {probability:6.1%}{bar}".rstrip())
