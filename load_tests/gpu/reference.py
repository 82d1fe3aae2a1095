"""Pictures that are the same on every machine, and what OpenVINO answers to them in float32, kept in a file.

Run:    python -m load_tests.gpu.reference FILE
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier.card import Card
from classifier.engines import EngineOptions, Probabilities, open_engine
from classifier.images import Pixels
from classifier.store import ModelStore
from load_tests.record import ROOT

IMAGES = 1_000
PATCHES = 7  # of one colour, in each direction


def pixels(card: Card, images: int = IMAGES) -> Pixels:
    """Patches of colour under grain, uint8 [images, height, width, channels]; the first ones of more are the same."""
    height, width, channels = card.input.shape
    made = np.empty((images, height, width, channels), np.uint8)
    rows, columns = (np.arange(length) * PATCHES // length for length in (height, width))
    for number in range(images):
        random = np.random.Generator(np.random.PCG64(number))
        patches = random.integers(0, 200, (PATCHES, PATCHES, channels), np.uint8)
        made[number] = patches[rows][:, columns] + random.integers(0, 56, (height, width, channels), np.uint8)
    return made


def key(name: str, version: int) -> str:
    return f"{name}@{version}"


def fingerprint(pixels_u8: Pixels) -> str:
    """By the first hundred: a machine whose NumPy draws other numbers is found out."""
    return hashlib.sha256(pixels_u8[:100].tobytes()).hexdigest()


def answers(card: Card, folder: Path, pixels_u8: Pixels) -> Probabilities:
    engine = open_engine(card, folder, EngineOptions("openvino", "float32"))
    parts = [engine.infer(pixels_u8[first : first + 50]) for first in range(0, len(pixels_u8), 50)]
    engine.close()
    return np.concatenate(parts)


def main(arguments: Sequence[str]) -> None:
    models = ModelStore(ROOT / "models")
    kept = {}
    for name, versions in models.versions().items():
        for version in versions:
            card = models.card(name, version)
            made = pixels(card)
            kept[key(name, version)] = answers(card, models.folder(name, version), made)
            kept[f"{key(name, version)} pixels"] = np.array(fingerprint(made))
    np.savez_compressed(Path(arguments[0]), allow_pickle=False, **kept)


if __name__ == "__main__":
    main(sys.argv[1:])
