"""`training.datasets.folders`: anybody's own photos, one folder for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import InputSpec
from classifier.images import decode
from tests.archives import cats_vs_dogs_zip, folder_of, photo_files, photo_folders, zip_of
from tests.training.checking.photos import COPIES, folder_files, photo
from training.datasets import Dataset, DatasetError, Folders

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
SPEC = InputSpec(height=16, width=16, channels=3)


def _sizes(dataset: Dataset) -> dict[str, list[int]]:
    return {name: np.bincount(split.labels).tolist() for name, split in dataset.splits.items()}


def _totals(dataset: Dataset) -> list[int]:
    """Images of each class in all splits."""
    return np.sum(list(_sizes(dataset).values()), axis=0).tolist()


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
        assert _totals(dataset) == [10, 10, 10]
        assert all(min(counts) > 0 for counts in _sizes(dataset).values())
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
    ("given", "kept"),
    [
        ({"train": 10, "test": 4}, {"test": [4, 4]}),
        ({"train": 10, "val": 4}, {"validation": [4, 4]}),
        ({"train": 10, "dev": 4}, {"validation": [4, 4]}),
        ({"train": 10, "eval": 4}, {"validation": [4, 4]}),
        ({"train": 10, "val": 3, "eval": 4}, {"validation": [3, 3], "test": [4, 4]}),
        ({"train": 10}, {}),
    ],
    ids=["no validation", "no test", "dev", "eval", "eval beside val", "train alone"],
)
def test_a_missing_split_is_taken_from_train(given: dict[str, int], kept: dict[str, list[int]], tmp_path: Path) -> None:
    for files in (_parts(given), _below("top", _parts(given))):
        dataset = Folders().load(zip_of(tmp_path / "photos.zip", files), SPEC)
        sizes = _sizes(dataset)
        assert dataset.labels == ("cup", "plate")
        assert {split: sizes[split] for split in kept} == kept
        assert all(min(counts) > 0 for counts in sizes.values())
        assert _totals(dataset) == [sum(given.values())] * 2


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "vehicles", ("bus", "train", "tram"))
    assert Folders().load(path, SPEC).labels == ("bus", "train", "tram")


def test_what_cannot_be_used_is_left_out_and_named_with_the_reason(tmp_path: Path) -> None:
    files = photo_files(per_class=10) | {
        "cup/broken.jpg": b"\xff\xd8\xff broken",
        "cup/phone.heic": HEIC,
        "lost.jpg": photo_files(per_class=1)["cup/IMG_0000.jpg"],
        "README.txt": b"hello",
    }
    dataset = Folders().load(folder_of(tmp_path / "photos", files), SPEC)
    reasons = {file.file: file.reason for file in dataset.skipped}
    assert reasons.keys() == {"cup/broken.jpg", "cup/phone.heic", "lost.jpg"}
    assert "damaged" in reasons["cup/broken.jpg"]
    assert "HEIC" in reasons["cup/phone.heic"]
    assert reasons["lost.jpg"] == "lies in no class folder"


def test_empty_files_are_left_out_and_are_no_image_under_two_labels(tmp_path: Path) -> None:
    empty = {"cup/0.jpg": b"", "cup/1.jpg": b"", "plate/0.jpg": b""}
    dataset = Folders().load(folder_of(tmp_path / "photos", photo_files(per_class=10) | empty), SPEC)
    assert [(file.file, file.reason) for file in dataset.skipped] == [(name, "the file is empty") for name in empty]


def test_a_copy_of_a_test_image_is_not_trained_on(tmp_path: Path) -> None:
    files = _parts({"train": 6, "val": 2, "test": 2})
    original = next(name for name in files if name.startswith("test/cup"))
    dataset = Folders().load(folder_of(tmp_path / "p", files | {"train/cup/copy.jpg": files[original]}), SPEC)
    assert _sizes(dataset)["train"] == [6, 6]
    assert [(file.file, file.reason) for file in dataset.skipped] == [
        ("train/cup/copy.jpg", f"a copy, byte for byte, of {original}")
    ]


def test_sub_folders_belong_to_their_class(tmp_path: Path) -> None:
    files = _below("cup/blue", photo_files(("a", "b"), 3)) | _below("plate", photo_files(("c",), 6, side=40))
    dataset = Folders().load(folder_of(tmp_path / "photos", files), SPEC)
    assert dataset.labels == ("cup", "plate")


def test_an_unlabelled_test_folder_counts_as_missing(tmp_path: Path) -> None:
    loose = {f"test/{i}.jpg": body for i, body in enumerate(photo_files(("x",), 3).values())}
    dataset = Folders().load(folder_of(tmp_path / "photos", _parts({"train": 10}) | loose), SPEC)
    assert _totals(dataset) == [10, 10]
    assert all(min(counts) > 0 for counts in _sizes(dataset).values())
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
    sizes = _sizes(Folders().load(path, SPEC, limit=4))
    assert {name: sum(counts) for name, counts in sizes.items()} == {"train": 4, "validation": 4, "test": 4}
    assert all(min(counts) > 0 for counts in sizes.values())


def test_fractions_leave_something_to_train_on() -> None:
    with pytest.raises(DatasetError, match=r"validation_fraction \+ test_fraction=1\.1"):
        Folders(validation_fraction=0.6, test_fraction=0.5)


def _split_of_each(dataset: Dataset) -> dict[bytes, str]:
    return {image.tobytes(): name for name, split in dataset.splits.items() for image in split.pixels}


def _photos(classes: int, per_class: int) -> dict[str, bytes]:
    return photo_files(tuple("abc"[:classes]), per_class, side=16)


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_of_180_photos_none_moves_when_one_is_changed(change: str, tmp_path: Path) -> None:
    files = _photos(3, 61)
    before = {name: body for name, body in files.items() if not name.endswith("60.jpg")}
    after = dict(before)
    if change == "added":
        after["a/IMG_0060.jpg"] = files["a/IMG_0060.jpg"]
    elif change == "removed":
        del after["b/IMG_0007.jpg"]
    else:
        after["b/a_new_name.jpg"] = after.pop("b/IMG_0007.jpg")
    paths = [folder_of(tmp_path / str(i), each) for i, each in enumerate((before, after))]
    one, other = (_split_of_each(Folders().load(path, SPEC)) for path in paths)
    assert len(one) == 180
    assert [image for image in one.keys() & other.keys() if one[image] != other[image]] == []
    assert len(one.keys() & other.keys()) == (179 if change == "removed" else 180)


def _with_near_copies(numbers: range) -> dict[str, bytes]:
    """40 cups and 40 plates, and a copy of each of these cups: resized, encoded anew, cropped or brightened."""
    kinds, rng = list(COPIES), np.random.default_rng(0)
    copies = {f"cup/copy-{n}.jpg": COPIES[kinds[n % len(kinds)]](photo(n), rng) for n in numbers}
    return folder_files({"cup": range(40), "plate": range(100, 140)}) | copies


def _split_of_file(dataset: Dataset) -> dict[str, str]:
    return {file: name for name, split in dataset.splits.items() for file in split.files or ()}


@pytest.mark.parametrize("side", [28, 96])
def test_near_copies_share_a_split(side: int, tmp_path: Path) -> None:
    path = folder_of(tmp_path / "photos", _with_near_copies(range(16)))
    split_of = _split_of_file(Folders().load(path, InputSpec(height=side, width=side, channels=3)))
    assert [n for n in range(16) if split_of[f"cup/copy-{n}.jpg"] != split_of[f"cup/{n}.jpg"]] == []
    assert len(split_of) == 96


def test_near_copies_share_a_split_where_validation_is_taken_from_train(tmp_path: Path) -> None:
    files = {f"{'test' if '9' in name else 'train'}/{name}": body for name, body in _with_near_copies(range(8)).items()}
    split_of = _split_of_file(Folders().load(folder_of(tmp_path / "photos", files), SPEC))
    assert [n for n in range(8) if split_of[f"train/cup/copy-{n}.jpg"] != split_of[f"train/cup/{n}.jpg"]] == []
    assert {name for name, split in split_of.items() if split == "test"} == {n for n in files if n.startswith("test/")}


def test_a_limit_holds_where_near_copies_share_a_split(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "photos", _with_near_copies(range(16)))
    dataset = Folders().load(path, SPEC, limit=20)
    split_of = _split_of_file(dataset)
    pairs = [
        (f"cup/{n}.jpg", f"cup/copy-{n}.jpg") for n in range(16) if {f"cup/{n}.jpg", f"cup/copy-{n}.jpg"} <= {*split_of}
    ]
    assert pairs
    assert [pair for pair in pairs if split_of[pair[0]] != split_of[pair[1]]] == []
    assert all(len(split) <= 20 for split in dataset.splits.values())


def test_an_added_near_copy_moves_at_most_what_it_is_a_copy_of(tmp_path: Path) -> None:
    for copies in (range(16), range(17)):
        folder_of(tmp_path / str(len(copies)), _with_near_copies(copies))
    before, after = (_split_of_file(Folders().load(tmp_path / name, SPEC)) for name in ("16", "17"))
    assert {file for file in before if before[file] != after[file]} <= {"cup/16.jpg"}


def test_a_renamed_photo_leaves_the_fingerprint_as_it_was(tmp_path: Path) -> None:
    files = _photos(2, 12)
    renamed = {f"{name[0]}/{i}.jpg": body for i, (name, body) in enumerate(reversed(files.items()))}
    paths = [folder_of(tmp_path / "one", files), zip_of(tmp_path / "two.zip", renamed)]
    assert len({Folders().load(path, SPEC).fingerprint for path in paths}) == 1


def test_parts_are_near_their_fractions(tmp_path: Path) -> None:
    sizes = _sizes(Folders().load(folder_of(tmp_path / "p", _photos(2, 200)), SPEC))
    for split, expected in {"train": 120, "validation": 40, "test": 40}.items():
        for count in sizes[split]:
            assert abs(count - expected) < 4 * (200 * 0.2 * 0.8) ** 0.5


def test_one_image_under_two_labels_is_an_error_that_names_it(tmp_path: Path) -> None:
    files = _photos(2, 10)
    path = folder_of(tmp_path / "p", files | {"b/wrong.jpg": files["a/IMG_0003.jpg"]})
    with pytest.raises(DatasetError, match=r"a/IMG_0003\.jpg = b/wrong\.jpg.*--drop-conflicts"):
        Folders().load(path, SPEC)
    dataset = Folders(drop_conflicts=True).load(path, SPEC)
    assert _totals(dataset) == [9, 10]
    assert {(f.file, f.reason) for f in dataset.skipped} == {
        ("a/IMG_0003.jpg", "the same image lies under a and b"),
        ("b/wrong.jpg", "the same image lies under a and b"),
    }


def test_a_contradiction_between_splits_is_one_too(tmp_path: Path) -> None:
    files = _parts({"train": 6, "val": 3, "test": 3})
    copied = next(name for name in files if name.startswith("test/cup"))
    with pytest.raises(DatasetError, match="one image lies under two labels"):
        Folders().load(folder_of(tmp_path / "p", files | {"train/plate/x.jpg": files[copied]}), SPEC)


def test_more_than_ten_contradictions_are_counted(tmp_path: Path) -> None:
    files = _photos(1, 14)
    both = files | {name.replace("a/", "b/"): body for name, body in files.items()}
    with pytest.raises(DatasetError, match=r"14 images lie under two labels: .* and 4 more"):
        Folders().load(folder_of(tmp_path / "p", both), SPEC)


def test_a_folder_of_heic_photos_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifier.formats.READS_HEIC", False)
    files = {f"{kind}/IMG_{i}.HEIC": HEIC + bytes([i]) + kind.encode() for kind in ("cup", "plate") for i in range(3)}
    path = folder_of(tmp_path / "p", files)
    assert Folders().recognises(path)
    with pytest.raises(DatasetError, match=r"class cup has 0 images besides 3 files .*HEIC picture.*sightline\[heif\]"):
        Folders().load(path, SPEC)


def test_heic_photos_called_jpg_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifier.formats.READS_HEIC", False)
    files = _photos(2, 10) | {"a/phone.jpg": HEIC}
    (skipped,) = Folders().load(folder_of(tmp_path / "p", files), SPEC).skipped
    assert str(skipped).startswith("a/phone.jpg: this is a HEIC picture")


def test_the_only_image_of_a_split_may_turn_out_to_be_damaged(tmp_path: Path) -> None:
    broken = {f"a/broken{i}.jpg": b"\xff\xd8\xff" + bytes([i]) for i in range(8)}
    dataset = Folders().load(folder_of(tmp_path / "p", _photos(2, 3) | broken), SPEC)
    assert _sizes(dataset) == {"train": [1, 1], "validation": [1, 1], "test": [1, 1]}
    assert len(dataset.skipped) == 8


def test_a_class_of_damaged_files_alone_is_an_error_that_says_so(tmp_path: Path) -> None:
    broken = {f"b/{i}.jpg": b"\xff\xd8\xff" + bytes([i]) for i in range(4)} | {"a/9.jpg": b"\xff\xd8"}
    with pytest.raises(DatasetError, match=r"class b has 0 images besides 4 files that are left out \(the JPEG"):
        Folders().load(folder_of(tmp_path / "p", _photos(1, 5) | broken), SPEC)


def test_a_class_of_one_image_and_its_copies_is_an_error_that_says_so(tmp_path: Path) -> None:
    one = _photos(1, 1)["a/IMG_0000.jpg"]
    files = {name.replace("a/", "c/"): body for name, body in _photos(1, 5).items()}
    for copies, said in ((1, "one file that is"), (4, "4 files that are")):
        same = {f"b/{n}.jpg": one + b"b" for n in range(copies + 1)}
        with pytest.raises(DatasetError, match=rf"class b has 1 image besides {said} left out \(a copy, byte for"):
            Folders().load(folder_of(tmp_path / str(copies), files | same), SPEC)


def test_a_single_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = folder_of(tmp_path / "p", _photos(2, 10)), Path.read_bytes

    def refusing(file: Path) -> bytes:
        if file.name == "IMG_0002.jpg" and file.parent.name == "a":
            raise PermissionError(13, "Permission denied")
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    dataset = Folders().load(path, SPEC)
    assert _totals(dataset) == [9, 10]
    (skipped,) = dataset.skipped
    assert skipped.file == "a/IMG_0002.jpg"
    assert "Permission denied" in skipped.reason


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    folder_of(tmp_path / "elsewhere", {name[2:]: body for name, body in _photos(2, 10).items() if name[0] == "b"})
    path = folder_of(tmp_path / "p", {name: body for name, body in _photos(2, 10).items() if name[0] == "a"})
    (path / "b").symlink_to(tmp_path / "elsewhere")
    (path / "b" / "round").symlink_to(path)
    dataset = Folders().load(path, SPEC)
    assert dataset.labels == ("a", "b")
    assert _totals(dataset) == [10, 10]
    assert [str(each) for each in dataset.skipped] == ["b/round: a link to a folder that it lies in"]


def test_classes_and_their_counts_are_known_before_a_fit(tmp_path: Path) -> None:
    dataset = Folders().load(folder_of(tmp_path / "p", _parts({"train": 5, "val": 3, "test": 2})), SPEC)
    assert dataset.class_counts == {label: {"train": 5, "validation": 3, "test": 2} for label in ("cup", "plate")}


def test_names_that_look_alike_are_warned_of(tmp_path: Path) -> None:
    files = photo_files(("Cat", "cat", "dog"), 5, side=16)
    dataset = Folders().load(zip_of(tmp_path / "p.zip", files), SPEC)
    assert dataset.labels == ("Cat", "cat", "dog")
    (warning,) = dataset.warnings
    assert "'Cat' and 'cat' are taken as 2 classes" in warning
