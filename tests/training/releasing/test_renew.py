"""`training.renew`: a version is calibrated and given a second output in its place, once more where it was before."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from classifier import store
from classifier.card import NEWEST_FORMAT
from classifier.loaded_model import LoadedModel
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.tiny_models import save_tiny_model
from training.datasets.folders import Folders
from training.errors import DatasetError
from training.renew import NotRenewed, main

pytestmark = pytest.mark.slow

NAME, LABELS = "lamps", ("blue", "green", "red")


def test_a_version_is_calibrated_in_its_place_and_labels_all_images_as_before(tmp_path: Path) -> None:
    models, renew, pixels = fitted_on_lamps(tmp_path)
    history = models.read(models.verify(NAME, 1), store.HISTORY)
    before = probabilities(models, pixels)
    main(renew)

    card = models.verify(NAME, 1)
    after = probabilities(models, pixels)
    assert (card.format, models.versions()) == (NEWEST_FORMAT, {NAME: (1,)})
    assert card.calibration is not None
    assert card.calibration.temperature != 1
    assert models.read(card, store.HISTORY) == history
    assert not np.allclose(after, before, atol=1e-3)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert [each.name for each in models.root.iterdir()] == [NAME]


def test_other_data_is_refused(tmp_path: Path) -> None:
    models, data = ModelStore(tmp_path / "models"), photo_folders(tmp_path / "lamps", LABELS, per_class=120, side=12)
    save_tiny_model(models, NAME, LABELS)
    with pytest.raises(DatasetError, match="is not the data that lamps version 1 was fitted on"):
        main([f"{NAME}@1", "--models", str(models.root), "--data", str(data)])


def test_renewed_again_a_version_says_the_same(tmp_path: Path) -> None:
    models, renew, pixels = fitted_on_lamps(tmp_path)
    main(renew)
    first, answers = models.verify(NAME, 1), probabilities(models, pixels)
    main(renew)
    card = models.verify(NAME, 1)
    assert card.calibration is not None
    assert first.calibration is not None
    assert card.calibration.temperature == pytest.approx(first.calibration.temperature, rel=1e-4)
    assert card.calibration.before.loss.value == pytest.approx(first.calibration.before.loss.value, abs=1e-5)
    assert card.familiarity_trial == first.familiarity_trial
    np.testing.assert_allclose(probabilities(models, pixels), answers, atol=1e-5)


def test_a_version_in_int8_is_left_as_it_is(tmp_path: Path) -> None:
    models, renew, _ = fitted_on_lamps(tmp_path)
    card = models.verify(NAME, 1)
    shutil.copy(models.folder(NAME, 1) / store.ONNX, models.folder(NAME, 1) / store.INT8)
    models.update(card.model_copy(update={"files": card.files | {store.INT8: card.files[store.ONNX]}}))
    with pytest.raises(NotRenewed, match="lamps version 1 is int8; renew what it was made from"):
        main(renew)


def fitted_on_lamps(folder: Path) -> tuple[ModelStore, list[str], npt.NDArray[np.uint8]]:
    """A store with a version, the arguments that renew it, and test images."""
    models, data = ModelStore(folder / "models"), photo_folders(folder / "lamps", LABELS, per_class=120, side=12)
    card = save_tiny_model(models, NAME, LABELS)
    dataset = Folders().load(data, card.input)
    training = card.training.model_copy(update={"dataset": dataset.record})
    models.update(card.model_copy(update={"training": training}))
    arguments = [f"{NAME}@1", "--models", str(models.root), "--data", str(data)]
    return models, arguments, np.asarray(dataset.splits["test"].pixels)


def probabilities(models: ModelStore, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the version answers as it is served."""
    loaded = LoadedModel.open(models, NAME)
    try:
        return np.asarray(loaded.engine.infer(pixels))
    finally:
        loaded.close()
