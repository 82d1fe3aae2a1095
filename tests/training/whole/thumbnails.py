"""20,000 thumbnails, fitted and evaluated as a person would: how much memory that takes, and how long it is silent.

`python -m tests.training.whole.thumbnails --out RECORD.json` makes some 19 MB of JPEG files and keeps what it measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from classifier import provenance
from load_tests import record
from tests.archives import jpeg, picture
from tests.training.whole.observed import observed

RECORD = record.RESULTS / "thumbnails.json"
KINDS = ("bowl", "cup", "fork", "plate")
SIDE = 32


def thumbnails(path: Path, count: int) -> Path:
    """So many JPEG files in class folders."""
    for kind, name in enumerate(KINDS):
        (path / name).mkdir(parents=True)
        for seed in range(count // len(KINDS)):
            (path / name / f"{seed:05}.jpg").write_bytes(jpeg(picture(kind, len(KINDS), seed, SIDE)))
    return path


def main(count: int, to: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        work = Path(folder)
        photos = thumbnails(work / "thumbs", count)
        found: dict[str, Any] = provenance.of_this_run(("tensorflow", "keras", "openvino")).as_json() | {
            "images": sum(1 for _ in photos.rglob("*.jpg")),
            "bytes": sum(path.stat().st_size for path in photos.rglob("*.jpg")),
            "load_before": os.getloadavg()[0],
            "runs": [],
        }
        fit, evaluate = ["fit", "features", "--data", "thumbs"], ["evaluate", "thumbs", "--data", "thumbs"]
        for arguments in (fit, evaluate, [*evaluate, "--json"]):
            found["runs"].append(observed(arguments, work))
            record.write(to, found)
            if arguments is evaluate:  # then the folder is another one, and what it was fitted on is left out
                (photos / KINDS[0] / "00000.jpg").unlink()


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--images", type=int, default=20_000)
    asked.add_argument("--out", type=Path, default=RECORD)
    options = asked.parse_args()
    main(options.images, options.out)
