"""Draw what a decision rests on: the image as the network saw it, enlarged, yellow to red where the evidence lies."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from classifier.commands.parameters import EngineName, Model, Models, PrecisionName, path
from classifier.commands.predict import read
from classifier.errors import UnreadableFile
from classifier.store import ModelStore

if TYPE_CHECKING:
    from classifier.card import Card
    from classifier.explanation import Heat
    from classifier.images import Pixels

LEAST_SIDE = 400  # pixels of the drawing's shorter side


def run(
    model: Model,
    image: Annotated[Path, typer.Argument(parser=path, metavar="IMAGE", help="An image file.")],
    models: Models,
    label: Annotated[str | None, typer.Option(help="Another label than the most probable.")] = None,
    out: Annotated[Path, typer.Option(parser=path, metavar="PNG", help="Where to draw it.")] = Path("explanation.png"),
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
) -> None:
    import numpy as np

    from classifier.engines import EngineOptions
    from classifier.explanation import heat_map, occluded
    from classifier.loaded_model import LoadedModel

    how = EngineOptions(engine=engine, precision=precision)
    with contextlib.closing(LoadedModel.open(ModelStore(models), model.name, model.version, how)) as loaded:
        wanted = None if label is None else _column(loaded.card, label)
        pixels = loaded.decode(_body(image))
        row = loaded.engine.infer(pixels[None])[0]
        column = int(row.argmax()) if wanted is None else wanted
        heat = heat_map(row, loaded.engine.infer(np.stack(list(occluded(pixels)))), column)
        name = loaded.card.labels[column]
    _draw(pixels, heat, out)
    print(f"{name} {row[column]:.1%}: {out}")


def _body(image: Path) -> bytes:
    try:
        return read(image)
    except UnreadableFile as error:
        raise UnreadableFile(f"{image}: {error}") from error


def _column(card: Card, label: str) -> int:
    if label not in card.labels:
        raise typer.BadParameter(f"expected one of {', '.join(card.labels)}, got {label!r}", param_hint="--label")
    return card.labels.index(label)


def _draw(pixels: Pixels, heat: Heat, out: Path) -> None:
    """Lay the heat map over the picture, uint8 [height, width, 1 or 3], and write it as a PNG."""
    from PIL import Image

    from classifier.explanation import overlay

    height, width = pixels.shape[:2]
    times = -(-LEAST_SIDE // min(height, width))
    seen = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGBA")
    seen = seen.resize((width * times, height * times), Image.Resampling.NEAREST)
    seen.alpha_composite(overlay(heat, seen.height, seen.width))
    out.parent.mkdir(parents=True, exist_ok=True)
    seen.convert("RGB").save(out, "PNG")
