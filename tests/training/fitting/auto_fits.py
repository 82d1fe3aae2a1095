"""What `fit auto` makes of small sets, beside `features` and `finetuned` on the same photos.

`python -m tests.training.fitting.auto_fits` fits all three on each set, tests them on photos that none of them saw, and
keeps the figures. It goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from classifier import provenance
from classifier.store import ModelStore
from load_tests import record
from tests.archives import jpeg
from tests.training.conftest import SHARED_DATA
from tests.training.whole.arrows import arrow
from training.__main__ import main as training

RECORD = record.RESULTS / "auto-fits.json"
WAYS = ("features", "finetuned", "auto")
HELD_OUT = 300  # of each class

Files = dict[str, bytes]  # by name below a folder


def arrows(_: int) -> tuple[Files, Files]:
    def some(seeds: range) -> Files:
        return {f"{kind}/{seed:04}.jpg": jpeg(arrow(kind, seed)) for kind in ("left", "right") for seed in seeds}

    return some(range(150)), some(range(1_000, 1_000 + HELD_OUT))


def cifar(counts: Mapping[str, int], seed: int) -> tuple[Files, Files]:
    photos, others = Files(), Files()
    with zipfile.ZipFile(SHARED_DATA / "cifar-10.zip") as archive:
        for kind, count in counts.items():
            names = sorted(name for name in archive.namelist() if f"train/{kind}/" in name and name.endswith(".jpg"))
            names = names[1_000 * seed :]
            photos |= {f"{kind}/{Path(name).name}": archive.read(name) for name in names[:count]}
            others |= {f"{kind}/{Path(name).name}": archive.read(name) for name in names[count : count + HELD_OUT]}
    return photos, others


def cats_and_dogs(_: int) -> tuple[Files, Files]:
    with zipfile.ZipFile(SHARED_DATA / "cats-vs-dogs.zip") as archive:

        def some(numbers: range) -> Files:
            return {
                f"{kind}/{n}.jpg": archive.read(f"train/{kind}.{n}.jpg") for kind in ("cat", "dog") for n in numbers
            }

        return some(range(1_000)), some(range(1_500, 2_500))


SETS: dict[str, Callable[[int], tuple[Files, Files]]] = {
    "3 classes of CIFAR-10, 60 each": lambda seed: cifar({"bird": 60, "cat": 60, "ship": 60}, seed),
    "arrows left and right, 150 each": arrows,
    "automobiles and trucks of CIFAR-10, 200 and 20": lambda seed: cifar({"automobile": 200, "truck": 20}, seed),
    "cats and dogs, 1,000 each": cats_and_dogs,
}


def written(folder: Path, files: Files) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def measured(way: str, photos: Path, held_out: Path, minutes: int, seed: int, work: Path) -> dict[str, Any]:
    """One fit, and its accuracy on the photos held out."""
    folders, began = ["--models", str(work / "models")], time.monotonic()
    budget = ["--minutes", str(minutes)] if way == "auto" else []
    options = ["--data", str(photos), "--name", way, "--seed", str(seed), "--runs", str(work / "runs"), *budget]
    if training(["fit", way, *options, *folders]):
        raise SystemExit(f"fit {way} failed")
    took = time.monotonic() - began
    with redirect_stdout(StringIO()) as said:
        training(["evaluate", way, "--data", str(held_out), "--json", *folders])
    found, card = json.loads(said.getvalue()), ModelStore(work / "models").card(way)
    return {
        "accuracy": found["accuracy"],
        "recall": {each["label"]: each["recall"] for each in found["classes"]},
        "tested": found["data"]["images"],
        "taken": f"{card.recipe} at {card.input.width}",
        "augmentation": card.training.augmentation,
        "validation": card.metrics["validation"].accuracy,
        "epochs": card.training.epochs_run,
        "minutes": round(took / 60, 2),
        "load": round(os.getloadavg()[1], 1),  # a mean of the last 5 minutes, this fit counted in
    }


def main(chosen: list[str], ways: list[str], minutes: int, seeds: list[int], to: Path) -> None:
    here = provenance.of_this_run(("tensorflow", "keras")).as_json()
    content: dict[str, Any] = record.read(to) or {"runs": []}
    done = {(run["set"], run["seed"], run["way"]) for run in content["runs"]}
    for name in chosen:
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                photos, held_out = (
                    written(Path(folder, part), files)
                    for part, files in zip(("photos", "held-out"), SETS[name](seed), strict=True)
                )
                for way in ways:
                    if (name, seed, way) in done:
                        continue
                    run = measured(way, photos, held_out, minutes, seed, Path(folder))
                    content["runs"].append({"set": name, "seed": seed, "way": way, "budget": minutes} | run | here)
                    record.write(to, content)
                    sys.stdout.write(f"{content['runs'][-1]}\n")
                    sys.stdout.flush()
                    if way == "finetuned":  # so that each computes its features itself, as the first one does
                        shutil.rmtree(Path(folder, "runs"), ignore_errors=True)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    asked.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    asked.add_argument("--minutes", type=int, default=10, help="the budget of auto")
    asked.add_argument("--seeds", nargs="+", type=int, default=[0])
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    main(options.sets, options.ways, options.minutes, options.seeds, options.out)
