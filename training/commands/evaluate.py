"""Evaluate a model of the store on labelled images, as it is served: the same file, engine and precision.

The data may be what its recipe reads, or any folder of class sub-folders named as its labels. Without train/,
validation/ and test/ in it every image is evaluated.
"""
# ruff: noqa: T201  (a command prints)

from __future__ import annotations

import argparse
import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from classifier.engines import Engine, EngineOptions, default_engine
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from training.commands.arguments import PRECISIONS
from training.datasets.dataset import Split
from training.evaluation.images import EvaluationImages, read_images
from training.evaluation.scores import Evaluation
from training.fitting.tensorflow_import import import_tensorflow

HELP = "measure a model of the store on labelled images"

BATCH = 64  # images per forward pass; no effect on the answers, and beyond 16 hardly any on the speed


class Model(NamedTuple):
    """`NAME` or `NAME@VERSION`; no version is the newest."""

    name: str
    version: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL[@VERSION]",
        type=model_and_version,
        help="cats-vs-dogs, or cats-vs-dogs@1 for another than the newest",
    )
    add("--data", type=Path, required=True, help="the data set's folder or zip, or any folder of class sub-folders")
    add("--split", choices=("train", "validation", "test"), default="test", help="default: test")
    add("--models", type=Path, default=Path("models"), help="the model store (default: models)")
    add("--engine", choices=("auto", "openvino", "tensorflow"), default="auto", help="default: as served")
    add("--precision", choices=PRECISIONS, default="auto", help="default: as served")
    add("--out", type=Path, metavar="DIR", help="write evaluation.json, reliability.png and confusion.png there")
    add("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    store = ModelStore(options.models)
    card = store.card(*options.model)
    data = read_images(options.data, card, options.split)
    if "tensorflow" in (options.engine, default_engine() if options.engine == "auto" else ""):
        import_tensorflow()
    sizes = tuple(sorted({min(BATCH, len(data.images)), len(data.images) % BATCH or BATCH}))
    loaded = LoadedModel.open(
        store, card.name, card.version, EngineOptions(options.engine, options.precision, warm_batch_sizes=sizes)
    )
    try:
        evaluation, seconds = _answer(loaded.engine, data.images)
        summary = _summary(loaded, data, evaluation, seconds)
    finally:
        loaded.close()
    if options.out:
        _write(summary, evaluation, options.out)
    print(json.dumps(summary, indent=2) if options.json else _text(summary, options.out))
    return 0


def model_and_version(text: str) -> Model:
    """Read `NAME` or `NAME@VERSION`."""
    match = re.fullmatch(r"([^@]+)(?:@([1-9]\d*))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected NAME or NAME@VERSION with a whole number, got {text}")
    return Model(match[1], int(match[2]) if match[2] else None)


def _answer(engine: Engine, split: Split) -> tuple[Evaluation, float]:
    """The engine's answers, and the seconds they took with as many batches at once as it has streams."""
    began = time.perf_counter()
    pending = [engine.submit(split.pixels[i : i + BATCH]) for i in range(0, len(split), BATCH)]
    rows = [future.result() for future in pending]
    seconds = time.perf_counter() - began
    return Evaluation(np.concatenate(rows), split.labels), seconds


def _summary(loaded: LoadedModel, data: EvaluationImages, evaluation: Evaluation, seconds: float) -> dict[str, Any]:
    card, engine, count = loaded.card, loaded.engine, len(data.images)
    return {
        "model": card.name,
        "version": card.version,
        "recipe": card.recipe,
        "data": {
            "name": data.dataset,
            "split": data.split,
            "images": count,
            "skipped": len(data.skipped),
            "same_as_fitted": data.same_data,
        },
        "engine": {
            "name": engine.name,
            "precision": engine.precision,
            "device": engine.device,
            "streams": engine.streams,
            "batch_size": min(BATCH, count),
        },
        "loss": evaluation.loss,
        "accuracy": evaluation.accuracy,
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
        },
        "milliseconds_per_image": 1000 * seconds / count,
    }


def _text(summary: dict[str, Any], out: Path | None) -> str:
    data, engine = summary["data"], summary["engine"]
    wide = max(len(row["label"]) for row in summary["classes"])
    on = f"{engine['name']} in {engine['precision']} on {engine['device']}"
    lines = [
        f"{summary['model']} version {summary['version']}",
        f"{data['images']:,} images of {data['name']}, {data['split']}: {_seen(data)}",
        *([f"files skipped: {data['skipped']:,}"] if data["skipped"] else []),
        "",
        f"accuracy           {summary['accuracy']:.4f}",
        f"loss               {summary['loss']:.4f}",
        f"calibration error  {summary['calibration']['error']:.4f}",
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
    from training.reports.plots import draw_confusion, draw_reliability  # here: Matplotlib takes a second

    out.mkdir(parents=True, exist_ok=True)
    labels = [row["label"] for row in summary["classes"]]
    title = f"{summary['model']} version {summary['version']}: {summary['data']['name']}, {summary['data']['split']}"
    draw_reliability(evaluation.calibration, evaluation.calibration_error, out / "reliability.png", title)
    draw_confusion(evaluation.confusion, labels, out / "confusion.png", title)
    (out / "evaluation.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
