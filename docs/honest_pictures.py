"""The pictures of docs/honest-answers.md: reliability diagrams, and what each model says of odd images.

Run:    python -m docs.honest_pictures --data FOLDER
Needs:  the data sets that the shipped versions were fitted on, in FOLDER, as `fit` reads them; takes some minutes.
Gives:  docs/reliability.png and docs/odd-images.png. No image of a data set is in them.

"Before" are the same networks without their temperature and without a word on familiarity.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from classifier.card import Card
from classifier.engines import Answers, Engine, EngineOptions
from classifier.images import from_array
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from training.datasets import load_dataset
from training.evaluation.scores import Evaluation
from training.honesty.outliers.made import chart, noise
from training.progress import Progress, ProgressLines
from training.recipes import RECIPES

DOCS = Path(__file__).parent
STORE = ModelStore(DOCS.parent / "models")
RELIABILITY, ODD_IMAGES = DOCS / "reliability.png", DOCS / "odd-images.png"
ARCHIVES = {"cats-vs-dogs": "cats-vs-dogs.zip", "cifar-10": "cifar-10.zip", "asl": "sign-mnist.zip"}
AS_PUBLISHED = {"cifar-10-finetuned": "cifar-10-python.tar.gz"}  # by recipe: fitted on the images as published

SIDE = 224  # of an odd image
BATCH = 64
COLOURS = 64  # of a picture, so that it is small
FLOAT32 = EngineOptions(engine="openvino", precision="float32")

Picture = npt.NDArray[np.uint8]


def truck() -> Picture:
    """A drawing of a truck on a road."""
    image = Image.new("RGB", (SIDE, SIDE), (170, 205, 235))
    pencil = ImageDraw.Draw(image)
    pencil.rectangle((0, 160, SIDE, SIDE), fill=(120, 120, 125))
    pencil.rectangle((20, 60, 140, 150), fill=(200, 60, 50))
    pencil.polygon([(145, 90), (180, 90), (205, 120), (205, 150), (145, 150)], fill=(240, 200, 60))
    pencil.polygon([(155, 97), (177, 97), (194, 119), (155, 119)], fill=(200, 230, 245))
    for x in (50, 105, 175):
        pencil.ellipse((x - 17, 137, x + 17, 171), fill=(30, 30, 30))
        pencil.ellipse((x - 7, 147, x + 7, 161), fill=(160, 160, 160))
    return np.asarray(image)


def hand() -> Picture:
    """A drawing of an open hand."""
    image = Image.new("RGB", (SIDE, SIDE), (225, 225, 220))
    pencil, skin = ImageDraw.Draw(image), (224, 172, 138)
    pencil.rounded_rectangle((75, 110, 150, 205), 30, fill=skin)
    for left, top in ((75, 50), (95, 30), (115, 34), (134, 56)):
        pencil.rounded_rectangle((left, top, left + 17, 150), 8, fill=skin, outline=(190, 135, 105))
    pencil.line([(80, 165), (45, 115)], fill=skin, width=20)
    pencil.ellipse((36, 104, 56, 124), fill=skin)
    return np.asarray(image)


def screenshot() -> Picture:
    """Sightline's own page."""
    with Image.open(DOCS / "page.png") as page:
        return np.asarray(page.convert("RGB"))


ODD: Mapping[str, Callable[[], Picture]] = {
    "truck": truck,
    "hand": hand,
    "screenshot": screenshot,
    "noise": lambda: noise(np.random.default_rng(0)),
    "black": lambda: np.zeros((SIDE, SIDE, 3), np.uint8),
    "chart": lambda: chart(np.random.default_rng(0)),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.honest_pictures", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with the data sets")
    given = parser.parse_args(arguments)
    cards = [STORE.card(name, version) for name, versions in STORE.versions().items() for version in versions]
    draw_odd_images(cards)
    draw_diagrams(cards, given.data, ProgressLines(sys.stderr))


def draw_odd_images(cards: Sequence[Card]) -> None:
    """A column for each odd image, a row for each version: its answer before, and after."""
    from matplotlib import pyplot as plt

    pictures = {name: make() for name, make in ODD.items()}
    said = [_said(card, list(pictures.values())) for card in cards]
    figure, panels = plt.subplots(
        1 + len(cards),
        len(pictures),
        figsize=(1.5 * len(pictures) + 1.3, 1.6 + 0.6 * len(cards)),
        height_ratios=(2.2, *(1 for _ in cards)),
        layout="constrained",
    )
    for panel in panels.ravel():
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
    for panel, (name, picture) in zip(panels[0], pictures.items(), strict=True):
        panel.imshow(Image.fromarray(picture).resize((96, 96)))
        panel.set_title(name, fontsize=10)
    for row, card, answers in zip(panels[1:], cards, said, strict=True):
        row[0].set_ylabel(f"{card.name}\n{card.version}", rotation=0, ha="right", va="center", fontsize=9)
        for panel, (before, after, familiar) in zip(row, answers, strict=True):
            panel.text(0.5, 0.7, before, ha="center", va="center", fontsize=9, color="#6b7280")
            panel.text(
                0.5, 0.25, after, ha="center", va="center", fontsize=9, color="#111827" if familiar else "#dc2626"
            )
    _save(figure, ODD_IMAGES)


def _said(card: Card, pictures: Sequence[Picture]) -> list[tuple[str, str, bool]]:
    """Of each picture what the version said before and what it says now, and whether it finds it familiar."""
    model = LoadedModel.open(STORE, card.name, card.version, FLOAT32)
    try:
        now = model.engine.answer(np.stack([from_array(picture, card.input) for picture in pictures]))
    finally:
        model.close()
    was = _before(card, Evaluation(now.probabilities, np.zeros(len(pictures), np.int64))).probabilities
    return [_words(card, now, was[i], i) for i in range(len(pictures))]


def _words(card: Card, now: Answers, was: npt.NDArray[np.float32], i: int) -> tuple[str, str, bool]:
    row, familiarity = now.probabilities[i], None if now.familiarity is None else float(now.familiarity[i])
    familiar = card.is_familiar(familiarity) is not False
    answer = f"{card.labels[int(row.argmax())]} {row.max():.2f}"
    return (
        f"{card.labels[int(was.argmax())]} {was.max():.2f}",
        answer if familiar else f"unfamiliar, {familiarity:.2f}",
        familiar,
    )


def draw_diagrams(cards: Sequence[Card], data: Path, progress: Progress) -> None:
    """A reliability diagram for each version, of its test images, before and after."""
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(cards), figsize=(3.2 * len(cards), 3.6), layout="constrained", sharey=True)
    for panel, card in zip(panels, cards, strict=True):
        after = _evaluated(card, data / AS_PUBLISHED.get(card.recipe, ARCHIVES[card.name]), progress)
        for answers, style, colour, name in (
            (_before(card, after), "x--", "#dc2626", "before"),
            (after, "o-", "#2563eb", "after"),
        ):
            bins = [(b.confidence, b.accuracy) for b in answers.calibration if b.images]
            panel.plot(
                *zip(*bins, strict=True), style, color=colour, label=f"{name}: error {answers.calibration_error:.3f}"
            )
        panel.plot((0, 1), (0, 1), ":", color="#6b7280")
        panel.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="probability of the answer")
        panel.set_title(f"{card.name} {card.version}\n{len(after.labels):,} test images", fontsize=10)
        panel.legend(frameon=False, loc="upper left", fontsize=8)
        panel.grid(alpha=0.25)
    panels[0].set_ylabel("share that is right")
    _save(figure, RELIABILITY)


def _evaluated(card: Card, data: Path, progress: Progress) -> Evaluation:
    split = load_dataset(data, RECIPES[card.recipe].reader, card.input, progress=progress).splits["test"]
    model = LoadedModel.open(STORE, card.name, card.version, FLOAT32)
    try:
        return Evaluation(_probabilities(model.engine, split.pixels), split.labels)
    finally:
        model.close()


def _probabilities(engine: Engine, pixels_u8: Any) -> npt.NDArray[np.float32]:
    return np.concatenate([engine.infer(pixels_u8[i : i + BATCH]) for i in range(0, len(pixels_u8), BATCH)])


def _before(card: Card, answers: Evaluation) -> Evaluation:
    return answers.before_temperature(card.calibration.temperature) if card.calibration else answers


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=90)
    with Image.open(path) as drawn:
        drawn.convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
