"""Promises of `training.evaluation.fitted_images`: no figure counts an image that the version learned from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from classifier import store
from classifier.card import Card
from classifier.errors import BrokenModel
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.tiny_models import COLOUR
from training.__main__ import main
from training.datasets import Folders
from training.datasets.content import content_hashes
from training.datasets.dataset import Dataset, Split
from training.evaluation.fitted_images import read_fitted_images, without, write_fitted_images

LABELS = ("red", "green", "blue")


@pytest.fixture
def models(tiny_models_root: Path, tmp_path: Path) -> ModelStore:
    """A copy that a test may change."""
    return ModelStore(Path(shutil.copytree(tiny_models_root, tmp_path / "models")))


def fitted_on(models: ModelStore, dataset: Dataset) -> Card:
    """Let the newest colour version say that it was fitted on this."""
    path = models.folder(COLOUR) / store.FITTED_ON
    write_fitted_images(dataset, path)
    card = models.card(COLOUR)
    card = card.model_copy(update={"files": card.files | {store.FITTED_ON: store.file_record(path)}})
    models.update(card)
    return card


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photo_folders(tmp_path / "lamps", LABELS, per_class=20, side=12)


@pytest.fixture
def dataset(photos: Path, models: ModelStore) -> Dataset:
    return Folders().load(photos, models.card(COLOUR).input)


def evaluated(models: ModelStore, photos: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    assert main(["evaluate", COLOUR, "--data", str(photos), "--models", str(models.root), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)["data"]
    return found


def test_what_was_written_is_read(models: ModelStore, dataset: Dataset) -> None:
    fitted = read_fitted_images(models, fitted_on(models, dataset))
    assert fitted is not None
    splits = dataset.splits
    assert len(fitted) == len(splits["train"]) + len(splits["validation"])
    assert [len(without(splits[name], fitted)) for name in ("train", "validation", "test")] == [
        0,
        0,
        len(splits["test"]),
    ]


def test_images_keep_their_labels_when_others_are_left_out() -> None:
    images = Split(np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1), np.array([0, 1, 2]))
    known = Dataset("two", ("a", "b"), {name: images.take(np.array([0, 1])) for name in ("train", "validation")})
    rest = without(images, content_hashes(known.splits["train"].pixels))
    assert rest.labels.tolist() == [2]
    assert rest.pixels.ravel().tolist() == [8, 9, 10, 11]


def test_photos_that_changed_since_are_evaluated_without_those_it_was_fitted_on(
    models: ModelStore, photos: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted_on(models, dataset)
    next(photos.glob("red/*")).unlink()
    found = evaluated(models, photos, capsys)
    held_out = len(dataset.splits["test"])
    assert not found["same_as_fitted"]
    assert found["images"] in (held_out, held_out - 1)
    assert found["images"] + found["left_out"] == 59  # type: ignore[operator]
    assert main(["evaluate", COLOUR, "--data", str(photos), "--models", str(models.root)]) == 0
    assert f"left out, since it was fitted or chosen on them: {found['left_out']}" in capsys.readouterr().out


def test_a_renamed_photo_is_still_the_same(
    models: ModelStore, photos: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted_on(models, dataset)
    for number, photo in enumerate(sorted(photos.glob("*/*"))):
        photo.rename(photo.with_name(f"other-{number}{photo.suffix}"))
    (photos / "red").rename(photos / "Red")
    assert evaluated(models, photos, capsys)["images"] == len(dataset.splits["test"])


def test_where_no_image_is_new_there_is_nothing_to_evaluate(
    models: ModelStore, tmp_path: Path, photos: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    all_of_them = dict.fromkeys(("train", "validation"), Split(*joined(dataset)))
    fitted_on(models, Dataset("lamps", dataset.labels, all_of_them))
    assert main(["evaluate", COLOUR, "--data", str(photos), "--models", str(models.root)]) == 1
    assert "fitted or chosen on every one of these 60 images" in capsys.readouterr().err


def joined(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    splits = dataset.splits.values()
    return np.concatenate([s.pixels for s in splits]), np.concatenate([s.labels for s in splits])


def test_a_version_without_the_list_says_that_it_does_not_know(
    models: ModelStore, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_fitted_images(models, models.card(COLOUR)) is None
    assert main(["evaluate", COLOUR, "--data", str(photos), "--models", str(models.root)]) == 0
    assert "not known: whether it was fitted on some of them" in capsys.readouterr().out


def test_a_list_that_cannot_be_read_is_a_broken_model(models: ModelStore) -> None:
    path = models.folder(COLOUR) / store.FITTED_ON
    path.write_bytes(b"no archive")
    card = models.card(COLOUR)
    card = card.model_copy(update={"files": card.files | {store.FITTED_ON: store.file_record(path)}})
    with pytest.raises(BrokenModel, match=r"fitted_on\.npz of tiny-colour version 2 cannot be read"):
        read_fitted_images(models, card)


IMAGES = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), np.uint8)


def test_equal_pixels_give_equal_hashes_wherever_they_stand() -> None:
    hashes = content_hashes(IMAGES)
    assert (hashes.dtype, hashes.shape) == (np.uint64, (20,))
    np.testing.assert_array_equal(content_hashes(IMAGES[::-2]), hashes[::-2])


def test_one_value_more_is_another_image() -> None:
    other = IMAGES.copy()
    other[:, 3, 2, 1] ^= 1
    assert not np.isin(content_hashes(other), content_hashes(IMAGES)).any()


def test_no_images_have_no_hashes() -> None:
    assert len(content_hashes(IMAGES[:0])) == 0
