"""Each file that is not what it seems is named, with its reason; the rest is checked all the same."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.archives import cats_vs_dogs_zip, cifar10_batches, cifar10_zip, folder_of, sign_mnist_zip, zip_of
from tests.pictures import claiming, frames
from tests.training.checking.photos import folder_files, jpeg, photo, png
from training.checking.check import Checked, check
from training.checking.files.animation import holds_several
from training.datasets import DatasetError, open_listing


def checked(path: Path) -> Checked:
    with open_listing(path) as listing:
        return check(listing)


@pytest.fixture
def files() -> dict[str, bytes]:
    return folder_files({"cup": range(6), "plate": range(50, 56)})


def said(result: Checked, kind: str) -> dict[str, str]:
    return {case.files[0]: case.said for each in result.findings if each.kind == kind for case in each.cases}


def gif() -> bytes:
    out = io.BytesIO()
    photo(800).save(out, "GIF")
    return out.getvalue()


def test_files_that_cannot_be_read_are_named_with_the_reason(tmp_path: Path, files: dict[str, bytes]) -> None:
    files |= {
        "cup/empty.jpg": b"",
        "cup/cut.jpg": files["cup/0.jpg"][:200],
        "cup/text.png": b"no picture",
        "cup/bomb.png": claiming("PNG", 60_000, 60_000),
    }
    reasons = said(checked(folder_of(tmp_path / "photos", files)), "unreadable")
    assert set(reasons) == {"cup/empty.jpg", "cup/cut.jpg", "cup/text.png", "cup/bomb.png"}
    assert reasons["cup/empty.jpg"] == "the file is empty"
    assert "damaged or incomplete" in reasons["cup/cut.jpg"]
    assert "expected a JPEG" in reasons["cup/text.png"]
    assert "60000 x 60000 is over" in reasons["cup/bomb.png"]


def test_a_file_called_after_another_format_is_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    result = checked(folder_of(tmp_path / "photos", files | {"cup/gif.jpg": gif(), "cup/fine.jfif": jpeg(photo(9))}))
    assert said(result, "misnamed") == {"cup/gif.jpg": "called .jpg, and holds GIF"}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_a_file_of_several_pictures_is_named(tmp_path: Path, files: dict[str, bytes], kind: str) -> None:
    name = f"cup/moving.{kind.lower()}"
    assert said(checked(folder_of(tmp_path / "photos", files | {name: frames(kind)})), "animated") == {
        name: f"{kind} with further pictures"
    }


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "JPEG", "BMP", "AVIF"])
def test_a_file_of_one_picture_is_not_animated(kind: str) -> None:
    out = io.BytesIO()
    photo(3).save(out, kind)
    assert not holds_several(kind, out.getvalue())


def test_tiny_pictures_and_strays_are_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    files |= {"cup/icon.png": png(photo(4, 9, 40)), "cup/notes.txt": b"-", "loose.jpg": files["cup/0.jpg"]}
    result = checked(folder_of(tmp_path / "photos", files))
    assert said(result, "size") == {"cup/icon.png": "tiny: 9 x 40 pixels"}
    assert said(result, "stray") == {"cup/notes.txt": "no image by its name", "loose.jpg": "lies in no class folder"}


def test_an_enormous_picture_is_named(tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.checking.files.faults.ENORMOUS", 200 * 100)
    result = checked(folder_of(tmp_path / "photos", files | {"cup/huge.png": png(photo(4, 201, 100))}))
    assert said(result, "size") == {"cup/huge.png": "enormous: 201 x 100 pixels"}


def test_what_systems_leave_behind_is_not_worth_a_word(tmp_path: Path, files: dict[str, bytes]) -> None:
    junk = ("cup/.DS_Store", "__MACOSX/cup/._1.jpg", "cup/._a.jpg", "cup/Thumbs.db", ".ipynb_checkpoints/a.jpg")
    result = checked(folder_of(tmp_path / "photos", files | dict.fromkeys(junk, b"x")))
    assert not [each for each in result.findings if each.kind in ("stray", "unreadable", "refused")]


def test_folders_that_a_fit_refuses_are_checked_all_the_same(tmp_path: Path, files: dict[str, bytes]) -> None:
    one = folder_of(tmp_path / "one", {name: body for name, body in files.items() if name.startswith("cup")})
    result = checked(one)
    assert result.findings[0].kind == "refused"
    assert "expected two classes or more, found only cup" in result.findings[0].title
    (one / "plate").mkdir()
    assert "no image in plate" in checked(one).findings[0].title


def test_a_test_folder_without_a_class_is_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    split = {f"train/{name}": body for name, body in files.items()} | {"test/cup/9.jpg": jpeg(photo(9))}
    assert "the test folder has no images of plate" in checked(folder_of(tmp_path / "p", split)).findings[0].title


def test_class_names_that_look_like_one_are_a_warning(tmp_path: Path) -> None:
    files = folder_files({"Cat": range(5), "cat": range(10, 15)})
    assert "'Cat' and 'cat' are taken as 2 classes" in checked(folder_of(tmp_path / "p", files)).findings[0].title


@pytest.mark.parametrize("label", ["日本", "a [b] #1", "-rf", "cafe\u0301", "with space"])
def test_any_name_of_a_folder_is_fine(tmp_path: Path, label: str, files: dict[str, bytes]) -> None:
    odd = {f"{label}/{n}.jpg": jpeg(photo(700 + n)) for n in range(5)}
    result = checked(folder_of(tmp_path / "p", files | odd))
    assert sum(result.images.values()) == 17
    assert len(result.classes) == 3


def test_a_file_name_that_is_not_utf_8_is_escaped(tmp_path: Path, files: dict[str, bytes]) -> None:
    result = checked(folder_of(tmp_path / "p", files | {"cup/caf\udce9.jpg": b""}))
    assert said(result, "unreadable") == {"cup/caf\\udce9.jpg": "the file is empty"}


def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="expected images in class folders, found none"):
        checked(tmp_path / "empty")
    with pytest.raises(DatasetError, match="nothing is there"):
        checked(tmp_path / "gone")


def test_a_zip_is_checked_like_its_folder(tmp_path: Path, files: dict[str, bytes]) -> None:
    files["cup/empty.jpg"] = b""
    folder, packed = checked(folder_of(tmp_path / "p", files)), checked(zip_of(tmp_path / "p.zip", files))
    assert (folder.images, folder.findings) == (packed.images, packed.findings)


def test_the_three_data_sets_are_read_in_their_splits(tmp_path: Path) -> None:
    made = {
        "cifar-10": (cifar10_zip(tmp_path / "cifar.zip", 4, 1), {"train": 28, "validation": 12, "test": 10}),
        "sign-mnist": (sign_mnist_zip(tmp_path / "sign-mnist.zip"), None),
        "cats-vs-dogs": (cats_vs_dogs_zip(tmp_path / "cats.zip", 2), {"train": 4, "validation": 4, "test": 4}),
    }
    for name, (path, splits) in made.items():
        with open_listing(path) as listing:
            assert listing.name == name
            found = Counter(image.split for image in listing.images)
            assert splits is None or found == splits
            assert set(found) == {"train", "validation", "test"}
            assert (
                np.shape(listing.read(0)) == (28, 28)
                if name == "sign-mnist"
                else listing.read(0)[:3] == b"\xff\xd8\xff"
            )


def test_rows_of_the_official_batches_are_named(tmp_path: Path) -> None:
    with open_listing(folder_of(tmp_path / "cifar-10-batches-py", cifar10_batches(1))) as listing:
        assert len(listing) == 60
        assert np.shape(listing.read(0)) == (32, 32, 3)
        assert {image.name for image in listing.images if image.split == "test"} == {
            f"test_batch:{n}" for n in range(10)
        }


def test_a_picture_larger_than_a_screen_is_compared_as_well(tmp_path: Path) -> None:
    files = folder_files({"cup": range(4), "plate": range(50, 54)})
    large = photo(77, 900, 700)
    turned = Image.fromarray(np.rot90(np.asarray(large)))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    turned.save(out, "JPEG", quality=90, exif=exif)
    files |= {"cup/large.jpg": jpeg(large), "plate/turned.jpg": out.getvalue()}
    conflicts = [each for each in checked(folder_of(tmp_path / "p", files)).findings if each.kind == "conflict"]
    assert [case.files for each in conflicts for case in each.cases] == [("cup/large.jpg", "plate/turned.jpg")]
