"""Make a version that OpenVINO runs in int8 where the processor has VNNI or AMX: faster, and a quarter of the size.

NNCF fits the scales on training images. The version is saved where it keeps the release policy on the validation images
and an accuracy within 0.003. --data is what it was fitted on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier.commands.parameters import Model, Models, path
from training.commands.parameters import Data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from classifier.card import Card, QuantizationChange


def run(
    model: Model,
    data: Data,
    models: Models,
    policy: Annotated[
        Path | None, typer.Option(parser=path, metavar="FILE", help="Else release.toml beside the models.")
    ] = None,
) -> None:
    import importlib

    from classifier.store import ModelStore
    from training.evaluation.images import read_fitted_on
    from training.fitting.backend import import_tensorflow
    from training.progress import ProgressLines
    from training.releasing.policy import FILE, read_policy

    importlib.import_module("onnxruntime")  # NNCF asks the float32 network by it
    importlib.import_module("nncf")
    store, progress = ModelStore(models), ProgressLines(sys.stdout)
    card = store.verify(*model)
    limits = read_policy(policy or models / FILE, card.name)
    dataset = read_fitted_on(data, card, progress)
    import_tensorflow()
    from training.releasing.quantization import quantize

    made = quantize(store, card, dataset, limits, progress)
    print("\n".join(_lines(made)))
    print(f"saved {store.folder(made.name, made.version)}")


def _lines(card: Card) -> Iterator[str]:
    from classifier.store import INT8, ONNX

    made = card.quantization
    assert made is not None  # noqa: S101  (it was just made)
    sizes = [card.files[file].bytes / 1e6 for file in (INT8, ONNX)]
    yield f"int8 of version {made.from_version} by {made.images:,} training images: {sizes[0]:.1f} MB of {sizes[1]:.1f}"
    for split, change in made.changes.items():
        yield from _change_lines(card, split, change)


def _change_lines(card: Card, split: str, change: QuantizationChange) -> Iterator[str]:
    was, now = change.before, change.after
    yield (
        f"{split}, {change.images:,} images: accuracy {was.accuracy:.4f} -> {now.accuracy:.4f}, "
        f"calibration error {was.calibration_error:.4f} -> {now.calibration_error:.4f}"
    )
    if was.familiarity_threshold is not None and now.familiarity_threshold is not None:
        yield f"  threshold of familiarity {was.familiarity_threshold:.4f} -> {now.familiarity_threshold:.4f}"
    recalls = zip(card.labels, was.recall, now.recall, strict=True)
    changed = [f"{label} {a:.4f} -> {b:.4f}" for label, a, b in recalls if a is not None and b is not None and a != b]
    yield f"  recall: {', '.join(changed) or 'none changed'}"
