"""The walk through docs/training.md with 20 photos of each of two classes, as a phone takes them.

`python -m tests.training.whole.walk` enlarges cats and dogs to 12 megapixels, gives the commands of the document one
after the other, and keeps what each said and how long it took.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from classifier import provenance
from load_tests import record
from tests.training.conftest import SHARED_DATA
from tests.training.whole.observed import observed

RECORD = record.RESULTS / "training-walk.json"
PHONE = (4032, 3024)  # pixels of a phone's photo
PER_CLASS = 20
ORIENTATION, TURNED_RIGHT = 0x0112, 6  # of EXIF: the phone was held upright
DATA = ["--data", "my_photos"]
WALK = (
    ["fit", "features", *DATA],
    ["preview", "finetuned", *DATA],
    ["fit", "finetuned", *DATA],
    ["list"],
    ["predict", "my-photos", "my_photos/cat/IMG_0000.jpg"],
    ["evaluate", "my-photos", *DATA, "--out", "evaluation"],
)


def phone_photo(body: bytes, seed: int) -> bytes:
    """A small picture as a JPEG of 12 megapixels with the sensor's noise, every other one held upright."""
    with Image.open(BytesIO(body)) as small:
        large = small.convert("RGB").resize(PHONE, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(seed).integers(-4, 5, (PHONE[1], PHONE[0], 1), np.int16)
    photo = Image.fromarray(np.clip(np.asarray(large, np.int16) + grain, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    if seed % 2:
        photo = photo.transpose(Image.Transpose.ROTATE_90)
        exif[ORIENTATION] = TURNED_RIGHT
    out = BytesIO()
    photo.save(out, "JPEG", quality=90, exif=exif)
    return out.getvalue()


def phone_photos(path: Path) -> Path:
    """Class folders of 20 cats and 20 dogs."""
    with zipfile.ZipFile(SHARED_DATA / "cats-vs-dogs.zip") as archive:
        for kind in ("cat", "dog"):
            (path / kind).mkdir(parents=True)
            for number in range(PER_CLASS):
                body = archive.read(f"train/{kind}.{number}.jpg")
                (path / kind / f"IMG_{number:04}.jpg").write_bytes(phone_photo(body, number))
    return path


def main(to: Path) -> None:
    found: dict[str, Any] = provenance.of_this_run(("tensorflow", "keras", "openvino")).as_json()
    found |= {"load_before": os.getloadavg()[0], "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        phone_photos(Path(folder) / "my_photos")
        for arguments in WALK:
            found["runs"].append(observed(arguments, Path(folder)))
            found["seconds"] = round(sum(run["seconds"] for run in found["runs"]), 1)
            record.write(to, found)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=RECORD)
    main(asked.parse_args().out)
