"""The classifier room's door: `python -m classifier list | verify | predict | export`."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from classifier.errors import ImageError, SightlineError, UnknownModel
from classifier.store import ModelStore

if TYPE_CHECKING:
    from classifier.card import Card
    from classifier.loaded_model import LoadedModel
    from classifier.ranking import Prediction
    from classifier.verification import Verdict

os.environ.setdefault(
    "TF_CPP_MIN_LOG_LEVEL", "3"
)  # before TensorFlow is imported: it reports a missing GPU as an error

BAR_WIDTH = 24


class UnreadableFile(ImageError):
    """The path that was given cannot be read."""

    code = "unreadable-file"
    title = "The file cannot be read"


class Reference(NamedTuple):
    """MODEL or MODEL@VERSION as typed."""

    name: str
    version: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what the terminal cannot show
    options = parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()  # here, where a broken pipe is caught
        return code
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, say `head`, has what it wanted; nothing is left to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="python -m classifier", description="Look at trained models and use them.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    _list_parser(commands.add_parser("list", help="the models there are, with their accuracy"))
    _verify_parser(commands.add_parser("verify", help="check files and answers against the model cards"))
    _predict_parser(commands.add_parser("predict", help="classify image files"))
    _export_parser(commands.add_parser("export", help="write a model for other servers or for phones"))
    for command in commands.choices.values():
        command.add_argument(
            "--models",
            type=Path,
            default=_models_folder(),
            metavar="DIR",
            help="the model store (default: %(default)s)",
        )
    return root


def _list_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=list_models)


def _verify_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "models_named", type=_reference, nargs="*", metavar="MODEL[@VERSION]", help="default: every version of all"
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=verify_models)


def _predict_parser(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("model", type=_reference, metavar="MODEL[@VERSION]", help="without a version the newest")
    add("images", type=Path, nargs="+", metavar="IMAGE", help="JPEG, PNG, WebP, GIF, BMP or TIFF files")
    add("--top-k", type=_positive, metavar="N", help="only the N most probable labels")
    add("--engine", choices=("auto", "openvino", "tensorflow"), default="auto")
    add("--precision", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    add("--json", action="store_true", help="print JSON, per image as the HTTP API answers")
    command.set_defaults(run=predict)


def _export_parser(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("model", type=_reference, metavar="MODEL[@VERSION]", help="without a version the newest")
    add("--format", choices=("savedmodel", "tflite"), required=True)
    add("--out", type=Path, metavar="PATH", help="default: MODEL-VERSION-savedmodel or MODEL-VERSION.tflite, here")
    command.set_defaults(run=export_model)


def list_models(options: argparse.Namespace) -> int:
    models = ModelStore(options.models)
    cards, faults = [], []
    for name, version in _named(models, []):
        try:
            cards.append(models.card(name, version))
        except SightlineError as error:
            faults.append(str(error))
    if options.json:
        _print_json([_essentials(card) for card in cards])
    else:
        _print_table([("MODEL", "VERSION", "INPUT", "ACCURACY", "PARAMETERS", "LABELS"), *map(_row, cards)])
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not cards and not faults:
        print(f"no models yet in {options.models}", file=sys.stderr)
    return 1 if faults else 0


def verify_models(options: argparse.Namespace) -> int:
    from classifier.verification import installed_engines, verify

    models = ModelStore(options.models)
    engines = installed_engines()
    wanted = list(_named(models, options.models_named))
    if not wanted:
        raise UnknownModel(f"no models yet in {options.models}")
    if "tensorflow" not in engines:
        print("TensorFlow is not installed: model.keras is compared by its hash only", file=sys.stderr)
    verdicts = []
    for name, version in wanted:
        verdicts.append(verify(models, name, version, engines))
        if not options.json:
            print(_line(verdicts[-1]), flush=True)
    if options.json:
        _print_json([_verdict(verdict) for verdict in verdicts])
    return 1 if any(verdict.fault for verdict in verdicts) else 0


def predict(options: argparse.Namespace) -> int:
    from classifier.engines import EngineOptions
    from classifier.loaded_model import LoadedModel

    how = EngineOptions(engine=options.engine, precision=options.precision)
    name, version = options.model
    loaded = LoadedModel.open(ModelStore(options.models), name, version, how)
    with contextlib.closing(loaded):
        answers = [(image, _answer(loaded, image, options.top_k)) for image in options.images]
    if options.json:
        _print_json([{"image": str(image)} | _answered(loaded.card, answer) for image, answer in answers])
    else:
        for image, answer in answers:
            _print_answer(image, answer)
    return 1 if any(isinstance(answer, SightlineError) for _, answer in answers) else 0


def export_model(options: argparse.Namespace) -> int:
    from classifier.exporting import export

    name, version = options.model
    print(export(ModelStore(options.models), name, version, options.format, options.out))
    return 0


def _models_folder() -> Path:
    here = Path("models")
    return here if here.is_dir() else Path(__file__).resolve().parent.parent / "models"


def _named(models: ModelStore, references: Sequence[Reference]) -> Iterator[tuple[str, int]]:
    """Names and versions: a name alone stands for all its versions, no name at all for every model."""
    known = models.versions()
    for name, version in references or [Reference(name, None) for name in known]:
        models.folder(name, version)  # raises UnknownModel
        for each in known[name] if version is None else (version,):
            yield name, each


def _answer(loaded: LoadedModel, image: Path, top_k: int | None) -> list[Prediction] | SightlineError:
    try:
        return loaded.predict(image.read_bytes(), top_k)
    except OSError as error:
        return UnreadableFile(f"cannot be read ({error.strerror})")
    except ImageError as error:
        return error


def _answered(card: Card, answer: list[Prediction] | SightlineError) -> dict[str, Any]:
    head = {"model": card.name, "version": card.version}
    if isinstance(answer, SightlineError):
        return head | {"error": {"code": answer.code, "title": answer.title, "detail": str(answer)}}
    return head | {"predictions": [prediction._asdict() for prediction in answer]}


def _print_answer(image: Path, answer: list[Prediction] | SightlineError) -> None:
    if isinstance(answer, SightlineError):
        print(f"error: {image}: {answer}", file=sys.stderr)
        return
    print(image)
    width = max(len(label) for label, _ in answer)
    for label, probability in answer:
        bar = "  " + "\u2588" * round(BAR_WIDTH * probability) if sys.stdout.isatty() else ""
        print(f"  {label:{width}}  {probability:6.1%}{bar}".rstrip())


def _essentials(card: Card) -> dict[str, Any]:
    head = {"model": card.name, "version": card.version}
    return head | card.model_dump(
        include={"labels", "input", "parameters", "metrics", "recipe", "article"}, mode="json"
    )


def _row(card: Card) -> tuple[str, ...]:
    colour = "grey" if card.input.channels == 1 else "RGB"
    split = "test" if "test" in card.metrics else next(iter(card.metrics), None)
    accuracy = f"{card.metrics[split].accuracy:.1%} {split}" if split else "unknown"
    size = f"{card.input.height}x{card.input.width} {colour}"
    labels = ", ".join(card.labels if len(card.labels) <= 4 else (*card.labels[:3], f"... ({len(card.labels)})"))
    return card.name, str(card.version), size, accuracy, f"{card.parameters:,}", labels


def _line(verdict: Verdict) -> str:
    what = f"{verdict.name}@{verdict.version}"
    return f"BROKEN  {what}  {verdict.fault}" if verdict.fault else f"ok      {what}  {', '.join(verdict.engines)}"


def _verdict(verdict: Verdict) -> dict[str, Any]:
    head = {"model": verdict.name, "version": verdict.version, "ok": verdict.fault is None}
    return head | {"engines": list(verdict.engines), "error": verdict.fault}


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if len(rows) > 1 else ():
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _reference(text: str) -> Reference:
    name, at, version = text.partition("@")
    if not name or (at and not (version.isascii() and version.isdigit() and int(version))):
        raise argparse.ArgumentTypeError(f"expected MODEL or MODEL@VERSION with a whole number from 1, got {text!r}")
    return Reference(name, int(version) if at else None)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
