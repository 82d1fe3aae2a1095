"""`training.datasets`: the readers by name, and which of them reads what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from classifier.card import InputSpec
from tests.archives import cats_vs_dogs_zip, cifar10_tar, cifar10_zip, photo_folders, sign_mnist_zip, zip_of
from training.datasets import READERS, CatsVsDogs, Cifar10, DatasetError, load_dataset

SPEC = InputSpec(height=32, width=32, channels=3)


def test_every_reader_goes_by_its_own_name() -> None:
    assert {name: reader.name for name, reader in READERS.items()} == {name: name for name in READERS}


def test_the_articles_second_edition_is_the_default_of_cats_vs_dogs() -> None:
    expected = CatsVsDogs(train=range(1000), validation=range(1000, 1500), test=range(1500, 2500))
    assert READERS["cats-vs-dogs"] == expected


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cats-vs-dogs", cats_vs_dogs_zip),
        ("cifar-10", cifar10_zip),
        ("cifar-10", cifar10_tar),
        ("sign-mnist", sign_mnist_zip),
    ],
)
def test_each_archive_is_known_to_its_own_reader_and_read_by_it(
    name: str, make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path / "archive")
    public = {n for n, reader in READERS.items() if n != "folders" and reader.recognises(path)}
    assert public == {name}
    assert load_dataset(path, READERS[name], SPEC, limit=48 if name == "sign-mnist" else 10).name == name


@pytest.mark.parametrize("name", READERS)
def test_own_photos_are_read_whichever_recipe_is_chosen(name: str, tmp_path: Path) -> None:
    dataset = load_dataset(photo_folders(tmp_path / "table", ("cup", "plate")), READERS[name], SPEC)
    assert dataset.name == "table"
    assert dataset.labels == ("cup", "plate")


def test_a_layout_nobody_knows_is_refused_with_what_was_expected_what_came_and_what_to_do(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "notes.zip", {f"{i}.txt": b"" for i in range(5)})
    with pytest.raises(DatasetError) as seen:
        load_dataset(path, Cifar10(), SPEC)
    for part in ("layout of cifar-10", "5 files (0.txt", "fetch cifar-10", "PHOTOS/CLASS/*.jpg"):
        assert part in str(seen.value)


def test_a_path_with_nothing_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing is there"):
        load_dataset(tmp_path / "missing.zip", Cifar10(), SPEC)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="it holds no files"):
        load_dataset(tmp_path, Cifar10(), SPEC)


def test_reading_data_does_not_load_tensorflow() -> None:
    code = "import sys, training.datasets; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_a_recipe_for_class_folders_asks_for_class_folders_alone(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "notes.zip", {f"{i}.txt": b"" for i in range(5)})
    with pytest.raises(DatasetError, match=r"expected class folders, it holds 5 files \(0\.txt.*PHOTOS/CLASS") as seen:
        load_dataset(path, READERS["folders"], SPEC)
    assert "fetch" not in str(seen.value)
