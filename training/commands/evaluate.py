"""Evaluate a model of the store on labelled images, as it is served: the same file, engine and precision.

The data may be what its recipe reads, or any folder of class sub-folders named as its labels. Without train/,
validation/ and test/ in it every image is evaluated. Those that the model was fitted or chosen on are left out.
"""

from __future__ import annotations

import json as json_text
import sys
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classifier.commands.parameters import EngineName, Json, Model, Models, PrecisionName, path
from training.commands.parameters import Data, SplitName

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from classifier.card import Card
    from classifier.engines import Answers, Engine, Probabilities
    from classifier.loaded_model import LoadedModel
    from training.datasets.dataset import Split
    from training.evaluation.images import EvaluationImages
    from training.evaluation.scores import Evaluation
    from training.progress import Counted

NAMED = 10  # files that were left out
BATCH = 16  # images per forward pass; no effect on the answers. More take memory, and are hardly faster


def run(
    model: Model,
    data: Data,
    models: Models,
    split: SplitName = "test",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    out: Annotated[
        Path | None, typer.Option(parser=path, metavar="DIR", help="Write figures as JSON, and pictures, there.")
    ] = None,
    expected: Annotated[
        bool, typer.Option("--expected", help="Write into the card what `drift` compares with.")
    ] = False,
    json: Json = False,
) -> None:
    from classifier.card import NEWEST_FORMAT
    from classifier.engines import EngineOptions
    from classifier.loaded_model import LoadedModel
    from classifier.store import ModelStore
    from training.evaluation.fitted_images import read_fitted_images
    from training.evaluation.images import read_images
    from training.fitting.backend import import_tensorflow_to_answer
    from training.progress import Counted, ProgressLines

    store = ModelStore(models)
    card = store.card(*model)
    progress = ProgressLines(sys.stderr)  # stdout holds the figures alone
    labelled = read_images(data, card, split, progress)
    import_tensorflow_to_answer(engine)
    images, left_out = _unseen(labelled, read_fitted_images(store, card))
    sizes = tuple(sorted({min(BATCH, len(images)), len(images) % BATCH or BATCH}))
    how = EngineOptions(engine, precision, warm_batch_sizes=sizes)
    loaded = LoadedModel.open(store, card.name, card.version, how)
    try:
        evaluation, seconds = _answer(loaded.engine, images, Counted(progress, "evaluating", len(images)))
        summary = _summary(loaded, labelled, left_out, evaluation, seconds)
    finally:
        loaded.close()
    if out:
        _write(summary, evaluation, out)
    if expected:
        answers = evaluation.expected(labelled.dataset, labelled.split)
        store.update(card.model_copy(update={"format": NEWEST_FORMAT, "expected": answers}))
    print(json_text.dumps(summary, indent=2) if json else _text(summary, out))


def _unseen(data: EvaluationImages, fitted: npt.NDArray[np.uint64] | None) -> tuple[Split, int | None]:
    """The images that the version was neither fitted nor chosen on, and how many others there were.

    None where the version does not know, and where the very images it was fitted on were asked for. Raises
    DatasetError where no image is left.
    """
    from training.errors import DatasetError
    from training.evaluation.fitted_images import FITTED_SPLITS, without

    if fitted is None or (data.same_data and data.split in FITTED_SPLITS):
        return data.images, None
    unseen = without(data.images, fitted)
    if not len(unseen):
        raise DatasetError(f"the model was fitted or chosen on every one of these {len(data.images):,} images")
    return unseen, len(data.images) - len(unseen)


def _answer(engine: Engine, split: Split, counted: Counted) -> tuple[Evaluation, float]:
    """The engine's answers, and the seconds they took with as many batches at once as it has streams."""
    import numpy as np

    from training.evaluation.scores import Evaluation

    began = time.perf_counter()
    rows: list[Probabilities] = []
    pending: deque[Future[Answers]] = deque()
    for i in range(0, len(split), BATCH):
        pending.append(engine.submit(split.pixels[i : i + BATCH]))
        if len(pending) > engine.streams:  # more would wait, and hold their pixels
            rows.append(pending.popleft().result().probabilities)
            counted.add(len(rows[-1]))
    for future in pending:
        rows.append(future.result().probabilities)
        counted.add(len(rows[-1]))
    seconds = time.perf_counter() - began
    return Evaluation(np.concatenate(rows), split.labels), seconds


def _summary(
    loaded: LoadedModel, data: EvaluationImages, left_out: int | None, evaluation: Evaluation, seconds: float
) -> dict[str, Any]:
    from training.datasets.dataset import printable

    card, engine, count = loaded.card, loaded.engine, len(evaluation.labels)
    return {
        "model": card.name,
        "version": card.version,
        "recipe": card.recipe,
        "data": {
            "name": data.dataset,
            "split": data.split,
            "images": count,
            "skipped": len(data.skipped),
            "left_out": left_out,
            "same_as_fitted": data.same_data,
        },
        "engine": {
            "name": engine.name,
            "precision": engine.precision,
            "device": engine.device,
            "streams": engine.streams,
            "batch_size": min(BATCH, count),
        },
        "skipped_files": [{"file": printable(each.file), "reason": each.reason} for each in data.skipped],
        "data_check": _data_check(card),
        "loss": evaluation.loss,
        "accuracy": evaluation.accuracy,
        "interval": evaluation.interval,
        "grouped": card.grouped.model_dump(mode="json") if card.grouped else None,
        "classes": [
            {"label": label, **score._asdict()}
            for label, score in zip(card.labels, evaluation.class_scores, strict=True)
        ],
        "confusions": [
            {"true": card.labels[c.true], "predicted": card.labels[c.predicted], "images": c.images}
            for c in evaluation.top_confusions()
        ],
        "calibration": {
            "error": evaluation.calibration_error,
            "bins": [each._asdict() for each in evaluation.calibration],
            "before": _before(card, evaluation),
        },
        "milliseconds_per_image": 1000 * seconds / count,
    }


def _data_check(card: Card) -> dict[str, Any] | None:
    """What was found in the data that the version was fitted and tested on, and a line on it; None: nobody looked."""
    from training.reports.checking.text import record_line

    if card.data_check is None:
        return None
    summary = record_line(card.data_check, card.training.dataset.images)
    return {**card.data_check.model_dump(mode="json"), "summary": summary}


def _before(card: Card, evaluation: Evaluation) -> dict[str, Any] | None:
    """The same of the answers without the temperature that the card names; None where it names none."""
    if card.calibration is None:
        return None
    before = evaluation.before_temperature(card.calibration.temperature)
    return {
        "temperature": card.calibration.temperature,
        "error": before.calibration_error,
        "bins": [each._asdict() for each in before.calibration],
    }


def _text(summary: dict[str, Any], out: Path | None) -> str:
    from training.reports.results import interval_lines

    data, engine = summary["data"], summary["engine"]
    wide = max(len(row["label"]) for row in summary["classes"])
    on = f"{engine['name']} in {engine['precision']} on {engine['device']}"
    lines = [
        f"{summary['model']} version {summary['version']}",
        f"{data['images']:,} images of {data['name']}, {data['split']}: {_seen(data)}",
        *_skipped_lines(summary["skipped_files"]),
        *([said] if (said := _left_out(data)) else []),
        "",
        f"accuracy           {summary['accuracy']:.4f}",
        *(f"                   {line}" for line in interval_lines(summary["interval"], data["images"], data["split"])),
        *([f"by groups          {_grouped(grouped)}"] if (grouped := summary["grouped"]) else []),
        *([f"data of its fit    {checked['summary']}"] if (checked := summary["data_check"]) else []),
        f"loss               {summary['loss']:.4f}",
        f"calibration error  {summary['calibration']['error']:.4f}{_was(summary['calibration']['before'])}",
        f"time per image     {summary['milliseconds_per_image']:.3f} ms: {on}",
        f"                   in batches of {engine['batch_size']}, {engine['streams']} at once",
        "",
        f"{'class':{wide}}  images  precision  recall",
    ]
    lines += [
        f"{row['label']:{wide}}  {row['images']:6,}  {_ratio(row['precision']):>9}  {_ratio(row['recall']):>6}"
        for row in summary["classes"]
    ]
    if summary["confusions"]:
        lines += ["", "most frequent mistakes"]
    lines += [f"{c['images']:6,}  {c['true']} taken for {c['predicted']}" for c in summary["confusions"]]
    pictures = f"written to {out}" if out else "to be had with --out DIR"
    return "\n".join([*lines, "", f"reliability diagram and confusion matrix: {pictures}"])


def _skipped_lines(skipped: list[dict[str, str]]) -> list[str]:
    """How many files were left out, and up to NAMED of them with the reason of each."""
    more = len(skipped) - NAMED
    return [
        *([f"files skipped: {len(skipped):,}"] if skipped else []),
        *(f"  {each['file']}: {each['reason']}" for each in skipped[:NAMED]),
        *([f"  and {more:,} more; --json names all"] if more > 0 else []),
    ]


def _grouped(grouped: dict[str, Any]) -> str:
    """The card's accuracy where images that look alike stay together."""
    low, high = grouped["interval"]
    of = (
        f"{grouped['networks']} networks of its recipe, each on {grouped['groups']:,} groups of like images but its own"
    )
    return f"{grouped['accuracy']:.4f} ({low:.4f} to {high:.4f}): {of}"


def _was(before: dict[str, Any] | None) -> str:
    return f" ({before['error']:.4f} before calibration)" if before else ""


def _left_out(data: dict[str, Any]) -> str | None:
    if data["left_out"]:
        return f"left out, since it was fitted or chosen on them: {data['left_out']:,}"
    if data["left_out"] is None and not data["same_as_fitted"]:
        return "not known: whether it was fitted on some of them; its version keeps no list of its images"
    return None


def _seen(data: dict[str, Any]) -> str:
    if not data["same_as_fitted"]:
        return "another data set than it was fitted with"
    known = {
        "train": "it was fitted on them",
        "validation": "its epoch was chosen on them",
        "test": "it never saw them",
    }
    return known[data["split"]]


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _write(summary: dict[str, Any], evaluation: Evaluation, out: Path) -> None:
    from training.evaluation.scores import CalibrationBin
    from training.reports.plots import draw_confusion, draw_reliability  # here: Matplotlib takes a second

    out.mkdir(parents=True, exist_ok=True)
    labels = [row["label"] for row in summary["classes"]]
    title = f"{summary['model']} version {summary['version']}: {summary['data']['name']}, {summary['data']['split']}"
    calibration = summary["calibration"]
    before = [CalibrationBin(**each) for each in calibration["before"]["bins"]] if calibration["before"] else None
    draw_reliability(evaluation.calibration, calibration["error"], out / "reliability.png", title, before)
    draw_confusion(evaluation.confusion, labels, out / "confusion.png", title)
    (out / "evaluation.json").write_text(json_text.dumps(summary, indent=2) + "\n", encoding="utf-8")
