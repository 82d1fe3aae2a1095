"""`training.reports`: the records of runs say all, and say it in the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from classifier.card import BackboneRecord, Card, DatasetRecord, FileRecord, Metrics, write_card
from tests.tiny_models import passed_check, tiny_card
from tests.training.evaluation.test_learning_curve import point
from training.__main__ import main
from training.evaluation.folds import FoldRecord, FoldsRecord, Spread, write_folds
from training.evaluation.json_records import write_record
from training.evaluation.points import POINTS, write_points
from training.evaluation.rates import RATES, Rates, RatesRecord
from training.evaluation.speed import SPEED, SpeedRecord, VersionSpeed
from training.fitting.run import Epoch, write_history
from training.recipes import RECIPES
from training.recipes.recipe import Recipe, RecipeError
from training.reports.data_copies import COPIES
from training.reports.records import read_records

BOOK = RECIPES["cats-vs-dogs-180-augmented"]
BOOK_BASELINE = RECIPES["cats-vs-dogs-180-baseline"]
LETTERS = RECIPES["asl-augmented"]
FEATURES = RECIPES["cats-vs-dogs-features"]
FINETUNED = RECIPES["cats-vs-dogs-finetuned"]

EPOCHS = [  # the lowest loss and the highest accuracy are in different epochs
    Epoch(1, 10.0, 0.7, 0.5, 0.69, 0.6),
    Epoch(2, 10.0, 0.5, 0.7, 0.40, 0.8),
    Epoch(3, 10.0, 0.3, 0.9, 0.55, 0.8571),
]


def save_record(root: Path, recipe: Recipe, *, seed: int = 0, test: float = 0.8, validation: float = 0.8) -> Path:
    """A record as `fit --record` leaves it, with these accuracies; returns its folder."""
    folder = root / recipe.name / f"seed-{seed}"
    folder.mkdir(parents=True)
    write_history(EPOCHS, folder / "history.csv")
    (folder / "confusion.png").write_bytes(b"\x89PNG")
    write_card(card_of(recipe, folder, seed, {"validation": validation, "test": test}), folder / "card.json")
    return folder


def card_of(recipe: Recipe, folder: Path, seed: int, accuracies: dict[str, float]) -> Card:
    history = folder / "history.csv"
    stated = FileRecord(sha256=hashlib.sha256(history.read_bytes()).hexdigest(), bytes=history.stat().st_size)
    training = tiny_card().training.model_copy(
        update={
            "dataset": data_of(recipe),
            "seed": seed,
            "epochs_planned": len(EPOCHS),
            "epochs_run": len(EPOCHS),
            "best_epoch": 2,
            "precision": "bfloat16",
            "seconds": 30.0,
            "commit": "c0ffee123456",
            "machine": "AMD EPYC, 2 cores",
            "finished": "2026-01-31",
            "backbone": recipe.backbone and BackboneRecord(name="tiny", weights_sha256="cd" * 32, seconds=12.0),
        }
    )
    return tiny_card(
        recipe=recipe.name,
        article=recipe.article,
        parameters=recipe.parameters,
        files={"history.csv": stated, "model.onnx": FileRecord(sha256="ef" * 32, bytes=13_484_427)},
        metrics={split: Metrics(images=1000, loss=0.4, accuracy=each) for split, each in accuracies.items()},
        training=training,
        checks=(passed_check("openvino", "bfloat16"),),
    )


def data_of(recipe: Recipe) -> DatasetRecord:
    fingerprint = min(COPIES[recipe.reader.name].fingerprints)
    return DatasetRecord(
        name=recipe.reader.name, fingerprint=fingerprint, images={"train": 2000, "validation": 1000, "test": 2000}
    )


def save_folds(root: Path, recipe: Recipe, accuracies: Sequence[float] = (0.98, 0.99)) -> Path:
    folds = [
        FoldRecord(
            images={"train": 10, "validation": 10, "test": 5},
            metrics={split: Metrics(images=10, loss=0.1, accuracy=each) for split in ("validation", "test")},
            best_epoch=2,
            epochs_run=3,
            seconds=30.0,
        )
        for each in accuracies
    ]
    record = FoldsRecord(
        recipe=recipe.name,
        seed=0,
        epochs_planned=3,
        precision="float32",
        dataset=data_of(recipe),
        folds=tuple(folds),
        accuracy={"validation": Spread(mean=0.985, deviation=0.007071), "test": Spread(mean=0.98, deviation=0.01)},
        libraries={"keras": "3"},
        commit="c0ffee123456",
        machine="AMD EPYC, 2 cores",
        finished="2026-02-01",
    )
    return write_folds(record, [EPOCHS, EPOCHS], root / recipe.name / f"folds-{len(folds)}-seed-0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where records are; the report is written beside it."""
    (tmp_path / "docs" / "runs").mkdir(parents=True)
    return tmp_path / "docs" / "runs"


def written(root: Path) -> str:
    out = root.parent / "reproduction.md"
    assert main(["report", "--records", str(root), "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def row_of(text: str, recipe: Recipe, section: str) -> str:
    """The row of a recipe in one of the tables."""
    body = text.partition(f"## {section}")[2].partition("\n## ")[0]
    return next(line for line in body.splitlines() if line.startswith(f"| [{recipe.name}]"))


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_pictures_too(root: Path) -> None:
    for seed in (0, 1, 10):
        save_record(root, BOOK, seed=seed)
    save_record(root, LETTERS)
    save_folds(root, LETTERS)
    first = written(root), {p: p.read_bytes() for p in root.rglob("*.png")}
    assert (written(root), {p: p.read_bytes() for p in root.rglob("*.png")}) == first
    assert len(first[1]) == 8


def test_the_article_stands_beside_what_was_reached_on_validation_and_on_test(root: Path) -> None:
    save_record(root, BOOK, validation=0.84, test=0.81)
    assert row_of(written(root), BOOK, "At a glance").startswith(
        "| [cats-vs-dogs-180-augmented](#cats-vs-dogs-180-augmented) | test 0.829 | 0.8400 | 0.8100 | -0.0190 | 1 |"
    )


@pytest.mark.slow
def test_several_seeds_are_given_as_mean_and_range(root: Path) -> None:
    for seed, test in enumerate((0.80, 0.83, 0.82)):
        save_record(root, BOOK, seed=seed, test=test, validation=test)
    text = written(root)
    assert "| 0.8167 (0.8000 to 0.8300) | -0.0123 | 3 |" in row_of(text, BOOK, "At a glance")
    assert "Best on validation: seed 1." in text


def test_a_recipe_further_than_three_hundredths_from_its_article_is_named(root: Path) -> None:
    save_record(root, BOOK, test=0.78)
    text = written(root)
    assert "**Further than 0.03 from the article:** [cats-vs-dogs-180-augmented]" in text
    assert "is 0.0490 below test 0.829" in text


def test_a_recipe_near_its_article_is_said_to_be(root: Path) -> None:
    save_record(root, BOOK, test=0.799)
    text = written(root)
    assert "No recipe that has run is further than 0.03" in text
    assert "-0.0300 to the article's figure, within 0.03." in text


def test_recipes_without_a_run_are_listed(root: Path) -> None:
    save_record(root, BOOK)
    line = next(line for line in written(root).splitlines() if line.startswith("Not run yet:"))
    assert set(re.findall(r"[\w-]+-\w+", line)) == set(RECIPES) - {BOOK.name}


def test_without_any_run_the_report_says_so(root: Path) -> None:
    assert BOOK.name in written(root)


def test_the_kept_and_the_most_accurate_epoch_are_both_given(root: Path) -> None:
    save_record(root, BOOK)
    assert "| 2 | 3 (0.8571) | 3 of 3 | 30 | 991,041 | bfloat16 |" in row_of(written(root), BOOK, "What it took")


def test_what_augmentation_gains_is_set_beside_the_articles_gain(root: Path) -> None:
    save_record(root, BOOK_BASELINE, test=0.70)
    save_record(root, BOOK, test=0.82)
    body = written(root).partition("## What augmentation gains")[2]
    assert "| test | 0.7000, n=1 | 0.8200, n=1 | +0.1200 | +0.1390 |" in body
    assert "| validation | 0.8000, n=1 | 0.8000, n=1 | +0.0000 | - |" in body


def save_speed(root: Path, *recipes: Recipe, rates: Sequence[float]) -> None:
    versions = [
        VersionSpeed(
            model=recipe.model,
            version=1,
            recipe=recipe.name,
            onnx_sha256="ef" * 32,
            precision="bfloat16",
            rounds=(rate, rate + 1, rate - 1),
        )
        for recipe, rate in zip(recipes, rates, strict=True)
    ]
    record = SpeedRecord(
        engine="openvino",
        batch_size=16,
        streams=2,
        seconds_per_round=3.0,
        versions=tuple(versions),
        machine="AMD EPYC, 2 cores",
        commit="decade123456",
        finished="2026-02-04",
    )
    write_record(record, root / SPEED)


def rates_of(recipe: Recipe, dataset: str = "") -> RatesRecord:
    rounds = [(500, 100, 90), (400, 110, 99), (600, 120, 60)]  # images per second
    return RatesRecord(
        recipe=recipe.name,
        dataset=dataset or recipe.reader.name,
        precision="bfloat16",
        batch_size=20,
        batches=50,
        rounds=tuple(Rates(pipeline=one, network=other, both=both) for one, other, both in rounds),
        machine="AMD EPYC, 2 cores",
        commit="facade123456",
        finished="2026-02-05",
    )


def test_how_fast_images_go_through_is_given_in_medians(root: Path) -> None:
    write_record(rates_of(BOOK), root / BOOK.name / RATES)
    save_record(root, LETTERS)
    body = written(root).partition("## How fast images go through")[2].partition("\n## ")[0]
    assert f"| {BOOK.name} | 500 | 110 | 90 | 0.900 | 3 | 50 of 20 | bfloat16 | 2026-02-05 | AMD EPYC, 2 cores" in body
    assert f"`facade123456` | [{RATES}](runs/{BOOK.name}/{RATES}) |" in body
    assert LETTERS.name not in body


@pytest.mark.parametrize(
    "record",
    [rates_of(LETTERS), rates_of(BOOK, dataset="lamps"), None],
    ids=["another recipe's", "other images'", "no record"],
)
def test_rates_of_something_else_are_refused(root: Path, record: RatesRecord | None) -> None:
    path = root / BOOK.name / RATES
    path.parent.mkdir(parents=True)
    if record:
        write_record(record, path)
    else:
        path.write_text('{"recipe": "?"}')
    with pytest.raises(RecipeError, match=r"pipeline\.json"):
        read_records(root)


def strategies(text: str) -> list[str]:
    body = text.partition("## Three strategies")[2].partition("\n## ")[0]
    return [line for line in body.splitlines() if line.startswith(("| from", "| features", "| fine"))]


@pytest.mark.slow
def test_three_strategies_stand_side_by_side(root: Path) -> None:
    save_record(root, BOOK, test=0.82)
    for seed, test in enumerate((0.98, 0.99)):
        save_record(root, FEATURES, seed=seed, test=test)
    save_record(root, FINETUNED, test=0.995)
    save_speed(root, BOOK, FEATURES, rates=(200, 300))
    text = written(root)
    scratch, features, finetuned = strategies(text)
    assert scratch.endswith("| 0.8200 | 1 | 991,041 | 30 | 200 (1.00) | 13,484 |")
    assert features.endswith("| 0.9850 (0.9800 to 0.9900) | 2 | 3,414,305 | 42 | 300 (1.50) | 13,484 |")
    assert finetuned.endswith("| 0.9950 | 1 | 3,414,305 | 42 | - | 13,484 |")
    for said in ("openvino in bfloat16", "AMD EPYC, 2 cores, 2026-02-04", "`decade123456`", f"(runs/{SPEED})"):
        assert said in text


def test_a_speed_that_was_not_measured_is_not_made_up(root: Path) -> None:
    save_record(root, BOOK)
    save_record(root, FEATURES)
    text = written(root)
    assert all(row.endswith("| - | 13,484 |") for row in strategies(text))
    assert "was not measured yet" in text


def test_one_strategy_alone_is_not_compared(root: Path) -> None:
    save_record(root, BOOK)
    assert "## Three strategies" not in written(root)


def test_accuracy_against_the_number_of_images_is_drawn_and_tabled(root: Path) -> None:
    points = [point(BOOK.name, 10, 0, 0.5), point(BOOK.name, 10, 1, 0.6), point(BOOK.name, 100, 0, 0.7)]
    write_points([*points, point(FEATURES.name, 10, 0, 0.9), point("asl-features", 30, 0, 0.8)], root / POINTS)
    first = written(root), (root / "images-per-class.png").read_bytes()
    assert (written(root), (root / "images-per-class.png").read_bytes()) == first
    body = first[0].partition("## How many images it takes")[2]
    assert f"| `{BOOK.name}` | 0.5500 (0.5000 to 0.6000) | - | 0.7000 | 0, 1 | 40 of 40 |" in body
    assert f"| `{FEATURES.name}` | 0.9000 | - | - | 0 |" in body
    assert "near-duplicates" in next(line for line in body.splitlines() if line.startswith("| `asl-features`"))
    for said in ("AMD EPYC, 2 cores, 2026-02-03, `c0ffee123456`", f"(runs/{POINTS})", "(runs/images-per-class.png)"):
        assert said in body


def test_it_says_which_points_ran_for_fewer_epochs(root: Path) -> None:
    shorter = [point(BOOK.name, images)._replace(epochs_run=30) for images in (10, 1000)]
    write_points([*shorter, point(BOOK.name, 300)], root / POINTS)
    assert "| 30 of 40 for 10, 1,000; 40 of 40 for 300 |" in written(root)


def test_points_of_an_unknown_recipe_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_points([point("features-2")], root / POINTS)
    assert "features-2 is no recipe" in refused(root, capsys)


def test_near_duplicates_are_named_wherever_a_figure_of_the_letters_stands(root: Path) -> None:
    save_record(root, LETTERS)
    save_record(root, RECIPES["asl-baseline"])
    save_folds(root, LETTERS)
    tables = written(root).partition("## The data")[0]
    figures = [line for line in tables.splitlines() if re.search(r"\| \d\.\d{4}", line)]
    assert len(figures) == 2 + 2 + 1  # at a glance, augmentation by split, cross-validation
    for line in figures:
        assert "near-duplicates" in line


@pytest.mark.parametrize("name", COPIES)
def test_how_a_data_set_differs_is_said_where_it_was_used(name: str, root: Path) -> None:
    save_record(root, next(recipe for recipe in RECIPES.values() if recipe.reader.name == name))
    text = written(root)
    assert COPIES[name].differs in text
    assert not [other for other in COPIES if other != name and COPIES[other].differs in text]


def test_every_data_set_of_a_recipe_is_described() -> None:
    assert {recipe.reader.name for recipe in RECIPES.values()} == set(COPIES)


def test_a_run_on_other_pixels_than_those_described_is_pointed_out(root: Path) -> None:
    folder = save_record(root, BOOK)
    changed = (folder / "card.json").read_text().replace(min(COPIES["cats-vs-dogs"].fingerprints), "ab" * 32)
    (folder / "card.json").write_text(changed)
    assert "other pixels than these copies give: data sets abababababab" in written(root)


def test_a_run_on_the_data_as_they_are_published_is_told_from_one_on_the_copies(root: Path) -> None:
    folder = save_record(root, RECIPES["cifar-10-fast"])
    here, published = (min(each) for each in (COPIES["cifar-10"].fingerprints, COPIES["cifar-10"].official))
    assert "cifar-10: JPEG copies, half of the test images |" in written(root)
    (folder / "card.json").write_text((folder / "card.json").read_text().replace(here, published))
    text = written(root)
    assert "cifar-10: as published |" in text
    assert "other pixels than these copies give" not in text


def test_every_run_gives_its_machine_date_commit_and_raw_record(root: Path) -> None:
    save_record(root, BOOK, seed=7)
    row = next(line for line in written(root).splitlines() if line.startswith("| 7 |"))
    for said in ("AMD EPYC, 2 cores", "2026-01-31", "`c0ffee123456`", "bfloat16", "2,000, 1,000, 2,000"):
        assert said in row
    assert f"[history](runs/{BOOK.name}/seed-7/history.csv)" in row


def test_a_card_of_the_first_runs_without_machine_and_date_is_read(root: Path) -> None:
    folder = save_record(root, BOOK)
    card = json.loads((folder / "card.json").read_text())
    for later in ("machine", "finished", "backbone", "class_weights", "augmentation"):
        del card["training"][later]
    (folder / "card.json").write_text(json.dumps(card | {"format": 1}))
    assert "| not recorded | not recorded | `c0ffee123456` |" in written(root)


def test_every_link_and_picture_leads_to_a_file_or_a_section(root: Path) -> None:
    save_record(root, BOOK)
    save_record(root, BOOK_BASELINE)
    save_folds(root, LETTERS)
    text = written(root)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert f"\n## {target[1:]}\n" in text
        else:
            assert (root.parent / target).exists()
    assert text.count("![") == 4


def test_the_engines_agreement_is_given(root: Path) -> None:
    save_record(root, BOOK)
    assert "| 0 | openvino, bfloat16 | 1,000 of test | 100.00% | 0.5000 (+0.0000) | 1.0e-02 |" in written(root)


def test_cross_validation_is_reported_as_mean_and_deviation(root: Path) -> None:
    save_folds(root, LETTERS)
    text = written(root)
    assert (
        "| asl-augmented | 2, seed 0 | 0.9850 ± 0.0071 | 0.9800 ± 0.0100 | 3 of 3 | 60 | float32 | 2026-02-01 |" in text
    )


def test_a_run_that_ended_early_is_marked(root: Path) -> None:
    folder = save_record(root, BOOK)
    card = (folder / "card.json").read_text()
    (folder / "card.json").write_text(card.replace('"epochs_planned": 3', '"epochs_planned": 100'))
    assert "**Not the whole schedule of 100 epochs:** seed 0 ran 3." in written(root)


def test_what_a_person_notes_of_a_recipe_is_taken_over(root: Path) -> None:
    save_record(root, BOOK)
    (root / BOOK.name / "notes.md").write_text("The book's images were larger.\n")
    assert "\n\nThe book's images were larger.\n\n" in written(root)


def test_records_that_are_not_there_are_an_error_that_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--records", str(tmp_path / "none"), "--out", str(tmp_path / "out.md")]) == 1
    assert "fit RECIPE --record" in capsys.readouterr().err


def refused(root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    out = root.parent / "reproduction.md"
    assert main(["report", "--records", str(root), "--out", str(out)]) == 1
    assert not out.exists()
    return capsys.readouterr().err


def test_a_record_in_the_wrong_place_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_record(root, BOOK).rename(root / BOOK.name / "seed-5")
    assert "seed-5" in refused(root, capsys)


def test_a_history_that_is_not_the_cards_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_history(EPOCHS[:2], save_record(root, BOOK) / "history.csv")
    assert "history.csv" in refused(root, capsys)


def test_folders_that_are_no_recipe_or_no_run_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "asl-augmentd").mkdir()
    assert "asl-augmentd is no recipe" in refused(root, capsys)
    (root / "asl-augmentd").rename(root / "asl-augmented")
    (root / "asl-augmented" / "seed-zero").mkdir()
    assert "seed-zero" in refused(root, capsys)


def test_a_run_on_ones_own_photos_does_not_count_as_a_reproduction(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_record(root, BOOK)
    card = (folder / "card.json").read_text()
    (folder / "card.json").write_text(card.replace('"name": "cats-vs-dogs"', '"name": "my-cups"'))
    assert "fitted on my-cups" in refused(root, capsys)
