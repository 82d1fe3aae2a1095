"""What a server counted beside what a card expects: each row is judged, and every mistake is named."""

from __future__ import annotations

import io
import json
import urllib.error
from email.message import Message
from pathlib import Path

import numpy as np
import pytest

from classifier.card import Card, ExpectedAnswers, Histogram, Sample
from classifier.commands.cli import main
from classifier.store import CARD
from service.metrics import Metrics
from tests.tiny_models import familiarity_of, tiny_card


def answers(shares: tuple[float, ...], images: int, confidence: float = 0.9) -> np.ndarray:
    """Rows in which the labels come first in these shares, with this probability or less by up to 0.3."""
    rng = np.random.default_rng(0)
    columns = np.repeat(np.arange(3), np.round(np.array(shares) * images).astype(int))
    top = confidence - 0.3 * rng.random(len(columns))
    rows = np.repeat(((1 - top) / 2)[:, None], 3, axis=1)
    rows[np.arange(len(columns)), columns] = top
    return rows.astype(np.float32)


def expected_of(rows: np.ndarray) -> ExpectedAnswers:
    bounds = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
    buckets = np.bincount(np.searchsorted(bounds, rows.max(axis=1).astype(float)), minlength=12)
    labels = np.bincount(rows.argmax(axis=1), minlength=3)
    return ExpectedAnswers(
        data="noise",
        split="test",
        images=len(rows),
        labels=tuple(labels.tolist()),
        confidence=Histogram(bounds=bounds, counts=tuple(buckets.tolist())),
    )


def scraped(*answered: tuple[Card, np.ndarray]) -> str:
    """What a server says that has answered so."""
    metrics = Metrics()
    for card, rows in answered:
        metrics.of(card).ran([0] * len(rows), [0] * len(rows), 0, rows)
    return metrics.text().decode()


CARD_OF_TINY = tiny_card(expected=expected_of(answers((0.5, 0.3, 0.2), 2_000)))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A store with a card alone, which is all that is read."""
    folder = tmp_path / "models" / "tiny" / "1"
    folder.mkdir(parents=True)
    (folder / CARD).write_text(CARD_OF_TINY.model_dump_json())
    return tmp_path / "models"


def compared(models: Path, tmp_path: Path, text: str, *more: str) -> int:
    (tmp_path / "now.txt").write_text(text)
    return main(["drift", "tiny", str(tmp_path / "now.txt"), "--models", str(models), *more])


def verdicts(said: str) -> dict[str, str]:
    return {row["what"]: row["verdict"] for row in json.loads(said)["rows"]}


@pytest.mark.parametrize(
    ("rows", "labels", "confidence", "code"),
    [
        pytest.param(answers((0.5, 0.3, 0.2), 3_000), "as expected", "as expected", 0, id="as the card says"),
        pytest.param(answers((0.1, 0.3, 0.6), 3_000), "drifted", "as expected", 1, id="other labels"),
        pytest.param(answers((0.5, 0.3, 0.2), 3_000, 0.7), "as expected", "drifted", 1, id="less sure"),
        pytest.param(answers((0.3, 0.3, 0.4), 3_000), "changed", "as expected", 0, id="a little more of one label"),
        pytest.param(answers((0.4, 0.3, 0.3), 150), "not certain", "as expected", 0, id="few images"),
        pytest.param(answers((0.1, 0.3, 0.6), 50), "too few images", "too few images", 0, id="fewer still"),
    ],
)
def test_each_row_has_its_verdict(
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: np.ndarray,
    labels: str,
    confidence: str,
    code: int,
) -> None:
    assert compared(models, tmp_path, scraped((CARD_OF_TINY, rows)), "--json") == code
    assert verdicts(capsys.readouterr().out) == {"labels": labels, "confidence": confidence}


CARD_OF_SCORED = CARD_OF_TINY.model_copy(
    update=familiarity_of(CARD_OF_TINY.sample) | {"expected": CARD_OF_TINY.expected, "name": "tiny"}
)


@pytest.mark.parametrize(
    ("lowest", "verdict", "code"),
    [(0.0, "as expected", 0), (-0.9, "drifted", 1)],
    ids=["as in the test", "odd pictures"],
)
def test_familiarity_has_a_row_where_the_version_says_something_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lowest: float, verdict: str, code: int
) -> None:
    folder = tmp_path / "models" / "tiny" / "1"
    folder.mkdir(parents=True)
    (folder / CARD).write_text(CARD_OF_SCORED.model_dump_json())
    rows = answers((0.5, 0.3, 0.2), 3_000)
    scores = np.clip(np.linspace(lowest, 1, len(rows)), 0, 1).astype(np.float32)
    scores[scores < 0.05] = np.minimum(
        scores[scores < 0.05], 0.005
    )  # of those below 0.05 all are below 0.01, by the card
    metrics = Metrics()
    metrics.of(CARD_OF_SCORED).ran([0] * len(rows), [0] * len(rows), 0, rows, scores)
    assert compared(tmp_path / "models", tmp_path, metrics.text().decode(), "--json") == code
    said = json.loads(capsys.readouterr().out)["rows"][-1]
    assert (said["what"], said["verdict"]) == ("familiarity", verdict)
    assert [category["category"] for category in said["categories"]] == ["0 to 0.01", "0.01 to 0.05", "0.05 to 1"]
    assert [sum(category[of] for category in said["categories"]) for of in ("expected", "now")] == [100, 3_000]


def test_a_person_reads_a_table_and_what_moved_most(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(models, tmp_path, scraped((CARD_OF_TINY, answers((0.1, 0.3, 0.6), 3_000)))) == 1
    said = capsys.readouterr().out
    assert said.startswith("tiny version 1: 3,000 images answered\nexpected: as of 2,000 images of noise, test\n")
    assert "PSI (95 % interval)" in said
    assert next(line for line in said.splitlines() if line.startswith("labels")).endswith("drifted")
    assert "a     50.0%   10.0%" in said
    assert "b     30.0%   30.0%" in said


def test_too_few_images_say_how_many_are_needed(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(models, tmp_path, scraped((CARD_OF_TINY, answers((0.1, 0.3, 0.6), 50)))) == 0
    assert "too few images: 120 are needed" in capsys.readouterr().out


def test_a_version_that_was_asked_nothing_yet_has_no_index(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = scraped((CARD_OF_TINY, answers((0.5, 0.3, 0.2), 0)))
    assert compared(models, tmp_path, text, "--json") == 0
    (labels, _) = json.loads(capsys.readouterr().out)["rows"]
    assert (labels["verdict"], labels["psi"]) == ("too few images", None)


def test_of_two_looks_only_what_came_between_counts(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier, later = answers((0.1, 0.3, 0.6), 3_000), answers((0.5, 0.3, 0.2), 2_000)
    (tmp_path / "earlier.txt").write_text(scraped((CARD_OF_TINY, earlier)))
    text = scraped((CARD_OF_TINY, np.concatenate([earlier, later])))
    assert compared(models, tmp_path, text, "--since", str(tmp_path / "earlier.txt"), "--json") == 0
    said = capsys.readouterr()
    assert verdicts(said.out)["labels"] == "as expected"
    assert sum(category["now"] for category in json.loads(said.out)["rows"][0]["categories"]) == 2_000
    assert said.err == ""


def test_a_server_that_was_started_anew_is_counted_from_its_start(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "earlier.txt").write_text(scraped((CARD_OF_TINY, answers((0.5, 0.3, 0.2), 3_000))))
    text = scraped((CARD_OF_TINY, answers((0.5, 0.3, 0.2), 1_000)))
    assert compared(models, tmp_path, text, "--since", str(tmp_path / "earlier.txt"), "--json") == 0
    said = capsys.readouterr()
    assert "started anew" in said.err
    assert sum(category["now"] for category in json.loads(said.out)["rows"][0]["categories"]) == 1_000


def test_several_servers_in_one_text_count_together(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = scraped((CARD_OF_TINY, answers((0.5, 0.3, 0.2), 1_000)))
    other = one.replace('model="tiny"', 'instance="another",model="tiny"')
    assert compared(models, tmp_path, one + one + other, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [sum(category["now"] for category in row["categories"]) for row in rows] == [3_000, 3_000]


def test_other_versions_of_the_model_do_not_count(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = CARD_OF_TINY.model_copy(update={"version": 2})
    text = scraped((CARD_OF_TINY, answers((0.5, 0.3, 0.2), 1_000)), (other, answers((0.0, 0.0, 1.0), 9_000)))
    assert compared(models, tmp_path, text, "--json") == 0
    assert verdicts(capsys.readouterr().out)["labels"] == "as expected"


OTHER_LABELS = tiny_card(labels=("x", "b", "c"), sample=Sample(label="x", probabilities=(0.5, 0.25, 0.25)))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("# no metrics\n", "say nothing of tiny@1; it is not of a server of Sightline", id="no metrics"),
        pytest.param("<html>\n", "not Prometheus's text format", id="a page"),
        pytest.param(
            scraped((CARD_OF_TINY.model_copy(update={"version": 2}), answers((1, 0, 0), 10))),
            "say nothing of tiny@1; it has tiny@2",
            id="another version",
        ),
        pytest.param(scraped((OTHER_LABELS, answers((1, 0, 0), 10))), "count 'x', which are no labels", id="labels"),
        pytest.param(
            scraped((CARD_OF_TINY, answers((1, 0, 0), 10))).replace('le="0.95"', 'le="0.96"'),
            "`sightline evaluate MODEL --data PATH --expected`",
            id="other buckets",
        ),
    ],
)
def test_metrics_that_cannot_be_compared_are_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    assert compared(models, tmp_path, text) == 1
    said = capsys.readouterr().err
    assert fault in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("source", ["nowhere.txt", "http://127.0.0.1:1/metrics"])
def test_metrics_that_cannot_be_had_are_one_line(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    assert main(["drift", "tiny", source, "--models", str(models)]) == 1
    assert f"{source}: cannot be read" in capsys.readouterr().err


def test_metrics_may_come_by_stdin(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(scraped((CARD_OF_TINY, answers((0.5, 0.3, 0.2), 1_000)))))
    assert main(["drift", "tiny", "-", "--models", str(models), "--json"]) == 0
    assert verdicts(capsys.readouterr().out)["labels"] == "as expected"


@pytest.mark.parametrize(("status", "hint"), [(401, "save the text with curl and the key"), (404, "answers 404")])
def test_a_server_that_refuses_its_metrics_is_one_line(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int, hint: str
) -> None:
    def refuse(url: str, **_: object) -> None:
        raise urllib.error.HTTPError(url, status, "no", Message(), None)

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert main(["drift", "tiny", "--models", str(models)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: http://127.0.0.1:3000/metrics: the server answers")
    assert hint in said


def test_a_card_without_expectations_says_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "models" / "tiny" / "1"
    folder.mkdir(parents=True)
    (folder / CARD).write_text(tiny_card().model_dump_json())
    assert compared(tmp_path / "models", tmp_path, scraped((tiny_card(), answers((1, 0, 0), 10)))) == 1
    assert "sightline evaluate tiny@1 --data PATH --expected" in capsys.readouterr().err
