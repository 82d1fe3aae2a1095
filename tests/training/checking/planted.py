"""Plant faults in real photos, and count how many of them the check finds.

Run:  python -m tests.training.checking.planted ARCHIVE [--images 1000] [--out load_tests/results/planted.json]
Takes some minutes: every photo passes a backbone. ARCHIVE is that of cats and dogs.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from classifier import provenance
from tests.archives import folder_of
from tests.training.checking.photos import COPIES, jpeg
from training.checking.check import Checked, check
from training.checking.classes.features import Asked
from training.datasets import open_listing
from training.datasets.archive import Archive

EXACT, NEAR, WRONG = 0.05, 0.05, 0.03  # of the images
KINDS = ("cat", "dog")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--images", type=int, default=1_000, help="of each class")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    photos = read(chosen.archive, chosen.images)
    here = provenance.of_this_run(("numpy", "pillow", "tensorflow"))
    found = {
        "date": here.date,
        "commit": here.commit,
        "machine": here.machine,
        "images": len(photos),
        "clean": without_planting(photos),
        "copies": copies(photos, rng),
        "labels": labels(photos, rng),
        "imbalance": titles(uneven(photos), "balance"),
        "shortcut": titles(tinted(photos), "shortcut"),
        "mirrored": titles(mirrored(photos), "mirrored"),
    }
    text = json.dumps(found, indent=1) + "\n"
    sys.stdout.write(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


def read(archive: Path, count: int) -> dict[str, bytes]:
    """`train/cat/1.jpg` and so on: three fifths are in train, a fifth in validation, the others in test."""
    splits = ("train", "train", "train", "validation", "test")
    with Archive(archive) as files:
        return {
            f"{splits[n % 5]}/{kind}/{n}.jpg": files.read(f"train/{kind}.{n}.jpg")
            for kind in KINDS
            for n in range(count)
        }


def checked(files: dict[str, bytes], features: Asked = "none") -> Checked:
    with tempfile.TemporaryDirectory() as folder, open_listing(folder_of(Path(folder) / "photos", files)) as listing:
        return check(listing, features=features)


def titles(result: Checked, kind: str) -> list[str]:
    return [each.title for each in result.findings if each.kind == kind]


def without_planting(photos: dict[str, bytes]) -> dict[str, object]:
    began = time.monotonic()
    result = checked(photos, "backbone")
    return {"seconds": round(time.monotonic() - began, 1), "found": [each.title for each in result.findings]}


def copies(photos: dict[str, bytes], rng: np.random.Generator) -> dict[str, object]:
    """Copies of training images in test: how many are named with the image that they were made of."""
    origins = [name for name in photos if name.startswith("train/")]
    drawn = rng.permutation(len(origins))
    exact, near = (round(part * len(photos)) for part in (EXACT, NEAR))
    made: dict[str, Callable[[bytes], bytes]] = {"exact": lambda body: body}
    for kind, change in COPIES.items():
        made[kind] = lambda body, change=change: change(Image.open(io.BytesIO(body)).convert("RGB"), rng)  # type: ignore[misc]
    planted: dict[tuple[str, str], str] = {}
    files = dict(photos)
    for i, at in enumerate(drawn[: exact + near]):
        kind = "exact" if i < exact else list(COPIES)[i % len(COPIES)]
        origin = origins[at]
        copy = origin.replace("train/", "test/").replace(".jpg", f"-{kind.replace(' ', '-')}.jpg")
        files[copy] = made[kind](photos[origin])
        planted[copy, origin] = kind
    result = checked(files)
    named = {tuple(case.files) for each in result.findings if each.kind == "leak" for case in each.cases}
    before = {name for pair in named_pairs(checked(photos)) for name in pair}
    false = [pair for pair in named_pairs(result) if pair not in planted and not set(pair) & before]
    found = {
        kind: f"{sum(pair in named for pair in pairs)} of {len(pairs)}"
        for kind in made
        for pairs in [[pair for pair, planted_as in planted.items() if planted_as == kind]]
    }
    return {"found": found, "pairs": len(named_pairs(result)), "false": false, "real": sorted(before)}


def named_pairs(result: Checked) -> set[tuple[str, ...]]:
    kinds = ("leak", "conflict", "copies", "near-copies")
    return {case.files for each in result.findings if each.kind in kinds for case in each.cases}


def labels(photos: dict[str, bytes], rng: np.random.Generator) -> dict[str, object]:
    """Photos under the other label: how many are among the first suspects."""
    names = list(photos)
    wrong = {names[i] for i in rng.permutation(len(names))[: round(WRONG * len(names))]}
    other = {"cat": "dog", "dog": "cat"}
    moved = {}
    for name in wrong:
        split, kind, file = name.split("/")
        moved[name] = f"{split}/{other[kind]}/was-{kind}-{file}"
    files = {moved.get(name, name): body for name, body in photos.items()}
    result = checked(files, "backbone")
    suspects = [case.files[0] for each in result.findings if each.kind == "label" for case in each.cases]
    planted = set(moved.values())
    first = {n: len(planted & set(suspects[:n])) for n in (len(planted), 2 * len(planted))}
    return {"planted": len(planted), "suspects": len(suspects), "among the first": first, "by": result.features}


def uneven(photos: dict[str, bytes]) -> Checked:
    return checked({name: body for i, (name, body) in enumerate(photos.items()) if "/cat/" in name or i % 10 == 0})


def tinted(photos: dict[str, bytes]) -> Checked:
    """Dogs with a border of their own colour."""
    files = dict(photos)
    for name in [name for name in photos if "/dog/" in name]:
        image = Image.open(io.BytesIO(photos[name])).convert("RGB")
        files[name] = jpeg(ImageOps.expand(ImageOps.crop(image, 20), 20, (70, 110, 180)))
    return checked(files)


def mirrored(photos: dict[str, bytes]) -> Checked:
    """Arrows on photos: they point left in one class and right in the other."""
    files = {}
    for i, name in enumerate(photos):
        image = Image.open(io.BytesIO(photos[name])).convert("RGB")
        arrow = Image.new("RGB", (90, 60), (250, 240, 40))
        arrow.paste((200, 20, 20), (0, 0, 30, 60))
        left = "/cat/" in name
        image.paste(arrow if left else ImageOps.mirror(arrow), (55 + i % 7, 70 + i % 5))
        files[name.replace("/cat/", "/left/").replace("/dog/", "/right/")] = jpeg(image)
    return checked(files, "simple")


if __name__ == "__main__":
    main()
