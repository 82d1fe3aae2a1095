"""`training.datasets.folders`: anybody's own photos, one folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.images import decode
from tests.archives import cats_vs_dogs_zip, folder_of, photo_files, photo_folders, zip_of
from training.datasets import Dataset, DatasetError, Folders

SPEC = InputSpec(height=16, width=16, channels=3)


def _sizes(dataset: Dataset) -> dict[str, list[int]]:
    return {name: np.bincount(split.labels).tolist() for name, split in dataset.splits.items()}


def _below(top: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{top}/{name}": body for name, body in files.items()}


def _parts(sizes: dict[str, int]) -> dict[str, bytes]:
    """`train/cup/…` and so on; no two files the same."""
    files: dict[str, bytes] = {}
    pool = list(photo_files(per_class=sum(sizes.values())).items())
    for folder, size in sizes.items():
        for kind in ("cup/", "plate/"):
            chosen = [item for item in pool if item[0].startswith(kind)][:size]
            files |= {f"{folder}/{name}": body for name, body in chosen}
            pool = [item for item in pool if item not in chosen]
    return files


@pytest.mark.parametrize("top", ["", "my photos/"])
def test_each_class_is_dealt_out_so_that_it_is_in_every_split(top: str, tmp_path: Path) -> None:
    files = {top + name: body for name, body in photo_files(("cup", "plate", "bowl"), 10).items()}
    for path in (folder_of(tmp_path / "table", files), zip_of(tmp_path / "table.zip", files)):
        assert Folders().recognises(path)
        dataset = Folders().load(path, SPEC)
        assert dataset.name == "table"
        assert dataset.labels == ("bowl", "cup", "plate")
        assert _sizes(dataset) == {"train": [6, 6, 6], "validation": [2, 2, 2], "test": [2, 2, 2]}
        images = [image.tobytes() for split in dataset.splits.values() for image in split.pixels]
        assert set(images) == {decode(body, SPEC).tobytes() for body in files.values()}


def test_the_seed_decides_who_goes_where(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "photos")
    one, same, other = (Folders(split_seed=seed).load(path, SPEC).fingerprint for seed in (1, 1, 2))
    assert one == same != other


def test_labels_are_sorted_as_people_sort_them(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "photos", ("class10", "Class2", "class1", "über", "apple"), 3)
    assert Folders().load(path, SPEC).labels == ("apple", "class1", "Class2", "class10", "über")


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "Val"])
def test_split_folders_are_kept_as_they_are(validation: str, tmp_path: Path) -> None:
    path = folder_of(tmp_path / "photos", _parts({"train": 5, validation: 3, "test": 2}))
    assert _sizes(Folders().load(path, SPEC)) == {"train": [5, 5], "validation": [3, 3], "test": [2, 2]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": 10, "test": 4}, {"train": [8, 8], "validation": [2, 2], "test": [4, 4]}),
        ({"train": 10, "val": 4}, {"train": [8, 8], "validation": [4, 4], "test": [2, 2]}),
        ({"train": 10}, {"train": [6, 6], "validation": [2, 2], "test": [2, 2]}),
    ],
    ids=["no validation", "no test", "train alone"],
)
def test_a_missing_split_is_taken_from_train(
    given: dict[str, int], expected: dict[str, list[int]], tmp_path: Path
) -> None:
    for files in (_parts(given), _below("top", _parts(given))):
        path = zip_of(tmp_path / "photos.zip", files)
        assert _sizes(Folders().load(path, SPEC)) == expected


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "vehicles", ("bus", "train", "tram"))
    assert Folders().load(path, SPEC).labels == ("bus", "train", "tram")


def test_what_cannot_be_used_is_left_out_and_named_with_the_reason(tmp_path: Path) -> None:
    files = photo_files(per_class=10) | {
        "cup/broken.jpg": b"\xff\xd8\xff broken",
        "cup/phone.heic": b"ftypheic",
        "lost.jpg": photo_files(per_class=1)["cup/IMG_0000.jpg"],
        "README.txt": b"hello",
    }
    dataset = Folders().load(folder_of(tmp_path / "photos", files), SPEC)
    reasons = {file.file: file.reason for file in dataset.skipped}
    assert reasons.keys() == {"cup/broken.jpg", "cup/phone.heic", "lost.jpg"}
    assert "damaged" in reasons["cup/broken.jpg"]
    assert reasons["cup/phone.heic"] == "no image by its name"
    assert reasons["lost.jpg"] == "lies in no class folder"


def test_a_copy_of_a_test_image_is_not_trained_on(tmp_path: Path) -> None:
    files = _parts({"train": 6, "val": 2, "test": 2})
    original = next(name for name in files if name.startswith("test/cup"))
    dataset = Folders().load(folder_of(tmp_path / "p", files | {"train/cup/copy.jpg": files[original]}), SPEC)
    assert _sizes(dataset)["train"] == [6, 6]
    assert [(file.file, file.reason) for file in dataset.skipped] == [
        ("train/cup/copy.jpg", f"a copy, byte for byte, of {original}")
    ]


def test_sub_folders_belong_to_their_class(tmp_path: Path) -> None:
    files = _below("cup/blue", photo_files(("a", "b"), 3)) | _below("plate", photo_files(("c",), 6))
    dataset = Folders().load(folder_of(tmp_path / "photos", files), SPEC)
    assert dataset.labels == ("cup", "plate")


def test_an_unlabelled_test_folder_counts_as_missing(tmp_path: Path) -> None:
    loose = {f"test/{i}.jpg": body for i, body in enumerate(photo_files(("x",), 3).values())}
    dataset = Folders().load(folder_of(tmp_path / "photos", _parts({"train": 10}) | loose), SPEC)
    assert _sizes(dataset) == {"train": [6, 6], "validation": [2, 2], "test": [2, 2]}
    assert len(dataset.skipped) == 3


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (photo_files(("cup",)), "expected two classes or more, found only cup"),
        ({"1.jpg": b"", "2.jpg": b""}, "expected images in class folders, found none"),
        (photo_files(per_class=2), "class cup has 2 images, and train, validation, test need one each"),
        (_parts({"test": 3, "val": 3}), "expected a train/ folder beside "),
        (photo_files() | {"bowl/notes.txt": b""}, "no image in bowl"),
        (_parts({"train": 4, "test": 2}) | {"test/bowl/notes.txt": b""}, "no image in test/bowl"),
        (
            _parts({"train": 4, "test": 2}) | _below("train", photo_files(("bowl",))),
            "the test folder has no images of bowl",
        ),
    ],
    ids=["one class", "no folders", "too few", "no train", "empty class", "empty in a split", "not in test"],
)
def test_an_unusable_layout_is_refused_with_what_to_do(files: dict[str, bytes], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        Folders().load(folder_of(tmp_path / "photos", files), SPEC)


def test_an_empty_class_folder_is_an_error_and_not_another_layout(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "photos")
    (path / "bowl").mkdir()
    assert Folders().recognises(path)
    with pytest.raises(DatasetError, match="no image in bowl"):
        Folders().load(path, SPEC)


def test_images_in_no_class_folder_are_not_recognised(tmp_path: Path) -> None:
    assert not Folders().recognises(cats_vs_dogs_zip(tmp_path / "a.zip", 1))
    assert not Folders().recognises(tmp_path / "missing")


def test_a_limit_is_spread_over_the_classes(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "photos", per_class=20)
    assert _sizes(Folders().load(path, SPEC, limit=4)) == {"train": [2, 2], "validation": [2, 2], "test": [2, 2]}


def test_fractions_leave_something_to_train_on() -> None:
    with pytest.raises(DatasetError, match=r"validation_fraction \+ test_fraction=1\.1"):
        Folders(validation_fraction=0.6, test_fraction=0.5)
