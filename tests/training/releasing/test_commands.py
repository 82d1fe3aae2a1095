"""`sightline compare` and `sightline release`: what a person at a terminal meets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from classifier import rollout_file
from classifier.card import NEWEST_FORMAT
from classifier.store import ModelStore
from tests.archives import photo_folders
from tests.tiny_models import COLOUR, GREY
from training.__main__ import main
from training.evaluation.comparison.record import Comparison

LABELS = ("red", "green", "blue")
LAX = """
within_interval = false
significance = 0.0
max_class_drop = 1.0
max_ece_rise = 1.0
max_p50_ratio = 1000.0
max_size_ratio = 1000.0
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folders(tmp_path_factory.mktemp("photos") / "lamps", LABELS, per_class=30, side=12)


@pytest.fixture
def models(tiny_models_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A copy that a test may change, with a policy that networks of random weights keep."""
    monkeypatch.chdir(tmp_path)
    store = ModelStore(Path(shutil.copytree(tiny_models_root, tmp_path / "models")))
    (store.root / "release.toml").write_text(LAX, encoding="utf-8")
    return store


def released(photos: Path, *more: str, model: str = COLOUR) -> int:
    return main(["release", model, "--data", str(photos), *more])


def stable(models: ModelStore) -> int | None:
    return rollout_file.read(models.root).get(COLOUR, rollout_file.NOTHING_SAID).stable


@pytest.mark.slow
def test_a_comparison_is_a_table_json_a_page_and_a_sheet(
    tiny_models_root: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", f"{COLOUR}@2", f"{COLOUR}@1", "--data", str(photos), "--models", str(tiny_models_root)]
    files = ["--html", str(tmp_path / "new" / "c.html"), "--sheet", str(tmp_path / "c.png")]
    assert main([*command, *files]) == 0
    said = capsys.readouterr().out
    for words in ("accuracy", "95 % interval", "calibration error", "one image, p50", "memory", "McNemar", *LABELS):
        assert words in said
    assert (tmp_path / "new" / "c.html").read_text().count("data:image/png;base64,") == 3
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.width > 200
    assert main([*command, "--json"]) == 0
    found = Comparison.model_validate_json(capsys.readouterr().out)
    assert found.candidate.version == 2
    assert f"{found.candidate.accuracy:.4f}" in said
    assert (found.candidate.memory_bytes or 0) > 0


def test_a_version_is_not_compared_with_itself(
    tiny_models_root: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", COLOUR, f"{COLOUR}@2", "--data", str(photos), "--models", str(tiny_models_root)]
    assert main(command) == 2
    assert "version 2 is named twice" in capsys.readouterr().err


def test_labels_that_neither_version_has_are_named(
    tiny_models_root: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", f"{GREY}@1", f"{GREY}@1", "--data", str(photos), "--models", str(tiny_models_root)]
    assert main(command) == 2
    command[2] = f"{COLOUR}@1"
    command[1] = f"{GREY}@1"
    assert main([*command[:4], str(photos / "red"), *command[5:]]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.slow
def test_a_release_signs_the_card_and_names_the_version(
    models: ModelStore, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert released(photos) == 0
    card = models.card(COLOUR, 2)
    assert card.released is not None
    assert (card.format, card.released.compared_with, card.released.images, card.released.forced) == (
        NEWEST_FORMAT,
        1,
        90,
        None,
    )
    assert stable(models) == 2
    said = capsys.readouterr().out
    assert f"released {COLOUR} version 2" in said
    assert "no Bento will be built: there is no bentofile.yaml beside models" in said
    kept = Path("runs") / f"{COLOUR}-2"
    assert {path.name for path in kept.iterdir()} == {"comparison.json", "comparison.html"}
    found = Comparison.model_validate_json((kept / "comparison.json").read_bytes())
    assert card.released.accuracy == found.candidate.accuracy
    assert models.verify(COLOUR, 2) == card


@pytest.mark.slow
def test_a_first_version_is_released_without_another(models: ModelStore, photos: Path) -> None:
    assert released(photos, model=f"{COLOUR}@1") == 0
    card = models.card(COLOUR, 1)
    assert card.released is not None
    assert (card.released.compared_with, card.released.baseline_accuracy, card.released.p_value) == (None, None, None)


@pytest.mark.slow
def test_it_is_compared_with_the_version_that_is_served(models: ModelStore, photos: Path) -> None:
    shutil.copytree(models.root / COLOUR / "1", models.root / COLOUR / "3")
    models.update(renumbered(models, 3))
    rollout_file.set_alias(models.root, COLOUR, "stable", 1)
    assert released(photos, "--no-bento") == 0
    card = models.card(COLOUR, 3)
    assert card.released is not None
    assert card.released.compared_with == 1
    assert stable(models) == 3


def renumbered(models: ModelStore, version: int):
    """Write a copied version's number into its card."""
    path = models.root / COLOUR / str(version) / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))
    return models.card(COLOUR, version)


@pytest.mark.slow
def test_another_alias_leaves_the_stable_version_alone(models: ModelStore, photos: Path) -> None:
    rollout_file.set_alias(models.root, COLOUR, "stable", 1)
    assert released(photos, "--alias", "canary", "--no-bento") == 0
    said = rollout_file.read(models.root)[COLOUR]
    assert (said.stable, said.canary) == (1, 2)
    assert released(photos, "--no-bento") == 0
    said = rollout_file.read(models.root)[COLOUR]
    assert (said.stable, said.canary) == (2, None)


@pytest.mark.slow
def test_what_breaks_the_policy_is_refused_unless_there_is_a_reason(
    models: ModelStore, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (models.root / "release.toml").write_text(LAX + "max_p50_ms = 0.0001\nmax_size_mb = 0.0001\n", encoding="utf-8")
    before = (models.root / COLOUR / "2" / "card.json").read_bytes()
    assert released(photos) == 1
    refused = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refused: ")]
    assert [line.split(":")[1].strip() for line in refused] == ["time", "size"]
    assert (models.root / COLOUR / "2" / "card.json").read_bytes() == before
    assert stable(models) is None
    assert released(photos, "--force", "the fair is tomorrow") == 0
    record = models.card(COLOUR, 2).released
    assert record is not None
    assert record.forced == "the fair is tomorrow"
    assert [rule.split(":")[0] for rule in record.broken_rules] == ["time", "size"]
    assert stable(models) == 2


@pytest.mark.slow
def test_no_reason_releases_a_broken_version(
    models: ModelStore, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (models.root / COLOUR / "2" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    assert released(photos, "--force", "it looks well") == 1
    assert "version 2 is broken" in capsys.readouterr().err
    assert stable(models) is None


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--alias", "Latest"], 2, "lower-case letters"),
        (["--force", " "], 2, "expected a reason"),
        (["--policy", "release.toml"], 1, "max_p50: Extra inputs"),
    ],
    ids=["alias", "reason", "policy"],
)
def test_a_mistake_is_named_before_anything_is_measured(
    more: list[str], code: int, said: str, models: ModelStore, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("release.toml").write_text("max_p50 = 3\n", encoding="utf-8")
    assert released(photos, *more) == code
    assert said in capsys.readouterr().err
