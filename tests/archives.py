"""Small data sets in the real layouts, for every test that needs one: a few seeded images that a network can learn.

A class is a colour and a direction of stripes; noise makes no two images alike.
"""

from __future__ import annotations

import colorsys
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CATS_VS_DOGS_STARTS = (0, 1000, 1500)  # where the articles' train, validation and test ranges begin
KAGGLE_LETTERS = tuple(n for n in range(25) if n != 9)
COURSE_LETTERS = tuple(range(24))

Pixels = npt.NDArray[np.uint8]


def picture(kind: int, kinds: int, seed: int, side: int) -> Pixels:
    """One image of class `kind` of `kinds`: uint8 [side, side, 3]."""
    noise = np.random.default_rng([kind, seed]).normal(0.0, 12.0, (side, side, 3))
    angle = np.pi * kind / kinds
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    stripes = np.sin((across * np.cos(angle) + down * np.sin(angle)) * 8 * np.pi / side)
    colour = np.array(colorsys.hsv_to_rgb(kind / kinds, 0.8, 0.8)) * 255.0
    pixels: Pixels = np.clip(colour * (0.75 + 0.25 * stripes[..., None]) + noise, 0, 255).astype(np.uint8)
    return pixels


def jpeg(pixels: Pixels) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return path


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    return path


def tar_gz_of(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return path


def cats_vs_dogs_files(
    per_class: int = 8,
    *,
    starts: Sequence[int] = CATS_VS_DOGS_STARTS,
    side: int = 48,
    name: Callable[[str, int], str] = "train/{}.{}.jpg".format,
) -> dict[str, bytes]:
    """`per_class` cats and as many dogs from each number in `starts` on; `name("cat", 0)` is a file's name."""
    return {
        name(kind, number): jpeg(picture(label, 2, number, side))
        for label, kind in enumerate(("cat", "dog"))
        for start in starts
        for number in range(start, start + per_class)
    }


def pet_images_files(per_class: int = 8) -> dict[str, bytes]:
    """The same in Microsoft's layout, with what else lies in that zip."""
    files = cats_vs_dogs_files(per_class, name=lambda kind, n: f"PetImages/{kind.title()}/{n}.jpg")
    return files | {"PetImages/Cat/Thumbs.db": b"\0", "readme[1].txt": b"terms", "MSR-LA - 3467.docx": b"PK"}


def cats_vs_dogs_zip(path: Path, per_class: int = 8, side: int = 48) -> Path:
    """Kaggle's names; `per_class` cats and dogs in each of the articles' three ranges."""
    return zip_of(path, cats_vs_dogs_files(per_class, side=side))


def cifar10_files(train_per_class: int = 20, test_per_class: int = 4) -> dict[str, bytes]:
    counts = {"train": train_per_class, "test": test_per_class}
    return {
        f"{split}/{name}/{i:04}.jpg": jpeg(picture(label, 10, i + (split == "test") * 10_000, 32))
        for split, count in counts.items()
        for label, name in enumerate(CIFAR_CLASSES)
        for i in range(count)
    }


def cifar10_zip(path: Path, train_per_class: int = 20, test_per_class: int = 4) -> Path:
    """Class folders of JPEGs. Validation is drawn at random: with fewer images it may come out without some class."""
    return zip_of(path, cifar10_files(train_per_class, test_per_class))


def cifar10_batches(per_class: int = 2) -> dict[str, bytes]:
    """The official six batches and `batches.meta`, `per_class` images of each class in each, as Python 2 wrote them."""
    batches = {}
    for number, name in enumerate((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")):
        labels = list(range(10)) * per_class
        images = [picture(label, 10, 1000 * number + i, 32) for i, label in enumerate(labels)]
        rows = np.stack([image.transpose(2, 0, 1).reshape(3072) for image in images])
        batches[f"cifar-10-batches-py/{name}"] = python2_pickle({"data": rows, "labels": labels, "batch_label": name})
    meta = {"label_names": list(CIFAR_CLASSES), "num_vis": 3072, "num_cases_per_batch": 10 * per_class}
    return batches | {"cifar-10-batches-py/batches.meta": python2_pickle(meta)}


def cifar10_pickles(path: Path, per_class: int = 2) -> Path:
    """A folder with `cifar-10-batches-py/` in it."""
    return folder_of(path, cifar10_batches(per_class))


def cifar10_tar(path: Path, per_class: int = 2) -> Path:
    """The official `cifar-10-python.tar.gz`, small."""
    return tar_gz_of(path, cifar10_batches(per_class))


def sign_mnist_csv(letters: Sequence[int], per_letter: int, seed: int = 0) -> bytes:
    """Rows of 28x28 grey images, the number of the letter in front."""
    lines = ["label," + ",".join(f"pixel{i}" for i in range(1, 785))]
    for turn in range(per_letter):
        for kind, letter in enumerate(letters):
            grey = picture(kind, len(letters), 1000 * seed + turn, 28).mean(axis=2).astype(np.uint8)
            lines.append(f"{letter}," + ",".join(map(str, grey.reshape(-1))))
    return ("\n".join(lines) + "\n").encode()


def sign_mnist_zip(
    path: Path, train_per_letter: int = 40, test_per_letter: int = 4, *, letters: Sequence[int] = KAGGLE_LETTERS
) -> Path:
    """Kaggle's two files, by default with Kaggle's numbering. With fewer rows a split may come out without a letter."""
    files = {
        "sign_mnist_train.csv": sign_mnist_csv(letters, train_per_letter, seed=0),
        "sign_mnist_test.csv": sign_mnist_csv(letters, test_per_letter, seed=1),
    }
    return zip_of(path, files)


def photo_files(classes: Sequence[str] = ("cup", "plate"), per_class: int = 10, side: int = 48) -> dict[str, bytes]:
    return {
        f"{name}/IMG_{i:04}.jpg": jpeg(picture(label, len(classes), i, side))
        for label, name in enumerate(classes)
        for i in range(per_class)
    }


def photo_folders(path: Path, classes: Sequence[str] = ("cup", "plate"), per_class: int = 10, side: int = 48) -> Path:
    """Somebody's own photos: one folder for each class."""
    return folder_of(path, photo_files(classes, per_class, side))


def python2_pickle(value: object) -> bytes:
    """Protocol 2 as Python 2 and the numpy of its time wrote it: byte strings, and `numpy.core`."""
    return b"\x80\x02" + b"".join(_opcodes(value)) + b"."


def _opcodes(value: object) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01("
        for length in value.shape:
            yield from _opcodes(length)
        yield b"tcnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        yield from _opcodes(value.tobytes())
        yield b"tb"
    elif isinstance(value, dict):
        yield b"}("
        for key, item in value.items():
            yield from (*_opcodes(key), *_opcodes(item))
        yield b"u"
    elif isinstance(value, list):
        yield from (b"](", *(code for item in value for code in _opcodes(item)), b"e")
    elif isinstance(value, int):
        yield pickle.BININT + struct.pack("<i", value)
    else:
        body = value if isinstance(value, bytes) else str(value).encode()
        yield pickle.BINSTRING + struct.pack("<i", len(body)) + body
