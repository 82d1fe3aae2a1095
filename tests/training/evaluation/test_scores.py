"""`training.evaluation`: what answers are worth, and which images are asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier.card import Card, InputSpec, Sample
from service.metrics import CONFIDENCE, PREDICTIONS, ModelMetrics
from tests.archives import folder_of, pet_images_files, photo_files, photo_folders, sign_mnist_zip, zip_of
from tests.tiny_models import tiny_card
from training.datasets import Dataset, DatasetError, Folders, Split
from training.evaluation.images import read_images
from training.evaluation.scores import CALIBRATION_BINS, ClassScore, Confusion, Evaluation, evaluate, wilson_interval
from training.recipes import RECIPES

SPEC = InputSpec(height=16, width=16, channels=3)


def answers(predicted: list[int], true: list[int], classes: int = 3, confidence: float = 0.8) -> Evaluation:
    """Each row gives `confidence` to the class predicted and the rest to the others in equal parts."""
    probabilities = np.full((len(true), classes), (1 - confidence) / (classes - 1), np.float32)
    probabilities[np.arange(len(true)), predicted] = confidence
    return Evaluation(probabilities, np.array(true, np.int64))


def random_answers(images: int = 500, classes: int = 4) -> Evaluation:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), images).astype(np.float32)
    return Evaluation(probabilities, rng.integers(0, classes, images))


def card_for(
    labels: tuple[str, ...], *, recipe: str = "asl-augmented", spec: InputSpec = SPEC, fitted_on: Dataset | None = None
) -> Card:
    """The card of a network with these columns, fitted on `fitted_on` or on something unknown."""
    card = tiny_card(
        recipe=recipe,
        labels=labels,
        input=spec,
        sample=Sample(label=labels[0], probabilities=(1.0, *(0.0 for _ in labels[1:]))),
    )
    if fitted_on is None:
        return card
    training = card.training.model_copy(update={"dataset": fitted_on.record})
    return card.model_copy(update={"training": training})


def test_accuracy_loss_and_confusion_of_a_case_worked_by_hand() -> None:
    found = answers([0, 0, 1, 2], [0, 1, 1, 2])
    assert found.accuracy == 0.75
    assert found.loss == pytest.approx(-(3 * np.log(0.8) + np.log(0.1)) / 4, rel=1e-6)
    assert found.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_precision_is_of_those_called_so_and_recall_of_those_that_are() -> None:
    found = answers([0, 0, 0, 1], [0, 0, 1, 1])
    assert found.class_scores[0] == ClassScore(images=2, precision=2 / 3, recall=1.0)
    assert found.class_scores[1] == ClassScore(images=2, precision=1.0, recall=0.5)


def test_a_class_never_called_and_never_there_has_neither_precision_nor_recall() -> None:
    assert answers([0, 1], [0, 1]).class_scores[2] == ClassScore(images=0, precision=None, recall=None)


def test_always_naming_the_frequent_class_has_its_share_as_accuracy_and_an_even_balanced_one() -> None:
    found = answers([0] * 440, [0] * 400 + [1] * 40, classes=2)
    assert found.accuracy == found.majority == pytest.approx(400 / 440)
    assert found.balanced_accuracy == 0.5
    assert found.metrics().recall == (1.0, 0.0)


def test_what_is_expected_counts_answers_as_a_server_does() -> None:
    found = random_answers()
    counted = ModelMetrics(tiny_card(labels=tuple("abcd"), sample=Sample(label="a", probabilities=(1, 0, 0, 0))))
    counted.ran([0] * 500, [0] * 500, 0, found.probabilities)
    values = {(series, labels): value for series, labels, value in counted.samples()}
    expected = found.expected("noise", "test")
    assert list(expected.labels) == [values[PREDICTIONS, ("tiny", "1", label)] for label in "abcd"]
    buckets = [images for _, images in values[CONFIDENCE, ("tiny", "1")].buckets()]
    assert np.cumsum(expected.confidence.counts).tolist() == buckets[:-1]
    assert (expected.data, expected.split, expected.images) == ("noise", "test", 500)


def test_a_class_without_images_counts_in_no_mean() -> None:
    found = answers([0, 1, 1], [0, 0, 1])
    assert found.balanced_accuracy == 0.75
    assert found.metrics().recall == (0.5, 1.0, None)


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (81, 263, 0.2553, 0.3662),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_the_interval_is_wilsons(right: int, images: int, low: float, high: float) -> None:
    assert wilson_interval(right, images) == pytest.approx((low, high), abs=1e-4)  # 81 of 263: Newcombe 1998


def test_a_cards_metrics_say_how_sure_the_accuracy_is() -> None:
    metrics = answers([0, 0, 1, 2], [0, 1, 1, 2]).metrics()
    assert metrics.interval == pytest.approx(wilson_interval(3, 4), abs=1e-6)
    assert (metrics.majority, metrics.balanced_accuracy) == (0.5, pytest.approx(2.5 / 3, abs=1e-6))


def test_mistakes_come_most_frequent_first_and_right_answers_are_none() -> None:
    found = answers([1, 2, 1, 0, 2], [0, 1, 0, 0, 2])
    assert found.top_confusions() == [
        Confusion(true=0, predicted=1, images=2),
        Confusion(true=1, predicted=2, images=1),
    ]
    assert found.top_confusions(1) == [Confusion(true=0, predicted=1, images=2)]


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    assert answers([0, 0, 0, 0], [0, 0, 0, 1]).calibration_error == pytest.approx(0.05, abs=1e-6)
    assert answers([0, 1], [0, 1], confidence=1.0).calibration_error == 0.0
    assert answers([0, 1], [1, 0], confidence=1.0).calibration_error == 1.0


def test_calibration_error_is_that_of_guo_and_others_formula() -> None:
    found = random_answers()
    expected = 0.0
    for m in range(1, 16):  # bins ((m - 1) / 15, m / 15], weighted by their part of the images
        rows = [
            (float(p.max()), p.argmax() == label)
            for p, label in zip(found.probabilities, found.labels, strict=True)
            if (m - 1) / 15 < float(p.max()) <= m / 15
        ]
        if rows:
            confidence, accuracy = (sum(each) / len(rows) for each in zip(*rows, strict=True))
            expected += len(rows) / len(found.labels) * abs(accuracy - confidence)
    assert found.calibration_error == pytest.approx(expected, abs=1e-9)


def test_every_image_is_in_one_of_fifteen_bins_of_equal_width() -> None:
    bins = random_answers(images=300).calibration
    assert len(bins) == CALIBRATION_BINS == 15
    assert sum(each.images for each in bins) == 300
    np.testing.assert_allclose([each.upper - each.lower for each in bins], 1 / 15)
    for each in bins:
        assert each.confidence is None or each.lower < each.confidence <= each.upper


def test_batches_change_nothing_in_the_answers() -> None:
    split = Split(np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1), np.zeros(10, np.int64))
    seen = evaluate(lambda pixels: pixels.reshape(-1, 1).astype(np.float32), split, batch_size=4)
    assert seen.probabilities.ravel().tolist() == list(range(10))


@pytest.mark.parametrize("name", ["test", "validation"])
def test_the_data_of_the_cards_recipe_is_read_by_its_reader_and_recognised(name: str, tmp_path: Path) -> None:
    recipe = RECIPES["asl-baseline"]
    dataset = recipe.reader.load(sign_mnist_zip(tmp_path / "sign-mnist.zip"), recipe.input)
    card = card_for(dataset.labels, recipe=recipe.name, spec=recipe.input, fitted_on=dataset)
    found = read_images(tmp_path / "sign-mnist.zip", card, name)
    assert (found.dataset, found.split, found.same_data) == ("sign-mnist", name, True)
    np.testing.assert_array_equal(found.images.pixels, dataset.splits[name].pixels)


def test_names_that_only_look_like_the_recipes_data_are_read_as_class_folders(tmp_path: Path) -> None:
    photos = folder_of(tmp_path / "pets", pet_images_files(per_class=2))
    found = read_images(photos / "PetImages", card_for(("cat", "dog"), recipe="cats-vs-dogs-blog"), "test")
    assert (found.split, np.bincount(found.images.labels).tolist()) == ("all", [6, 6])


def test_labels_are_matched_by_name_whatever_column_they_have(tmp_path: Path) -> None:
    photos = photo_folders(tmp_path / "table", ("bowl", "cup", "plate"), 4)
    found = read_images(photos, card_for(("plate", "bowl", "fork", "cup")), "test")
    assert np.bincount(found.images.labels).tolist() == [4, 4, 0, 4]


def test_capitals_in_a_folders_name_do_not_matter(tmp_path: Path) -> None:
    photos = photo_folders(tmp_path / "table", ("Cup", "PLATE"), 3)
    assert set(read_images(photos, card_for(("cup", "plate")), "test").images.labels) == {0, 1}


def test_capitals_matter_where_labels_differ_by_nothing_else(tmp_path: Path) -> None:
    photos = photo_folders(tmp_path / "letters", ("A", "a"), 3)
    assert np.bincount(read_images(photos, card_for(("a", "A")), "test").images.labels).tolist() == [3, 3]


def test_folders_that_are_no_label_are_named_beside_those_that_are(tmp_path: Path) -> None:
    photos = photo_folders(tmp_path / "table", ("cup", "mug", "plate", "saucer"), 3)
    with pytest.raises(DatasetError, match=r"mug, saucer: .*which are cup, plate"):
        read_images(photos, card_for(("cup", "plate")), "test")


@pytest.mark.parametrize("make", [folder_of, zip_of], ids=["folder", "zip"])
def test_a_folder_without_splits_is_evaluated_whole(make, tmp_path: Path) -> None:
    path = make(tmp_path / "table.zip", photo_files(("cup", "plate"), 5))
    found = read_images(path, card_for(("cup", "plate")), "test")
    assert (found.split, len(found.images), found.same_data) == ("all", 10, False)


def test_one_class_and_one_image_are_enough_to_evaluate(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "table", ("cup",), 1)
    assert len(read_images(path, card_for(("cup", "plate")), "test").images) == 1


def test_of_split_folders_the_one_asked_for_is_read(tmp_path: Path) -> None:
    files = {f"train/{n}": b for n, b in photo_files(per_class=4).items()}
    files |= {f"val/{n}": b for n, b in photo_files(per_class=2).items()}
    path = folder_of(tmp_path / "table", files)
    found = read_images(path, card_for(("cup", "plate")), "validation")
    assert (found.split, len(found.images)) == ("validation", 4)
    with pytest.raises(DatasetError, match="it has train, validation"):
        read_images(path, card_for(("cup", "plate")), "test")


def test_a_model_of_ones_own_photos_is_tested_on_those_it_never_saw(tmp_path: Path) -> None:
    path = photo_folders(tmp_path / "table", per_class=10)
    fitted_on = Folders().load(path, SPEC)
    found = read_images(path, card_for(fitted_on.labels, fitted_on=fitted_on), "test")
    assert (found.split, found.same_data) == ("test", True)
    np.testing.assert_array_equal(found.images.pixels, fitted_on.splits["test"].pixels)


def test_files_that_do_not_decode_are_left_out_and_counted(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "table", photo_files(per_class=3) | {"cup/broken.jpg": b"no image"})
    found = read_images(path, card_for(("cup", "plate")), "test")
    assert (len(found.images), [each.file for each in found.skipped]) == (6, ["cup/broken.jpg"])


def test_a_folder_without_images_is_refused_with_the_layout_expected(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DatasetError, match=r"PHOTOS/CLASS"):
        read_images(tmp_path / "nothing", card_for(("cup", "plate")), "test")


def test_answers_at_a_temperature_can_be_seen_as_they_were_before() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (50, 3))

    def at(temperature: float) -> Evaluation:
        powers = np.exp(logits / temperature)
        rows = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return Evaluation(rows, np.zeros(50, np.int64))

    np.testing.assert_allclose(at(2.5).before_temperature(2.5).probabilities, at(1.0).probabilities, atol=1e-5)
