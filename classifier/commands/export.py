"""Write a model for other servers (SavedModel) or for phones (TFLite). Needs TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from classifier.commands.parameters import Model, Models, path
from classifier.commands.stderr import stderr_kept_back
from classifier.store import ModelStore


def run(
    model: Model,
    kind: Annotated[Literal["savedmodel", "tflite"], typer.Option("--format", help="What is written.")],
    models: Models,
    out: Annotated[
        Path | None,
        typer.Option(parser=path, metavar="PATH", help="Else MODEL-VERSION-savedmodel or MODEL-VERSION.tflite, here."),
    ] = None,
) -> None:
    from classifier.exporting import export

    with stderr_kept_back():
        written = export(ModelStore(models), model.name, model.version, kind, out)
    print(written)
