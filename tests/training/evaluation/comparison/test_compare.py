"""`training.evaluation.comparison`: both versions answer the same images, which neither has seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from classifier import store
from classifier.card import Card, InputSpec
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.tiny_models import COLOUR, GREY, save_tiny_model
from training.datasets import DatasetError, Folders
from training.evaluation.comparison.compare import Compared, compare, label_changes
from training.evaluation.comparison.same_images import read_same_images
from training.evaluation.fitted_images import write_fitted_images

LABELS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folders(tmp_path_factory.mktemp("photos") / "lamps", LABELS, per_class=30, side=12)


@pytest.fixture(scope="module")
def compared(tiny_models_root: Path, photos: Path) -> Compared:
    models = ModelStore(tiny_models_root)
    return compare(models, models.card(COLOUR, 2), models.card(COLOUR, 1), photos, "test")


def changed(card: Card, **changes: object) -> Card:
    return card.model_copy(update=changes)


def test_figures_and_classes_are_of_all_images(compared: Compared) -> None:
    found = compared.record
    assert (found.candidate.version, found.baseline and found.baseline.version) == (2, 1)
    assert (found.data.images, found.data.split, found.data.left_out, found.data.unknown_to) == (90, "all", 0, (2, 1))
    assert [(each.label, each.images) for each in found.classes] == [(label, 30) for label in LABELS]
    assert sum(each.candidate for each in found.classes) == round(90 * found.candidate.accuracy)
    assert found.candidate.interval[0] <= found.candidate.accuracy <= found.candidate.interval[1]
    assert found.candidate.p50_ms > 0
    assert found.labels.is_none


def test_pairs_are_counted_image_by_image(compared: Compared) -> None:
    pairs, (ours, theirs) = compared.record.pairs, compared.evaluations
    assert pairs is not None
    assert pairs.both + pairs.only_candidate + pairs.only_baseline + pairs.neither == 90
    assert pairs.both + pairs.only_candidate == int((ours.predicted == ours.labels).sum())
    assert pairs.both + pairs.only_baseline == int((theirs.predicted == theirs.labels).sum())


def test_images_that_only_one_gets_right_come_with_the_surest_mistake_first(compared: Compared) -> None:
    pairs, found = compared.record.pairs, compared.disagreements
    assert pairs is not None
    assert [sum(each.right == right for each in found) for right in (0, 1)] == [
        pairs.only_candidate,
        pairs.only_baseline,
    ]
    assert [each.probability for each in found] == sorted((each.probability for each in found), reverse=True)
    for each in found:
        assert each.wrong != each.true == compared.images.names[each.position]
        assert each.other == f"{COLOUR}@{(1, 2)[each.right]}"


@pytest.mark.slow
def test_a_version_that_knows_unfamiliar_images_says_how_many_of_these_are(photos: Path, tmp_path: Path) -> None:
    models = ModelStore(tmp_path)
    plain = save_tiny_model(models, COLOUR, labels=LABELS)
    scored = save_tiny_model(models, COLOUR, labels=LABELS, with_familiarity=True)
    record = compare(models, scored, plain, photos, "test").record
    loaded = LoadedModel.open(models, COLOUR, scored.version)
    images = read_same_images(models, photos, (scored,), "test").splits[0]
    scores = loaded.engine.answer(np.asarray(images.pixels[:])).familiarity
    loaded.close()
    assert scores is not None
    assert scored.familiarity is not None
    expected = (scores < scored.familiarity.point.threshold).mean()
    assert (record.candidate.unfamiliar, record.baseline and record.baseline.unfamiliar) == (
        pytest.approx(expected),
        None,
    )


def test_a_version_alone_has_figures_and_no_pairs(tiny_models_root: Path, photos: Path) -> None:
    models = ModelStore(tiny_models_root)
    found = compare(models, models.card(COLOUR, 1), None, photos, "test")
    assert (found.record.baseline, found.record.pairs, found.disagreements) == (None, None, [])


def test_networks_of_other_input_sizes_are_given_the_same_images(tiny_models_root: Path, photos: Path) -> None:
    models = ModelStore(tiny_models_root)
    card = models.card(COLOUR, 1)
    larger = changed(card, version=2, input=InputSpec(height=20, width=10, channels=3))
    images = read_same_images(models, photos, (card, larger), "test")
    assert [split.pixels.shape[1:] for split in images.splits] == [(8, 8, 3), (20, 10, 3)]
    np.testing.assert_array_equal(images.splits[0].labels, images.splits[1].labels)


def test_a_label_keeps_its_name_in_whatever_column_it_stands(tiny_models_root: Path, photos: Path) -> None:
    models = ModelStore(tiny_models_root)
    card = models.card(COLOUR, 1)
    turned = changed(card, labels=("blue", "red", "green"))
    images = read_same_images(models, photos, (card, turned), "test")
    for name, ours, theirs in zip(images.names, *(split.labels for split in images.splits), strict=True):
        assert name == card.labels[ours] == turned.labels[theirs]


def test_only_images_of_common_labels_are_compared(tiny_models_root: Path, photos: Path) -> None:
    models = ModelStore(tiny_models_root)
    card = models.card(COLOUR, 1)
    other = changed(card, labels=("red", "violet", "blue"))
    images = read_same_images(models, photos, (other, card), "test")
    assert (images.labels, images.record.images, images.record.other_labels) == (("red", "blue"), 60, 30)


def test_models_without_a_common_label_cannot_be_compared(tiny_models_root: Path, photos: Path) -> None:
    models = ModelStore(tiny_models_root)
    with pytest.raises(DatasetError, match="no image has a label that"):
        read_same_images(models, photos, (models.card(COLOUR, 1), models.card(GREY, 1)), "test")


def test_what_either_version_was_fitted_on_is_left_out(tiny_models_root: Path, photos: Path, tmp_path: Path) -> None:
    models = ModelStore(Path(shutil.copytree(tiny_models_root, tmp_path / "models")))
    dataset = Folders().load(photos, models.card(COLOUR).input)
    write_fitted_images(dataset, models.folder(COLOUR, 1) / store.FITTED_ON)
    card = models.card(COLOUR, 1)
    record = store.file_record(models.folder(COLOUR, 1) / store.FITTED_ON)
    card = changed(card, files=card.files | {store.FITTED_ON: record})
    images = read_same_images(models, photos, (models.card(COLOUR, 2), card), "test")
    held_out = len(dataset.splits["test"])
    assert (images.record.images, images.record.left_out, images.record.unknown_to) == (held_out, 90 - held_out, (2,))


@pytest.mark.parametrize(
    ("candidate", "baseline", "added", "removed", "reordered"),
    [
        ("abc", "abc", "", "", False),
        ("abcd", "abc", "d", "", False),
        ("ac", "abc", "", "b", False),
        ("acb", "abc", "", "", True),
        ("dba", "abc", "d", "c", True),
    ],
)
def test_labels_may_be_added_removed_and_reordered(
    candidate: str, baseline: str, added: str, removed: str, reordered: bool
) -> None:
    changes = label_changes(candidate, baseline)
    assert (changes.added, changes.removed, changes.reordered) == (tuple(added), tuple(removed), reordered)
