"""`training.datasets.folders.layout`: what folders' names say, and what is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from classifier.card import InputSpec
from tests.archives import folder_of, zip_of
from training.datasets import DatasetError, Folders, load_dataset
from training.datasets.archive import Archive
from training.datasets.folders.layout import Layout, labels_of, read_layout
from training.recipes import RECIPES


def layout(path: Path) -> Layout:
    with Archive(path) as archive:
        return read_layout(archive)


def splits_and_labels(path: Path) -> set[tuple[str, str]]:
    return {(file.split, file.label) for file in layout(path).files}


def named(*names: str) -> dict[str, bytes]:
    return {name: name.encode() for name in names}


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "val"), ("train", "validation")),
        (("train", "dev"), ("train", "validation")),
        (("train", "eval"), ("train", "validation")),
        (("Training", "Evaluation", "Testing"), ("train", "validation", "test")),
        (("train", "dev", "eval"), ("train", "validation", "test")),
        (("train", "valid", "evaluation"), ("train", "validation", "test")),
    ],
    ids=str,
)
def test_the_usual_names_of_splits_are_known(folders: tuple[str, ...], splits: tuple[str, ...], tmp_path: Path):
    files = named(*(f"{folder}/{kind}/1.jpg" for folder in folders for kind in ("cat", "dog")))
    assert splits_and_labels(zip_of(tmp_path / "p.zip", files)) == {(s, k) for s in splits for k in ("cat", "dog")}


def test_two_folders_for_one_split_are_refused(tmp_path: Path):
    files = named(*(f"{folder}/{kind}/1.jpg" for folder in ("train", "val", "valid") for kind in ("cat", "dog")))
    with pytest.raises(DatasetError, match="val/ and valid/ both stand for validation"):
        layout(zip_of(tmp_path / "p.zip", files))


def test_a_split_by_another_name_is_not_taken_for_a_class(tmp_path: Path):
    files = named(*(f"{folder}/{kind}/1.jpg" for folder in ("train", "holdout") for kind in ("cat", "dog")))
    with pytest.raises(DatasetError, match=r"train/ and holdout/ hold the same classes \(cat, dog\)"):
        layout(zip_of(tmp_path / "p.zip", files))


@pytest.mark.parametrize(
    "names",
    [
        ("images/train/1.jpg", "images/val/2.jpg", "labels/train/1.txt", "labels/val/2.txt", "data.yaml"),
        ("train/images/1.jpg", "train/labels/1.txt", "valid/images/2.jpg", "valid/labels/2.txt"),
        ("VOC/JPEGImages/1.jpg", "VOC/Annotations/1.xml"),
        ("images/1.jpg", "annotations/instances.json"),
    ],
    ids=["yolo", "roboflow", "voc", "coco"],
)
def test_the_layouts_of_detectors_are_named(names: tuple[str, ...], tmp_path: Path):
    path = zip_of(tmp_path / "p.zip", named(*names))
    with pytest.raises(DatasetError, match="layout for object detection"):
        load_dataset(path, RECIPES["cifar-10-augmented"].reader, InputSpec(height=8, width=8, channels=3))


def test_yolos_layout_of_classes_is_read(tmp_path: Path):
    files = named(*(f"{split}/{kind}/1.jpg" for split in ("train", "val") for kind in ("cat", "dog")), "data.yaml")
    assert ("validation", "cat") in splits_and_labels(zip_of(tmp_path / "p.zip", files))


def test_folders_of_network_drives_are_no_classes(tmp_path: Path):
    files = named("cat/1.jpg", "cat/@eaDir/1.jpg/SYNO.jpg", "dog/1.jpg", "@eaDir/2.jpg", "__MACOSX/cat/._1.jpg")
    found = layout(folder_of(tmp_path / "p", files | {"cat/.DS_Store": b""}))
    assert labels_of(tmp_path, found) == ("cat", "dog")
    assert len(found.files) == 2
    assert found.left_out == ()


def test_two_spellings_of_one_name_collide(tmp_path: Path):
    decomposed = unicodedata.normalize("NFD", "café")
    with pytest.raises(DatasetError, match=r"2 folders are called café"):
        layout(zip_of(tmp_path / "p.zip", named(f"{decomposed}/1.jpg", "café/2.jpg", "tea/3.jpg")))


def test_spellings_of_different_splits_are_one_class(tmp_path: Path):
    decomposed = unicodedata.normalize("NFD", "café")
    files = named("train/café/1.jpg", f"test/{decomposed}/2.jpg", "train/tea/3.jpg", "test/tea/4.jpg")
    path = zip_of(tmp_path / "p.zip", files)
    assert labels_of(path, layout(path)) == ("café", "tea")


@pytest.mark.parametrize(("name", "said"), [("x.jxl", "JPEG XL is not read"), ("x.CR2", "raw photo is not read")])
def test_other_formats_are_called_by_name(name: str, said: str, tmp_path: Path):
    (skipped,) = layout(zip_of(tmp_path / "p.zip", named("cat/1.jpg", f"cat/{name}", "dog/1.jpg"))).left_out
    assert said in skipped.reason


def test_a_folder_without_pictures_is_not_recognised(tmp_path: Path):
    assert not Folders().recognises(folder_of(tmp_path / "p", named("a/1.txt", "b/2.csv")))
