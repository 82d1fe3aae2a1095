"""`training.renew`: a version that was saved before there was calibration is saved anew in its place."""

from __future__ import annotations

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
from training.renew import main

pytestmark = pytest.mark.slow

NAME, LABELS = "lamps", ("blue", "green", "red")


def test_a_version_is_calibrated_in_its_place_and_labels_all_images_as_before(tmp_path: Path) -> None:
    models, data = ModelStore(tmp_path / "models"), photo_folders(tmp_path / "lamps", LABELS, per_class=120, side=12)
    card = save_tiny_model(models, NAME, LABELS)
    renew = [f"{NAME}@1", "--models", str(models.root), "--data", str(data)]
    with pytest.raises(DatasetError, match="is not the data that lamps version 1 was fitted on"):
        main(renew)

    dataset = Folders().load(data, card.input)
    training = card.training.model_copy(update={"dataset": dataset.record})
    models.update(card.model_copy(update={"training": training}))
    history, pixels = models.read(card, store.HISTORY), np.asarray(dataset.splits["test"].pixels)
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
    with pytest.raises(DatasetError, match="calibrated already"):
        main(renew)


def probabilities(models: ModelStore, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What the version answers as it is served."""
    loaded = LoadedModel.open(models, NAME)
    try:
        return np.asarray(loaded.engine.infer(pixels))
    finally:
        loaded.close()
