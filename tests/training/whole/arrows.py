"""Pictures of arrows, whose mirror images belong to another class, and what a fit makes of them.

`python -m tests.training.whole.arrows features finetuned` fits each recipe on 150 arrows to the left and 150 to the
right, with the flip left to the fit, and keeps the accuracies.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from classifier import provenance
from classifier.store import ModelStore
from load_tests import record
from tests.archives import jpeg

RECORD = record.RESULTS / "arrows.json"
DEGREES = {"right": 0.0, "left": 180.0, "up": 90.0, "down": 270.0}
WIDTH, HEIGHT = 320, 240


def arrow(kind: str, seed: int) -> npt.NDArray[np.uint8]:
    """One arrow, uint8 [240, 320, 3]: place, size, colours and thickness are random, and up to 12 degrees of angle."""
    rng = np.random.default_rng([seed, int(DEGREES[kind])])
    ground = rng.integers(0, 256, 3)
    ink = (ground + rng.integers(90, 166, 3)) % 256
    picture = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(value) for value in ground))
    draw = ImageDraw.Draw(picture)
    length, thick = rng.uniform(90, 200), rng.uniform(8, 26)
    head, wide = rng.uniform(0.25, 0.45) * length, rng.uniform(1.6, 3.0) * thick
    outline = [  # pointing right, around its middle
        (-length / 2, -thick / 2),
        (length / 2 - head, -thick / 2),
        (length / 2 - head, -wide),
        (length / 2, 0.0),
        (length / 2 - head, wide),
        (length / 2 - head, thick / 2),
        (-length / 2, thick / 2),
    ]
    angle = math.radians(DEGREES[kind] + rng.uniform(-12, 12))
    across, down = rng.uniform(110, WIDTH - 110), rng.uniform(90, HEIGHT - 90)
    turned = [
        (across + x * math.cos(angle) + y * math.sin(angle), down - x * math.sin(angle) + y * math.cos(angle))
        for x, y in outline
    ]
    draw.polygon(turned, fill=tuple(int(value) for value in ink))
    grain = rng.normal(0, 10, (HEIGHT, WIDTH, 3))
    return np.clip(np.asarray(picture, np.float64) + grain, 0, 255).astype(np.uint8)


def arrow_folders(path: Path, per_class: int, kinds: tuple[str, ...] = ("left", "right")) -> Path:
    """A folder of JPEG arrows for each kind."""
    for kind in kinds:
        (path / kind).mkdir(parents=True)
        for seed in range(per_class):
            (path / kind / f"{seed:04}.jpg").write_bytes(jpeg(arrow(kind, seed)))
    return path


def measure(recipe: str, per_class: int, seed: int, work: Path) -> dict[str, Any]:
    """Fit a recipe as a person would, and what its card says."""
    from training.__main__ import main as training

    photos = work / "arrows"
    if not photos.is_dir():
        arrow_folders(photos, per_class)
    folders = ["--models", str(work / "models"), "--runs", str(work / "runs"), "--name", f"arrows-{recipe}"]
    if training(["fit", recipe, "--data", str(photos), "--seed", str(seed), *folders]):
        raise SystemExit(f"fit {recipe} failed")
    card = ModelStore(work / "models").card(f"arrows-{recipe}")
    return {
        "recipe": recipe,
        "arrows_of_each_class": per_class,
        "seed": seed,
        "epochs": card.training.epochs_run,
        "best_epoch": card.training.best_epoch,
        "augmentation": card.training.augmentation,
        "metrics": {name: metrics.model_dump(mode="json") for name, metrics in card.metrics.items()},
    }


def main(recipes: list[str], per_class: int, seed: int, to: Path) -> None:
    here = provenance.of_this_run(("tensorflow", "keras")).as_json()
    content: dict[str, Any] = record.read(to) or {"runs": []}
    with tempfile.TemporaryDirectory() as work:
        for recipe in recipes:
            content["runs"].append(measure(recipe, per_class, seed, Path(work)) | here)
            record.write(to, content)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("recipes", nargs="+")
    asked.add_argument("--arrows", type=int, default=150, help="of each class")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    main(options.recipes, options.arrows, options.seed, options.out)
