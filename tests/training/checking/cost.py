"""How much of a fit's processor time goes to near copies and to the quick part of the check.

Run:  python -m tests.training.checking.cost ARCHIVE [--images 300] [--recipe features] [--out FILE]
ARCHIVE is that of cats and dogs. Processor time is fair beside other programs, the wall clock is not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from classifier import provenance
from classifier.commands.cli import main
from load_tests import record
from tests.archives import folder_of
from tests.training.checking.planted import KINDS
from training.checking import check
from training.datasets.archive import Archive
from training.datasets.folders.dealing import Dealer

RECORD = record.RESULTS / "data-check-cost.json"
MEASURED = {"near copies share a split": (Dealer, "together"), "quick part of the check": (check, "check_decoded")}


def class_folders(archive: Path, images: int, to: Path) -> Path:
    """`cat/0.jpg` and so on, so many of each."""
    with Archive(archive) as files:
        return folder_of(
            to, {f"{kind}/{n}.jpg": files.read(f"train/{kind}.{n}.jpg") for kind in KINDS for n in range(images)}
        )


def measured(command: list[str]) -> dict[str, float]:
    """Seconds of all processors that a command takes, and those of each of MEASURED."""
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return function(*given, **named)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - began

        return run

    began = time.process_time()
    patches = [mock.patch.object(of, what, timed(name, getattr(of, what))) for name, (of, what) in MEASURED.items()]
    for patch in patches:
        patch.start()
    assert main(command) == 0
    return {"whole fit": time.process_time() - began} | spent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--images", type=int, default=300, help="of each class")
    parser.add_argument("--recipe", default="features")
    parser.add_argument("--out", type=Path, default=RECORD)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = class_folders(asked.archive, asked.images, Path(folder) / "pets")
        where = ["--models", str(Path(folder) / "models"), "--runs", str(Path(folder) / "runs")]
        seconds = measured(["fit", asked.recipe, "--data", str(data), *where])
    run = {
        "recipe": asked.recipe,
        "images": asked.images * len(KINDS),
        "seconds of a processor": {name: round(each, 2) for name, each in seconds.items()},
        "share": round(sum(seconds[name] for name in MEASURED) / seconds["whole fit"], 4),
    }
    here = provenance.of_this_run(("tensorflow", "numpy", "pillow")).as_json()
    others = [each for each in (record.read(asked.out) or {"runs": []})["runs"] if each["images"] != run["images"]]
    record.write(asked.out, here | {"runs": [*others, run]})
    sys.stdout.write(f"{run}\n")
