"""`training.reports.own_runs`: fits on one's own data are set side by side, beside the runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from classifier.card import DatasetRecord, Metrics, write_card
from tests.tiny_models import tiny_card
from tests.training.evaluation.test_learning_curve import point
from tests.training.reports.test_reproduction import BOOK, save_record
from training.__main__ import main
from training.evaluation.folds import FoldRecord, FoldsRecord, Spread, write_folds
from training.evaluation.points import POINTS, write_points
from training.fitting.run import Epoch

METRICS = Metrics(
    images=40,
    loss=0.31,
    accuracy=0.9,
    interval=(0.7695, 0.9604),
    balanced_accuracy=0.88,
    majority=0.6,
    recall=(0.95, 0.9, None),
)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "records"


def keep(records: Path, name: str, version: int, data: str = "My | cups") -> Path:
    """A record as `fit --record` leaves it of one's own data."""
    folder = records / f"{name}-{version}"
    folder.mkdir(parents=True)
    card = tiny_card()
    dataset = DatasetRecord(name=data, fingerprint="ab" * 32, images={"train": 100, "validation": 40, "test": 40})
    training = card.training.model_copy(update={"dataset": dataset, "finished": "2026-01-31"})
    more = {"name": name, "version": version, "recipe": "features", "training": training, "metrics": {"test": METRICS}}
    write_card(card.model_copy(update=more), folder / "card.json")
    (folder / "curves.png").write_bytes(b"\x89PNG")
    return folder


def report(*arguments: str) -> None:
    assert main(["report", *arguments]) == 0


def test_each_fit_stands_in_a_row_with_what_its_accuracy_is_worth(records: Path) -> None:
    keep(records, "cups", 2)
    keep(records, "cups", 1)
    report("--records", str(records))
    text = (records.parent / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| cups ")]
    assert [row.split("|")[1].strip() for row in rows] == ["cups 1", "cups 2"]
    for figure in (
        "0.9000",
        "0.7695 to 0.9604",
        "0.8800",
        "0.6000",
        "My \\| cups",
        "abababab",
        "40 test",
        "2026-01-31",
    ):
        assert figure in rows[0]
    assert "![curves of cups-1](records/cups-1/curves.png)" in text
    assert "confusion" not in text


def test_the_same_records_give_the_same_bytes(records: Path) -> None:
    keep(records, "cups", 1)
    texts = []
    for _ in range(2):
        report("--records", str(records))
        texts.append((records.parent / "report.md").read_bytes())
    assert texts[0] == texts[1]


def test_own_records_are_found_where_docs_say_to_keep_them(
    records: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(records, "cups", 1)
    monkeypatch.chdir(records.parents[1])
    assert main(["report"]) == 0
    assert capsys.readouterr().out == "runs/report.md\n"


def test_runs_on_an_articles_data_stand_beside_ones_own(records: Path) -> None:
    keep(records, "cups", 1)
    save_record(records, BOOK)
    report("--records", str(records))
    assert f"| {BOOK.name} | cats-vs-dogs |" in (records.parent / "report.md").read_text()


def test_records_of_the_articles_alone_are_compared_with_them(
    records: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_record(records, BOOK)
    assert main(["report", "--records", str(records)]) == 0
    assert capsys.readouterr().out == f"{records.parent / 'reproduction.md'}\n"


def test_cross_validations_and_numbers_of_images_are_reported_too(records: Path) -> None:
    metrics = {"validation": METRICS, "test": METRICS}
    fold = FoldRecord(images={"train": 80}, metrics=metrics, best_epoch=1, epochs_run=1, seconds=1.0)
    found = FoldsRecord(
        recipe="features",
        seed=0,
        epochs_planned=1,
        precision="float32",
        dataset=DatasetRecord(name="cups", fingerprint="ab" * 32, images={"train": 80}),
        folds=(fold, fold),
        accuracy={"validation": Spread(mean=0.91, deviation=0.02), "test": Spread(mean=0.9, deviation=0.01)},
        libraries={},
        commit="unknown",
        machine="one",
        finished="2026-01-31",
    )
    history = [Epoch(1, 1.0, 0.7, 0.5, 0.6, 0.6)]
    write_folds(found, [history, history], records / "cups.features.folds-2-seed-0")
    write_points([point(images=10), point(images=30)], records.parent / f"cups.{POINTS}")
    report("--records", str(records))
    text = (records.parent / "report.md").read_text()
    assert "0.9100 ± 0.0200 | 0.9000 ± 0.0100" in text
    assert "## Accuracy by number of training images" in text
