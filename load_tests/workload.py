"""What speed is measured of: models, their versions, and the pictures that are sent to them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from classifier.store import ModelStore
from load_tests import offline
from load_tests.pictures import Picture, jpegs

# The articles' networks: figures of different months stay comparable when a better version is added.
VERSIONS = {"cats-vs-dogs": 1, "cifar-10": 1, "asl": 1}
IMAGES = {  # width and height
    "cats-vs-dogs": ((200, 200), (500, 374)),
    "cifar-10": ((32, 32),),
    "asl": ((28, 28),),
}
SAMPLE = 40  # different images of each size


class Pictures(NamedTuple):
    """The pictures of one size for one model, with what the offline predictor answers."""

    model: str
    size: str
    sample: Sequence[Picture]
    expected: Mapping[Path, Mapping[str, float]]


def measured_store(store: Path, folder: Path) -> Path:
    """Make a store in `folder` that has just the versions that are measured, as copies.

    A model that lacks its version there has its newest; one that the store lacks is left out.
    """
    known = ModelStore(store).versions()
    for model, version in VERSIONS.items():
        if model in known:
            chosen = version if version in known[model] else max(known[model])
            shutil.copytree(ModelStore(store).folder(model, chosen), folder / model / str(chosen))
    return folder


def drawn(store: Path, model: str, folder: Path) -> list[Pictures]:
    """The pictures for a model in every size, without right answers; grey where the model is."""
    grey = ModelStore(store).card(model).input.channels == 1
    return [
        Pictures(model, f"{width}x{height}", jpegs(folder / f"{model}-{width}", (width, height), SAMPLE, grey=grey), {})
        for width, height in IMAGES[model]
    ]


def with_answers(store: Path, pictures: Pictures, precision: str = "float32") -> Pictures:
    """The same with the answers of the newest version in the store. Raises RuntimeError."""
    version = ModelStore(store).card(pictures.model).version
    about = {"model": pictures.model, "version": version, "engine": "openvino", "precision": precision}
    return pictures._replace(expected=offline.answers(about, pictures.sample, store))
