"""Fits on small and hard sets of images, saved and then served: none may be refused.

`python -m tests.training.test_small_fits 200` makes so many of them, but for those that its record has, and says
how many were refused. With `--kind cifar` they are fits of `features` on 60 cats and 60 dogs of CIFAR-10.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from classifier import provenance
from classifier.store import ModelStore
from load_tests import record
from service.inference.catalog import Catalog
from service.settings import Settings
from tests.classifier.engines import straying
from tests.training.conftest import SHARED_DATA
from tests.training.tiny_backbone import SPEC, on_tiny
from training import export
from training.datasets.dataset import Dataset, Split
from training.datasets.folders import Folders
from training.fitting.fit import fit
from training.fitting.options import FitOptions
from training.recipes import FOR_ANY_IMAGES
from training.recipes.recipe import Recipe

pytestmark = pytest.mark.slow

RECORD = record.RESULTS / "small-fits.json"
PER_CLASS = 60  # cats, and as many dogs


class Outcome(NamedTuple):
    """Why a server refuses the version of a fit, "" where it does not, and the precision that it runs it in."""

    seed: int
    refused: str
    precision: str
    seconds: float


class Kind(NamedTuple):
    """What is fitted, and on which images of a random draw, which may use a folder of its own."""

    recipe: Callable[[], Recipe]
    images: Callable[[np.random.Generator, Path], Dataset]


def noise(rng: np.random.Generator, _: Path) -> Dataset:
    """Noise with labels that have nothing to do with it: 2 to 5 classes, 10 to 60 images, sometimes 1,000 to test."""
    classes = int(rng.integers(2, 6))
    sizes = {
        "train": int(rng.integers(10, 60)),
        "validation": int(rng.integers(5, 20)),
        "test": int(rng.choice([5, 20, 1000])),
    }
    splits = {
        name: Split(
            rng.integers(0, 256, (max(size, classes), *SPEC.shape), np.uint8),
            np.arange(max(size, classes)) % classes,
        )
        for name, size in sizes.items()
    }
    return Dataset("noise", tuple(f"class-{n}" for n in range(classes)), splits)


def cats_and_dogs(rng: np.random.Generator, folder: Path) -> Dataset:
    """60 cats and 60 dogs of CIFAR-10, as somebody's own photos."""
    with zipfile.ZipFile(SHARED_DATA / "cifar-10.zip") as archive:
        for kind in ("cat", "dog"):
            names = sorted(name for name in archive.namelist() if f"train/{kind}/" in name and name.endswith(".jpg"))
            (folder / kind).mkdir(parents=True)
            for name in rng.choice(names, PER_CLASS, replace=False):
                (folder / kind / Path(name).name).write_bytes(archive.read(name))
    return Folders().load(folder, FOR_ANY_IMAGES["features"].input)


KINDS = {
    "noise": Kind(on_tiny, noise),
    "cifar": Kind(lambda: FOR_ANY_IMAGES["features"], cats_and_dogs),
}


def fit_and_serve(kind: Kind, seed: int, folder: Path, strays: straying.Strays) -> Outcome:
    """Fit, save, and load as a server does.

    The processor seems to have bfloat16, in which answers stray by up to 0.1; a batch strays otherwise than one image.
    """
    rng, began = np.random.default_rng(seed), time.monotonic()
    strays.alone_by, strays.in_batches_by = rng.uniform(0, 0.1), rng.uniform(0, 0.1)
    if seed % 2:  # a processor that hardly strays, where bfloat16 is taken
        strays.alone_by = strays.in_batches_by = rng.uniform(0, 0.02)
    store, dataset = ModelStore(folder / "models"), kind.images(rng, folder / "photos")
    export.save_version(store, fit(kind.recipe(), dataset, FitOptions("noise", folder / "run", seed=seed)))
    return Outcome(seed, *asyncio.run(served(store.root)), seconds=round(time.monotonic() - began, 1))


async def served(models: Path) -> tuple[str, str]:
    """Why versions of a store are refused, and the precisions of those that are not."""
    catalog = Catalog(Settings(models=models, engine="openvino"))
    await catalog.load()
    try:
        reasons = "; ".join(reason for _, _, reason in catalog.broken())
        precisions = "".join(version.model.engine.precision for version in catalog.served())
        return reasons, precisions
    finally:
        await catalog.close()


@pytest.mark.parametrize("seed", range(4))
def test_what_a_fit_saves_a_server_takes(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strays = straying.install(monkeypatch)
    monkeypatch.setattr(export, "supports_bfloat16", lambda: True)
    found = fit_and_serve(KINDS["noise"], seed, tmp_path, strays)
    assert found.refused == ""
    assert found.precision in ("float32", "bfloat16")
    recorded = ModelStore(tmp_path / "models").card("noise").check_of("openvino", "bfloat16")
    assert recorded is not None
    assert recorded.sample_difference == pytest.approx(strays.alone_by, abs=1e-3)


def main(fits: int, kind: str, to: Path) -> None:
    import keras

    content: dict[str, Any] = record.read(to) or {}
    session = provenance.of_this_run(("tensorflow", "keras", "openvino")).as_json()
    done: list[dict[str, Any]] = content.setdefault(kind, [])
    with pytest.MonkeyPatch.context() as patch:
        strays = straying.install(patch)
        patch.setattr(export, "supports_bfloat16", lambda: True)
        for seed in sorted(set(range(fits)) - {each["seed"] for each in done}):
            keras.backend.clear_session()  # or each network would stay in memory
            with tempfile.TemporaryDirectory() as folder:
                found = fit_and_serve(KINDS[kind], seed, Path(folder), strays)
            done.append(found._asdict() | {"commit": session["commit"], "date": session["date"]})
            record.write(to, content | {"machine": session["machine"], "libraries": session["libraries"]})
            sys.stdout.write(f"{kind}: {len(done)} fits, {sum(bool(each['refused']) for each in done)} refused\n")
            sys.stdout.flush()
    runs = [each["precision"] for each in done]
    refused = [f"seed {each['seed']}: {each['refused']}" for each in done if each["refused"]]
    found_all = f"{len(done)} fits, {len(refused)} refused; {runs.count('bfloat16')} run in bfloat16"
    sys.stdout.write("\n".join([f"{kind}: {found_all}", *refused, ""]))


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("fits", type=int)
    asked.add_argument("--kind", choices=sorted(KINDS), default="noise")
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    main(options.fits, options.kind, options.out)
