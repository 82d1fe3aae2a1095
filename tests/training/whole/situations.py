"""What people give to `fit`, and what should come of it."""

from __future__ import annotations

import os
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tests.archives import jpeg, photo_files, photo_folders, picture, sign_mnist_zip
from tests.training.conftest import SHARED_DATA

Command = tuple[list[str], int]  # its words, and the exit code that it should have
Make = Callable[[Path], object]


@dataclass(frozen=True)
class Situation:
    """A folder that `make` fills, commands in it, and how many versions there are afterwards.

    `counted` is the folder whose images must all be in the card or be said to be left out; `says` must be said.
    """

    name: str
    make: Make
    commands: Sequence[Command]
    versions: int = 1
    counted: str = ""
    says: str = ""
    real_backbone: bool = field(default=False)


def fit(*more: str, recipe: str = "features", data: str = "cups") -> list[str]:
    return ["fit", recipe, "--data", data, *more]


def cups(home: Path, classes: Sequence[str] = ("cup", "plate"), per_class: int = 10, side: int = 48) -> Path:
    return photo_folders(home / "cups", classes, per_class, side)


def with_files(**files: bytes) -> Make:
    """The cups, and other files beside them; `__` in a name stands for `/`, and `_dot_` for a dot."""

    def make(home: Path) -> None:
        folder = cups(home)
        for name, body in files.items():
            path = folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    return make


def image_file(
    kind: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **options: object
) -> Callable[[int], bytes]:
    """A writer of images of a format and mode, whose colour follows from the seed."""

    def write(seed: int) -> bytes:
        out = BytesIO()
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        made = Image.fromarray(pixels)
        made = made.convert(mode) if mode != "I;16" else Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        made.save(out, kind, **options)
        return out.getvalue()

    return write


def of_format(ending: str, write: Callable[[int], bytes]) -> Make:
    def make(home: Path) -> None:
        for kind, name in enumerate(("cup", "plate")):
            folder = home / "cups" / name
            folder.mkdir(parents=True)
            for seed in range(8):
                (folder / f"{seed}{ending}").write_bytes(write(100 * kind + seed))

    return make


def layout(*folders: str, per_class: int = 6) -> Make:
    """Class folders at these paths below `cups`."""

    def make(home: Path) -> None:
        for number, folder in enumerate(folders):
            path = home / "cups" / folder
            path.mkdir(parents=True)
            for seed in range(per_class):
                (path / f"{seed}.jpg").write_bytes(jpeg(picture(number, len(folders), seed, 40)))

    return make


def named(first: str, second: str) -> Situation:
    """Two classes of these names."""
    return Situation(
        f"classes {first!a} and {second!a}", layout(first, second, per_class=8), [(fit(), 0)], counted="cups"
    )


def noise_folders(home: Path) -> None:
    for kind in ("a", "b", "c"):
        folder = home / "cups" / kind
        folder.mkdir(parents=True)
        for seed in range(12):
            pixels = np.random.default_rng([ord(kind), seed]).integers(0, 256, (24, 24, 3), np.uint8)
            (folder / f"{seed}.png").write_bytes(_png(pixels))


def _png(pixels: np.ndarray) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def imbalanced(home: Path) -> None:
    for name, count in (("cup", 60), ("plate", 6)):
        folder = home / "cups" / name
        folder.mkdir(parents=True)
        for seed in range(count):
            (folder / f"{seed}.jpg").write_bytes(jpeg(picture(int(name == "plate"), 2, seed, 40)))


def zipped(home: Path) -> None:
    with zipfile.ZipFile(home / "cups.zip", "w") as archive:
        for name, body in photo_files().items():
            archive.writestr(name, body)


def tarred(home: Path) -> None:
    cups(home / "made")
    with tarfile.open(home / "cups.tar.gz", "w:gz") as archive:
        archive.add(home / "made" / "cups", "cups")


def conflicting(home: Path) -> None:
    folder = cups(home)
    (folder / "plate" / "same.jpg").write_bytes((folder / "cup" / "IMG_0000.jpg").read_bytes())


def copied(home: Path) -> None:
    folder = cups(home)
    for number in range(12):
        (folder / "cup" / f"copy{number}.jpg").write_bytes((folder / "cup" / "IMG_0000.jpg").read_bytes())


def linked_class(home: Path) -> None:
    cups(home / "elsewhere")
    (home / "cups").mkdir()
    for name in ("cup", "plate"):
        (home / "cups" / name).symlink_to(home / "elsewhere" / "cups" / name)


def broken_links(home: Path) -> None:
    folder = cups(home)
    (folder / "cup" / "gone.jpg").symlink_to(home / "nowhere.jpg")
    (folder / "cup" / "round").symlink_to(folder)


def bytes_in_a_name(home: Path) -> None:
    folder = cups(home)
    body = jpeg(picture(0, 2, 99, 40))
    with open(os.fsencode(folder / "cup") + b"/caf\xe9.jpg", "wb") as file:  # noqa: PTH123  (no str can say it)
        file.write(body)


def bytes_in_a_class(home: Path) -> None:
    os.rename(cups(home) / "plate", os.fsencode(home / "cups") + b"/t\xe9")  # noqa: PTH104  (no str can say it)


def two_spellings(home: Path) -> None:
    layout(unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café"))(home)


def yolo(home: Path) -> None:
    for part in ("images/train", "labels/train"):
        (home / "cups" / part).mkdir(parents=True)
    for seed in range(4):
        (home / "cups" / "images" / "train" / f"{seed}.jpg").write_bytes(jpeg(picture(0, 2, seed, 40)))
        (home / "cups" / "labels" / "train" / f"{seed}.txt").write_text("0 0.5 0.5 0.1 0.1")


def cups_and(other: str, *labels: str) -> Make:
    def make(home: Path) -> None:
        cups(home)
        photo_folders(home / other, labels or ("cup", "plate"), 10)

    return make


def letters(home: Path) -> None:
    sign_mnist_zip(home / "letters.zip")


def real_cats_and_dogs(home: Path) -> None:
    """60 cats and 60 dogs of CIFAR-10; noise in their place where there is no such archive."""
    archive = SHARED_DATA / "cifar-10.zip"
    if not archive.is_file():
        layout("cat", "dog", per_class=60)(home)
        return
    with zipfile.ZipFile(archive) as packed:
        for kind in ("cat", "dog"):
            names = sorted(name for name in packed.namelist() if f"train/{kind}/" in name and name.endswith(".jpg"))
            folder = home / "cups" / kind
            folder.mkdir(parents=True)
            for name in names[:60]:
                (folder / Path(name).name).write_bytes(packed.read(name))


JPEG = jpeg(picture(0, 2, 77, 64))
BOMB = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 10**6, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
EVALUATE = ["evaluate", "cups", "--data", "cups"]

ORDINARY = [
    Situation("two classes of ten", cups, [(fit(), 0)], counted="cups"),
    Situation("finetuned", cups, [(fit(recipe="finetuned"), 0)], counted="cups"),
    Situation("three classes", lambda home: cups(home, ("bowl", "cup", "plate")), [(fit(), 0)], counted="cups"),
    Situation(
        "twelve classes", lambda home: cups(home, [f"class {n}" for n in range(12)], 5), [(fit(), 0)], counted="cups"
    ),
    Situation("three images of each class", lambda home: cups(home, per_class=3), [(fit(), 0)], counted="cups"),
    Situation("two images of each class", lambda home: cups(home, per_class=2), [(fit(), 1)], 0, says="add photos"),
    Situation("one class", lambda home: cups(home, ("cup",)), [(fit(), 1)], 0, says="two classes or more"),
    Situation("noise", noise_folders, [(fit(), 0)], counted="cups"),
    Situation("noise, finetuned", noise_folders, [(fit(recipe="finetuned"), 0)], counted="cups"),
    Situation("ten of one class to one of the other", imbalanced, [(fit(), 0)], counted="cups", says="rare classes"),
    Situation("a zip", zipped, [(fit(data="cups.zip"), 0)]),
    Situation("a tar.gz", tarred, [(fit(data="cups.tar.gz"), 0)]),
    Situation(
        "letters", letters, [(fit("--epochs", "1", "--limit", "240", recipe="asl-augmented", data="letters.zip"), 0)]
    ),
    Situation(
        "own photos from scratch, grey", cups, [(fit("--epochs", "1", recipe="asl-augmented"), 0)], counted="cups"
    ),
    Situation(
        "own photos from scratch", cups, [(fit("--epochs", "1", recipe="cifar-10-augmented"), 0)], counted="cups"
    ),
    Situation(
        "real cats and dogs on the real backbone", real_cats_and_dogs, [(fit(), 0)], counted="cups", real_backbone=True
    ),
]

LAYOUTS = [
    Situation(
        "train, validation and test",
        layout(*(f"{s}/{c}" for s in ("train", "validation", "test") for c in "ab")),
        [(fit(), 0)],
        counted="cups",
    ),
    Situation("train and test", layout("train/a", "train/b", "test/a", "test/b"), [(fit(), 0)], counted="cups"),
    Situation("train and val", layout("train/a", "train/b", "val/a", "val/b"), [(fit(), 0)], counted="cups"),
    Situation("train and eval", layout("train/a", "train/b", "eval/a", "eval/b"), [(fit(), 0)], counted="cups"),
    Situation("train and dev", layout("train/a", "train/b", "dev/a", "dev/b"), [(fit(), 0)], counted="cups"),
    Situation("train alone", layout("train/a", "train/b"), [(fit(), 0)], counted="cups"),
    Situation("test alone", layout("test/a", "test/b"), [(fit(), 1)], 0, says="expected a train/ folder"),
    Situation(
        "two names for one split",
        layout("train/a", "train/b", "val/a", "val/b", "dev/a", "dev/b"),
        [(fit(), 1)],
        0,
        says="both stand for",
    ),
    Situation(
        "a split by another name",
        layout("train/a", "train/b", "holdout/a", "holdout/b"),
        [(fit(), 1)],
        0,
        says="not the name of a split",
    ),
    Situation(
        "a class that a split lacks", layout("train/a", "train/b", "test/a"), [(fit(), 1)], 0, says="no images of b"
    ),
    Situation("a class called train", layout("train", "tram"), [(fit(), 0)], counted="cups"),
    Situation("a folder on top", layout("cups/a", "cups/b"), [(fit(), 0)], counted="cups"),
    Situation("sub-folders of a class", layout("a/x", "a/y", "b"), [(fit(), 0)], counted="cups"),
    Situation("YOLO", yolo, [(fit(), 1)], 0, says="object detection"),
    Situation(
        "images in no class",
        lambda home: [(home / "cups").mkdir(), (home / "cups" / "1.jpg").write_bytes(JPEG)],
        [(fit(), 1)],
        0,
        says="class folders",
    ),
    Situation("an empty folder", lambda home: (home / "cups").mkdir(), [(fit(), 1)], 0),
    Situation("no folder", lambda home: None, [(fit(), 1)], 0, says="nothing is there"),
    Situation("a file", lambda home: (home / "cups").write_bytes(b"cups"), [(fit(), 1)], 0, says="this is a file"),
    Situation("an empty class", lambda home: (cups(home) / "bowl").mkdir(), [(fit(), 1)], 0, says="bowl"),
    Situation("links to classes", linked_class, [(fit(), 0)], counted="cups"),
    Situation("broken and circular links", broken_links, [(fit(), 0)], says="leads nowhere"),
    Situation(
        "leftovers of systems",
        with_files(
            **{
                "@eaDir__cup__1_dot_jpg": JPEG,
                "__MACOSX__x_dot_jpg": JPEG,
                "cup___dot_DS_Store": b"x",
                "cup__Thumbs_dot_db": b"x",
            }
        ),
        [(fit(), 0)],
    ),
]

FILES = [
    Situation("PNG", of_format(".png", image_file("PNG")), [(fit(), 0)], counted="cups"),
    Situation("WebP", of_format(".webp", image_file("WEBP")), [(fit(), 0)], counted="cups"),
    Situation("GIF", of_format(".gif", image_file("GIF")), [(fit(), 0)], counted="cups"),
    Situation("BMP", of_format(".bmp", image_file("BMP")), [(fit(), 0)], counted="cups"),
    Situation("TIFF", of_format(".tif", image_file("TIFF")), [(fit(), 0)], counted="cups"),
    Situation("AVIF", of_format(".avif", image_file("AVIF")), [(fit(), 0)], counted="cups"),
    Situation("capitals in endings", of_format(".JPG", image_file("JPEG")), [(fit(), 0)], counted="cups"),
    Situation("PNG called .jpg", of_format(".jpg", image_file("PNG")), [(fit(), 0)], counted="cups"),
    Situation(
        "progressive JPEG", of_format(".jpg", image_file("JPEG", progressive=True)), [(fit(), 0)], counted="cups"
    ),
    Situation("CMYK", of_format(".jpg", image_file("JPEG", "CMYK")), [(fit(), 0)], counted="cups"),
    Situation("grey", of_format(".jpg", image_file("JPEG", "L")), [(fit(), 0)], counted="cups"),
    Situation("transparent", of_format(".png", image_file("PNG", "RGBA")), [(fit(), 0)], counted="cups"),
    Situation("palette", of_format(".png", image_file("PNG", "P")), [(fit(), 0)], counted="cups"),
    Situation("one bit", of_format(".png", image_file("PNG", "1")), [(fit(), 0)], counted="cups"),
    Situation("sixteen bits", of_format(".png", image_file("PNG", "I;16")), [(fit(), 0)], counted="cups"),
    Situation("four pixels", of_format(".png", image_file("PNG", size=(2, 2))), [(fit(), 0)], counted="cups"),
    Situation("very wide", of_format(".jpg", image_file("JPEG", size=(2000, 8))), [(fit(), 0)], counted="cups"),
    Situation("large photos", of_format(".jpg", image_file("JPEG", size=(3000, 2000))), [(fit(), 0)], counted="cups"),
    Situation("a damaged file", with_files(cup__bad_dot_jpg=JPEG[:200]), [(fit(), 0)], counted="cups", says="bad.jpg"),
    Situation("an empty file", with_files(cup__empty_dot_jpg=b""), [(fit(), 0)], counted="cups", says="empty.jpg"),
    Situation(
        "a text called .jpg",
        with_files(cup__note_dot_jpg=b"remember the milk"),
        [(fit(), 0)],
        counted="cups",
        says="note.jpg",
    ),
    Situation(
        "a text", with_files(cup__note_dot_txt=b"remember the milk"), [(fit(), 0)], counted="cups", says="note.txt"
    ),
    Situation(
        "a file that announces 3.6 gigapixels",
        with_files(cup__bomb_dot_bmp=BOMB),
        [(fit(), 0)],
        counted="cups",
        says="bomb.bmp",
    ),
    Situation("a raw photo", with_files(cup__photo_dot_CR2=b"II*\0"), [(fit(), 0)], counted="cups", says="raw photo"),
    Situation(
        "twenty damaged files",
        with_files(**{f"cup__bad{n}_dot_jpg": JPEG[: 100 + n] for n in range(20)}),
        [(fit(), 0)],
        counted="cups",
        says="cups.left-out.txt",
    ),
    Situation(
        "damaged files alone in a class",
        with_files(**{f"bowl__{n}_dot_jpg": JPEG[: 100 + n] for n in range(5)}),
        [(fit(), 1)],
        0,
        says="bowl",
    ),
    Situation("a contradiction", conflicting, [(fit(), 1)], 0, says="under two labels"),
    Situation("a contradiction left out", conflicting, [(fit("--drop-conflicts"), 0)], counted="cups", says="same.jpg"),
    Situation("copies", copied, [(fit(), 0)], counted="cups", says="a copy, byte for byte"),
    Situation("a file name that is not UTF-8", bytes_in_a_name, [(fit(), 0)], counted="cups"),
]

NAMES = [
    named("日本", "写真"),
    named("Cat", "cat"),
    named("1", "01"),
    named("a b", "a-b"),
    named("it's", 'a "cup"'),
    named("🐱", "🐶"),
    named("-rf", "$HOME"),
    named("a" * 200, "b" * 200),
    named("con", "nul.txt"),
    named("<b>", "&amp;"),
    named("100%", "50%"),
    named("%s", "{0}"),
    named("عربي", "עברית"),
    Situation("two spellings of one name", two_spellings, [(fit(), 1)], 0, says="2 folders are called"),
    Situation("a class that is not UTF-8", bytes_in_a_class, [(fit(), 1)], 0, says="is not UTF-8"),
    Situation(
        "another folder of the same name",
        cups_and("CUPS"),
        [(fit(), 0), (fit(data="CUPS"), 1)],
        says="is a model already",
    ),
    Situation(
        "another folder by its own name", cups_and("CUPS"), [(fit(), 0), (fit("--name", "mugs", data="CUPS"), 0)], 2
    ),
    Situation(
        "other labels",
        cups_and("more", "cup", "mug"),
        [(fit(), 0), (fit("--name", "cups", data="more"), 1)],
        says="--new-labels",
    ),
    Situation(
        "other labels, meant",
        cups_and("more", "cup", "mug"),
        [(fit(), 0), (fit("--name", "cups", "--new-labels", data="more"), 0)],
        2,
    ),
    Situation(
        "a folder without a Latin letter",
        lambda home: photo_folders(home / "写真", ("a", "b")),
        [(fit(data="写真"), 0)],
    ),
    Situation("a bad --name", cups, [(fit("--name", "../cups"), 1)], 0, says="cannot name a model"),
    Situation("~ in a path", cups, [(["fit", "features", "--data=~/cups"], 0)]),
]

OPTIONS = [
    Situation("one epoch", cups, [(fit("--epochs", "1"), 0)]),
    Situation("no epoch", cups, [(fit("--epochs", "0"), 2)], 0),
    Situation("another seed", cups, [(fit("--seed", "5", "-v"), 0)]),
    Situation("the best that a minute finds", cups, [(fit("--minutes", "1", recipe="auto"), 0)]),
    Situation("minutes for a recipe", cups, [(fit("--minutes", "3"), 2)], versions=0, says="--minutes is for"),
    Situation("a limit", cups, [(fit("--limit", "4"), 0)]),
    Situation("a limit below the classes", cups, [(fit("--limit", "1"), 1)], 0, says="fewer than one image of each"),
    Situation("float32", cups, [(fit("--precision", "float32", recipe="finetuned"), 0)]),
    Situation("bfloat16", cups, [(fit("--precision", "bfloat16", recipe="finetuned"), 0)]),
    Situation("float16", cups, [(fit("--precision", "float16", recipe="finetuned"), 0)]),
    Situation("an unknown backbone", cups, [(fit("--backbone", "vgg-16"), 1)], 0, says="efficientnet-lite0"),
    Situation("an unknown recipe", cups, [(fit(recipe="feature"), 1)], 0, says="there is:"),
    Situation("two folds", cups, [(fit("--folds", "2"), 0)], 0, says="over 2 folds"),
    Situation(
        "two folds of finetuned, recorded", cups, [(fit("--folds", "2", "--record", "kept", recipe="finetuned"), 0)], 0
    ),
    Situation("too many folds", cups, [(fit("--folds", "30"), 1)], 0, says="30 folds"),
    Situation("one fold", cups, [(fit("--folds", "1"), 2)], 0),
    Situation("no augmentation", cups, [(fit("--augment", "flip=0,rotate=0,shift=0,zoom=0", recipe="finetuned"), 0)]),
    Situation(
        "every augmentation",
        cups,
        [
            (
                fit(
                    "--augment",
                    "flip=1,rotate=30,shift=0.2,shear=9,zoom=0.3,contrast=0.2,cutout=0.3",
                    recipe="finetuned",
                ),
                0,
            )
        ],
    ),
    Situation("augmentation of features", cups, [(fit("--augment", "flip=0"), 1)], 0, says="finetuned augments"),
    Situation(
        "an unknown augmentation", cups, [(fit("--augment", "blur=1", recipe="finetuned"), 2)], 0, says="flip=0 to 1"
    ),
    Situation("class weights on", cups, [(fit("--class-weights", "on"), 0)]),
    Situation("class weights off", imbalanced, [(fit("--class-weights", "off"), 0)]),
    Situation("no patience", cups, [(fit("--patience", "0", "--verbose"), 0)]),
    Situation("little patience", noise_folders, [(fit("--patience", "1", "--epochs", "2"), 0)]),
    Situation("resumed from nothing", cups, [(fit("--resume"), 0)]),
    Situation("restarted from nothing", cups, [(fit("--restart"), 0)]),
    Situation("resumed and restarted", cups, [(fit("--resume", "--restart"), 2)], 0),
    Situation("twice", cups, [(fit(), 0), (fit(), 0)], 2),
    Situation("other folders", cups, [(fit("--runs", "a/b", "--record", "kept", "--models", "models"), 0)]),
    Situation(
        "runs that cannot be written",
        lambda home: [cups(home), (home / "runs").write_text("in the way")],
        [(fit(), 1)],
        0,
    ),
    Situation(
        "models that cannot be written",
        lambda home: [cups(home), (home / "models").write_text("in the way")],
        [(fit(), 1)],
        0,
    ),
]

SEQUENCES = [
    Situation(
        "evaluated", cups, [(fit(), 0), (EVALUATE, 0), ([*EVALUATE, "--json"], 0), ([*EVALUATE, "--out", "there"], 0)]
    ),
    Situation(
        "evaluated on each split",
        cups,
        [(fit(), 0), *(([*EVALUATE, "--split", split], 0) for split in ("train", "validation", "test"))],
    ),
    Situation(
        "evaluated on other labels",
        cups_and("more", "mug", "jug"),
        [(fit(), 0), (["evaluate", "cups", "--data", "more"], 1)],
        says="not among the labels",
    ),
    Situation(
        "evaluated on fewer photos",
        lambda home: [cups(home), photo_folders(home / "more", ("cup", "plate"), 9)],
        [(fit(), 0), (["evaluate", "cups", "--data", "more"], 0)],
        says="left out, since it was fitted or chosen on them",
    ),
    Situation(
        "recorded and reported",
        cups,
        [
            (fit("--record", "runs/records"), 0),
            (fit("--record", "runs/records", "--seed", "1"), 0),
            (["report", "--records", "runs/records"], 0),
            (["report"], 0),
        ],
        2,
        says="report.md",
    ),
    Situation(
        "recorded folds reported",
        cups,
        [(fit("--folds", "2", "--record", "runs/records"), 0), (["report"], 0)],
        0,
        says="report.md",
    ),
    Situation("reported without records", cups, [(["report"], 1)], 0, says="no such folder"),
    Situation("previewed", cups, [(["preview", "finetuned", "--data", "cups"], 0)], 0, says="augmentation: rotated"),
    Situation(
        "previewed without augmentation",
        cups,
        [(["preview", "features", "--data", "cups"], 1)],
        0,
        says="finetuned does",
    ),
    Situation(
        "previewed with other augmentation",
        imbalanced,
        [(["preview", "finetuned", "--data", "cups", "--augment", "flip=0", "--out", "a/b.png"], 0)],
        0,
        says="rare classes",
    ),
    Situation(
        "accuracy by number of images",
        lambda home: cups(home, per_class=30),
        [(["learning-curve", "features", "--data", "cups", "--counts", "4,8", "--seeds", "0,1"], 0)],
        0,
        says="cups.images-per-class.csv",
    ),
    Situation(
        "timed",
        cups,
        [(fit(), 0), (["speed", "models/cups/1", "--rounds", "1", "--seconds", "0.2"], 0)],
        says="images/s",
    ),
    Situation("rechecked", cups, [(fit(), 0), (["recheck", "cups", "--data", "cups"], 0)], says="same top class"),
    Situation(
        "pipeline timed",
        cups,
        [(["pipeline", "finetuned", "--data", "cups", "--batches", "2", "--rounds", "1"], 0)],
        0,
        says="of the slower",
    ),
]

SITUATIONS = [*ORDINARY, *LAYOUTS, *FILES, *NAMES, *OPTIONS, *SEQUENCES]
